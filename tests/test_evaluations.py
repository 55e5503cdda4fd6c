"""Robustness and ensembles, as a user measures them."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mnist_jax
from mnist_jax import data
from mnist_jax.data.corruptions import CORRUPTIONS
from mnist_jax.randomness import example_keys, root_key
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
    assert "networks together" in (folder / "report.html").read_text()


def test_what_cannot_be_an_ensemble_is_refused(sweep, tmp_path):
    assert "holds no sweep" in refused("evaluate", f"--workdir={tmp_path}", "--ensemble")
    message = refused("evaluate", f"--workdir={sweep}", "--ensemble", "--member=nothing")
    assert "two finished networks of 'nothing'" in message
    assert "--seed" in refused("evaluate", f"--workdir={sweep}", "--ensemble", "--seed=0")
