"""A metric of one's own, ten lines in one file, shows up wherever there are metrics."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

import mnist_jax
from mnist_jax import data
from tests.commands import SMALL, read, refused, rows, run, table

METRIC = """
import jax.numpy as jnp
from mnist_jax.metrics import metric

@metric(label="second guesses", percent=True)
def top_2(outputs, labels, *, output_activation):
    best_two = jnp.argsort(outputs, axis=-1)[:, -2:]
    return (best_two == labels[:, None]).any(axis=-1)

def surprise(outputs, labels, *, output_activation):
    return -outputs[jnp.arange(len(labels)), labels]
"""
METRICS = ("--config.metrics=mine:top_2", "--config.best=val_top_2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(METRIC)
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    """The folder of a run of main, and what it printed."""
    return folder / "run", run(
        "main", *SMALL, *METRICS, "--workdir=run", cwd=folder, drawn=True
    ).stdout


@pytest.fixture(scope="module")
def swept(folder):
    arguments = (*SMALL, *METRICS, "--seeds=2", "--workdir=swept")
    run("sweep", *arguments, cwd=folder, drawn=True)
    return folder / "swept"


def board(workdir: Path) -> dict[str, list[float]]:
    """The values in TensorBoard's files by their tag."""
    found: dict[str, list[float]] = {}
    for path in (workdir / "tensorboard").glob("events*"):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            for value in Event.FromString(content[12 : 12 + length]).summary.value:
                found.setdefault(value.tag, []).append(value.simple_value)
            content = content[12 + length + 4 :]
    return found


def test_rows(trained):
    workdir, _ = trained
    found = rows(workdir)
    for row in found:
        assert list(row)[-2:] == ["train_top_2", "val_top_2"]
        assert row["train_accuracy"] < row["train_top_2"] < 1
        assert row["val_accuracy"] < row["val_top_2"] < 1
    written = table(workdir / "metrics.csv")
    for split in ("train", "val"):
        name = f"{split}_top_2"
        assert [float(row[name]) for row in written] == [row[name] for row in found]


def test_tensorboard(trained):
    workdir, _ = trained
    found = board(workdir)
    for name in ("train_top_2", "val_top_2", "val_loss"):
        assert found[name] == pytest.approx([row[name] for row in rows(workdir)])


def test_console(trained):
    workdir, output = trained
    assert len(re.findall(r"second guesses %", output)) == 2  # of training and of validation
    for row in rows(workdir):
        assert f"{100 * row['val_top_2']:.2f}" in output


def test_curves_and_report(trained):
    workdir, _ = trained
    assert (workdir / "plots" / "top_2.png").exists()
    report = (workdir / "report.html").read_text()
    assert "second guesses" in report.lower()
    figure = 100 * read(workdir / "result.json")["test_top_2"]
    assert f"{figure:.2f}" in report


def test_result_and_evaluation_are_the_mean_over_the_test_split(trained, folder, monkeypatch):
    workdir, _ = trained
    result, evaluation = read(workdir / "result.json"), read(workdir / "evaluation.json")
    assert result["test_top_2"] == evaluation["top_2"]
    assert result["val_top_2"] == rows(workdir)[-1]["val_top_2"]
    monkeypatch.chdir(folder)
    test = data.load("mnist", "test")
    p = mnist_jax.load(workdir).predict(test.images).probabilities
    seconds = (np.argsort(p, axis=1)[:, -2:] == test.labels[:, None]).any(axis=1).mean()
    assert result["test_top_2"] == pytest.approx(seconds, abs=2e-4)


def test_evaluate(trained, folder):
    run("evaluate", "--workdir=run", "--split=train[2000:2500]", cwd=folder)
    found = read(trained[0] / "evaluations" / "train[2000:2500]" / "evaluation.json")
    assert found["top_2"] == rows(trained[0])[-1]["val_top_2"]


@pytest.mark.slow
def test_tables_of_a_sweep(swept):
    lines = {(line["seed"], line["epoch"]): line for line in rows(swept, "sweep.jsonl")}
    its = table(swept / "sweep.csv")
    for row in its:
        assert float(row["val_top_2"]) == lines[int(row["seed"]), 2]["val_top_2"]
        assert float(row["test_accuracy"]) < float(row["test_top_2"]) < 1
    (architecture,) = table(swept / "summary.csv")
    for name in ("val_top_2", "test_top_2"):
        mean = np.mean([float(row[name]) for row in its])
        assert float(architecture[name]) == pytest.approx(mean)


def test_report_of_a_sweep(swept):
    report = (swept / "report.html").read_text()
    assert "second guesses" in report.lower()
    (architecture,) = table(swept / "summary.csv")
    assert f"{100 * float(architecture['test_top_2']):.2f}" in report
    assert any("top_2" in path.name for path in (swept / "plots").glob("*.png"))


@pytest.mark.slow
def test_a_network_of_a_sweep(swept, folder):
    run("evaluate", "--workdir=swept", "--member=best", cwd=folder)
    (its,) = (swept / "members").iterdir()
    best = max(table(swept / "sweep.csv"), key=lambda row: float(row["val_top_2"]))
    assert its.name == f"mlp-{best['seed']}"
    assert read(its / "evaluation.json")["top_2"] == pytest.approx(
        float(best["test_top_2"]), abs=1.5e-4
    )


@pytest.mark.slow
def test_comparison_of_runs(trained, folder):
    run("sweep", "--compare", "run", "--workdir=compared", cwd=folder)
    (row,) = table(folder / "compared" / "sweep.csv")
    assert float(row["test_top_2"]) == read(trained[0] / "result.json")["test_top_2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def bad(outputs, labels):\n    return outputs[:, 0]", "bad fails: TypeError"),
        (
            "def bad(outputs, labels, *, output_activation):\n    return outputs.mean()",
            "must return an array [",
        ),
        ("bad = 3", "is not a function"),
        ("def accuracy(): pass\nbad = accuracy", ""),
    ],
)
def test_a_metric_that_is_none_is_refused_before_anything_is_trained(tmp_path, source, message):
    (tmp_path / "mine.py").write_text(source)
    for name in ("main", "sweep"):
        said = refused(name, *SMALL, "--config.metrics=mine:bad", "--workdir=run", cwd=tmp_path)
        assert "config.metrics" in said
        assert message in said
        assert not (tmp_path / "run" / "config.json").exists()
        assert not (tmp_path / "run" / "sweep.json").exists()
