"""Robustness and ensembles, as a user measures them."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mnist_jax
from mnist_jax import data
from mnist_jax.analysis.run import robustness as analysis
from mnist_jax.data.corruptions import CORRUPTIONS
from mnist_jax.errors import UserError
from mnist_jax.evaluations import ensemble, robustness
from mnist_jax.evaluations.split import EVALUATING
from mnist_jax.files import file_name
from mnist_jax.lock import sole_writer
from mnist_jax.randomness import example_keys, root_key
from mnist_jax.training import network
from tests.commands import SMALL, read, refused, run

PART = "--split=test[:1000]"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluations")
    run("sweep", *SMALL, "--seeds=3", f"--workdir={folder / 'sweep'}", devices=2)
    return folder / "sweep"


def corrupted(kind, strength):
    image = jnp.zeros((4, 28, 28, 1)).at[:, 10:18, 12:16].set(1.0)
    keys = example_keys(root_key(0), kind.name, jnp.uint32(0), jnp.arange(4))
    return image, jax.jit(kind.apply)(image, keys, jnp.float32(strength))


@pytest.mark.parametrize("kind", CORRUPTIONS, ids=lambda its: its.name)
def test_a_corruption_grows_with_its_strength(kind):
    assert len(kind.strengths) == 5
    distances = []
    for strength in (0.0, *kind.strengths) if kind.name != "blur" else kind.strengths:
        before, after = corrupted(kind, strength)
        assert after.shape == before.shape
        assert float(after.min()) >= -1e-6
        assert float(after.max()) <= 1 + 1e-6
        distances.append(float(jnp.abs(after - before).mean()))
    assert distances == sorted(distances)
    assert distances[-1] > distances[0]
    if kind.name != "blur":
        assert distances[0] < 1e-6  # nothing, at no strength


def test_robustness_is_a_table_and_a_plot(sweep):
    arguments = ("--member=best", "--robustness", PART)
    printed = run("evaluate", f"--workdir={sweep}", *arguments).stdout
    (folder,) = (sweep / "members").glob("*/evaluations/*")
    found = read(folder / "robustness.json")
    assert found["count"] == 1000
    assert len(found["cells"]) == 30
    with (folder / "robustness.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    accuracies = [float(row["accuracy"]) for row in table]
    assert found["accuracy"] == pytest.approx(np.mean(accuracies))
    weakest = [float(row["accuracy"]) for row in table if row["level"] == "1"]
    strongest = [float(row["accuracy"]) for row in table if row["level"] == "5"]
    assert np.mean(weakest) > np.mean(strongest) + 0.1
    assert all(kind.name in printed for kind in CORRUPTIONS)
    assert (folder / "plots" / "robustness.png").stat().st_size > 10_000


def test_an_ensemble_is_the_mean_of_the_probabilities(sweep):
    printed = run("evaluate", f"--workdir={sweep}", "--ensemble", PART).stdout
    assert "3 networks together" in printed
    (folder,) = (sweep / "evaluations").glob("ensemble*")
    found = read(folder / "ensemble.json")
    assert found["count"] == 1000
    assert [row["seed"] for row in found["members"]] == [0, 1, 2]
    its = data.load("mnist", "test[:1000]")
    each = [mnist_jax.load(sweep, seed=seed).predict(its.images).probabilities for seed in range(3)]
    mean = np.mean(each, axis=0)
    assert found["accuracy"] == pytest.approx((mean.argmax(axis=1) == its.labels).mean())
    loss = -np.log(mean[np.arange(1000), its.labels]).mean()
    assert found["loss"] == pytest.approx(loss, rel=1e-4)
    page = (folder / "report.html").read_text()
    assert "networks together" in page
    assert "highest accuracy of a network on this split" in page
    assert "can be better than the best of them" in page


def test_a_plot_that_cannot_be_drawn_takes_nothing_with_it(tmp_path, monkeypatch, capsys):
    def failing(cells, facts):
        raise RuntimeError("no font")

    monkeypatch.setattr(analysis, "draw", failing)
    facts = {"split": "test", "count": 5, "checkpoint": 1, "clean": 0.9}
    cells = [analysis.Cell("blur", "pixels", 1, 0.5, 0.75)]
    figures = analysis.publish(tmp_path, cells, facts)
    assert read(tmp_path / "robustness.json") == figures
    assert (tmp_path / "robustness.csv").exists()
    assert "the plot robustness cannot be drawn: RuntimeError: no font" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["robustness", "ensemble"])
def test_rows_that_repeat_are_told_and_another_writer_is_not_disturbed(sweep, kind, capsys):
    split = "test[:50]+test[:50]"
    name = file_name(f"{kind} {split}")
    found = network.find(sweep, "mlp", 0)
    folder = (found.output if kind == "robustness" else sweep) / "evaluations" / name
    measure = {
        "robustness": lambda: robustness.measure(found, "latest", split),
        "ensemble": lambda: ensemble.measure(sweep, "", "latest", split),
    }
    with sole_writer(folder, EVALUATING), pytest.raises(UserError, match="is writing to"):
        measure[kind]()
    assert [path.name for path in folder.iterdir()] == [EVALUATING]
    assert "lists 50 rows again" in capsys.readouterr().err


def test_help_names_what_each_evaluation_writes():
    shown = run("evaluate", "--help").stdout
    for name in ("evaluation.json", "robustness.json", "robustness.csv", "ensemble.json"):
        assert name in shown


@pytest.mark.slow
def test_what_cannot_be_an_ensemble_is_refused(sweep, tmp_path):
    assert "holds no sweep" in refused("evaluate", f"--workdir={tmp_path}", "--ensemble")
    message = refused("evaluate", f"--workdir={sweep}", "--ensemble", "--member=nothing")
    assert "two finished networks of 'nothing'" in message
    assert "--seed" in refused("evaluate", f"--workdir={sweep}", "--ensemble", "--seed=0")
    message = refused("evaluate", f"--workdir={sweep}", "--ensemble", "--member=best")
    assert "--member=best names one" in message
