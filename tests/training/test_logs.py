"""Rows, and where they are written."""

import csv
import json
import math
import os
import shutil

import pytest

from mnist_jax import metrics
from mnist_jax.errors import UserError
from mnist_jax.files import read_rows
from mnist_jax.training.logs import RunLog, SweepLog, fields, make_row

TWO = metrics.find()
THREE = metrics.find(("brier",))
CONTRACT = (
    "epoch step train_loss train_accuracy val_loss val_accuracy learning_rate seconds "
    "images_per_second"
)


def row(epoch: int, **changed):
    values = {
        "epoch": epoch,
        "step": 429 * epoch,
        "train_loss": 0.5,
        "train_accuracy": 0.875,
        "val_loss": 0.25,
        "val_accuracy": 0.9375,
        "learning_rate": 1e-3,
        "seconds": 1.5,
        "images_per_second": 36608.0,
    }
    return values | changed


def read(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    with (workdir / "metrics.csv").open(newline="") as file:
        return lines, list(csv.DictReader(file))


def made(metrics=TWO, sums=None, **changed):
    values = {
        "epoch": 2,
        "step": 20,
        "sums": {"count": 64, "loss": 32.0, "accuracy": 48.0, "brier": 16.0} | (sums or {}),
        "validation": {"loss": 0.25, "accuracy": 0.9375, "brier": 0.125},
        "learning_rate": 0.01,
        "seconds": 4.0,
    }
    return make_row(metrics=metrics, **values | changed)


def test_fields_are_the_contract():
    assert " ".join(fields(TWO)) == CONTRACT
    assert " ".join(fields(THREE)) == f"{CONTRACT} train_brier val_brier"
    assert list(row(1)) == list(made()) == fields(TWO)
    assert list(made(THREE)) == fields(THREE)


def test_a_row_has_means_over_the_examples():
    assert made(THREE) == row(
        2,
        step=20,
        train_accuracy=0.75,
        learning_rate=0.01,
        seconds=4.0,
        images_per_second=16.0,
        train_brier=0.25,
        val_brier=0.125,
    )


def test_without_validation_its_figures_are_none():
    found = made(THREE, validation={})
    assert [found[f"val_{name}"] for name in ("loss", "accuracy", "brier")] == [None] * 3
    assert found["train_brier"] == 0.25


def test_a_figure_that_is_not_finite_is_none():
    found = made(
        THREE, sums={"brier": math.nan}, validation={"loss": math.inf, "accuracy": 1, "brier": 0.5}
    )
    assert (found["train_brier"], found["val_loss"], found["val_brier"]) == (None, None, 0.5)


def test_each_epoch_is_a_line_of_both_files_as_soon_as_it_is_shown(tmp_path):
    with RunLog(tmp_path, TWO) as log:
        log.show([[]])
        assert read(tmp_path) == ([], [])
        shown = []
        for epoch in (1, 2):
            shown.append(row(epoch))
            log.show([shown])
            lines, table = read(tmp_path)
            assert lines == shown
            assert table == [{k: str(v) for k, v in line.items()} for line in lines]
        log.show([shown])  # as where a run is told to stop within an epoch
        assert read(tmp_path)[0] == shown


def test_a_further_metric_has_columns_of_its_own(tmp_path):
    its = row(1, train_brier=0.5, val_brier=0.25)
    with RunLog(tmp_path, THREE) as log:
        log.show([[its]])
    lines, table = read(tmp_path)
    assert lines == [its]
    assert list(table[0]) == fields(THREE)
    assert (table[0]["train_brier"], table[0]["val_brier"]) == ("0.5", "0.25")


def test_without_validation_its_fields_are_empty(tmp_path):
    with RunLog(tmp_path, TWO) as log:
        log.show([[row(1, val_loss=None, val_accuracy=None)]])
    lines, table = read(tmp_path)
    assert (lines[0]["val_loss"], table[0]["val_loss"]) == (None, "")
    assert list(table[0]) == fields(TWO)


def test_a_run_taken_up_again_holds_each_epoch_once(tmp_path):
    with RunLog(tmp_path, TWO) as log:
        log.show([[row(1), row(2), row(3)]])
    with RunLog(tmp_path, TWO):
        pass  # where they stand cannot be told: nothing is written
    assert [line["epoch"] for line in read(tmp_path)[0]] == [1, 2, 3]
    with RunLog(tmp_path, TWO) as log:
        its = [row(1), row(2)]  # the third was lost with its checkpoint
        log.show([its])
        assert [line["epoch"] for line in read(tmp_path)[0]] == [1, 2]
        log.show([[*its, row(3, seconds=9.0)]])
    lines, table = read(tmp_path)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert (lines[2]["seconds"], table[2]["seconds"]) == (9.0, "9.0")


def test_tensorboard_has_the_figures_too(tmp_path):
    pytest.importorskip("tensorboardX")
    with RunLog(tmp_path, THREE) as log:
        log.show([[row(1, train_brier=0.5, val_brier=None)]])
    (events,) = (tmp_path / "tensorboard").glob("events.*")
    content = events.read_bytes()
    assert all(name.encode() in content for name in fields(TWO)[2:])
    assert b"train_brier" in content
    assert b"val_brier" not in content


def test_rows_of_this_process_are_passed_on_once_they_are_written(tmp_path):
    passed = []

    def on_row(row):
        assert read(tmp_path)[0][-1]["epoch"] >= row["epoch"]
        passed.append(row["epoch"])

    def shown(*counts):
        passed.clear()
        with RunLog(tmp_path, TWO, on_row) as log:
            for count in counts:
                log.show([[row(epoch) for epoch in range(1, count + 1)]])
        return passed

    assert shown(0, 1, 2, 2) == [1, 2]
    assert shown(2, 3) == [3]
    assert shown(1, 2, 3, 4) == [4]  # the checkpoints of the epochs 2 and 3 were lost
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row(5))[:20])  # killed while it wrote
    assert shown(4, 5) == [5]
    (tmp_path / "metrics.jsonl").unlink()
    assert shown(5, 6) == [6]


def lines_of(workdir):
    return [json.loads(line) for line in (workdir / "sweep.jsonl").read_text().splitlines()]


def test_a_sweep_has_a_line_per_network_and_epoch(tmp_path):
    log = SweepLog(tmp_path)
    part = log.of([("wide", 0), ("wide", 1)])
    rows = [[row(1)], [row(1)]]
    part.show(rows)
    part.show(rows)  # nothing is new
    rows[0].append(row(2))  # the other one is finished
    part.show(rows)
    log.of([("deep", 0)]).show([[row(1), row(2)]])
    names = [("wide", 0, 1), ("wide", 1, 1), ("wide", 0, 2), ("deep", 0, 1), ("deep", 0, 2)]
    found = lines_of(tmp_path)
    assert [(line["architecture"], line["seed"], line["epoch"]) for line in found] == names
    assert found[0] == {"architecture": "wide", "seed": 0} | row(1)


def test_epochs_that_come_at_once_are_shown_one_after_the_other(tmp_path):
    log = SweepLog(tmp_path)
    rows = [[row(1), row(2)], [row(1), row(2)]]
    log.of([("a", 0), ("a", 1)]).show(rows)
    assert [(line["epoch"], line["seed"]) for line in lines_of(tmp_path)] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]


def test_lines_of_this_process_are_passed_on_once(tmp_path):
    passed = []

    def shown(names, *counts):
        passed.clear()
        part = SweepLog(tmp_path, passed.append).of(names)
        for pair in counts:
            part.show([[row(epoch) for epoch in range(1, count + 1)] for count in pair])
        return [(line["architecture"], line["seed"], line["epoch"]) for line in passed]

    names = [("a", 0), ("a", 1)]
    assert shown(names, (0, 0), (1, 1), (2, 1)) == [("a", 0, 1), ("a", 1, 1), ("a", 0, 2)]
    assert shown(names, (1, 1), (2, 2)) == [("a", 1, 2)]
    assert shown([("b", 0), ("a", 0)], (0, 2), (1, 3)) == [("b", 0, 1), ("a", 0, 3)]


def test_a_sweep_taken_up_again_holds_each_line_once_and_is_never_empty(tmp_path):
    log = SweepLog(tmp_path)
    log.of([("a", 0)]).show([[row(1), row(2)]])
    log.of([("b", 0)]).show([[row(1)]])
    again = SweepLog(tmp_path)
    assert len(lines_of(tmp_path)) == 3
    before = (tmp_path / "sweep.jsonl").stat()
    again.of([("b", 0)]).show([[row(1)]])
    assert (tmp_path / "sweep.jsonl").stat() == before  # nothing new: nothing is written
    again.of([("a", 0)]).show([[row(1)]])  # the second was lost with its checkpoint
    found = [(line["architecture"], line["epoch"]) for line in lines_of(tmp_path)]
    assert found == [("b", 1), ("a", 1)]


def test_a_reader_never_sees_an_empty_or_half_written_file(tmp_path, monkeypatch):
    """What another process reads at each moment at which a run that goes on writes."""
    with RunLog(tmp_path, TWO) as log:
        log.show([[row(1), row(2)]])
    seen, replace = [], os.replace

    def look(old, new):
        seen.append(len(read_rows(tmp_path / "metrics.jsonl")))
        replace(old, new)
        seen.append(len(read_rows(tmp_path / "metrics.jsonl")))

    monkeypatch.setattr(os, "replace", look)
    with RunLog(tmp_path, TWO) as log:
        log.show([[row(1), row(2)]])
    assert seen == [2] * len(seen)
    assert seen
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row(3))[:20])
    assert [line["epoch"] for line in read_rows(tmp_path / "metrics.jsonl")] == [1, 2]


@pytest.mark.parametrize("name", ["metrics.csv", "tensorboard"])
def test_a_file_that_cannot_be_written_is_one_message(tmp_path, name):
    if name == "tensorboard":
        pytest.importorskip("tensorboardX")
    with RunLog(tmp_path, TWO) as log:
        log.show([[row(1)]])
    if (tmp_path / name).is_dir():
        shutil.rmtree(tmp_path / name)
        (tmp_path / name).write_text("")
    else:
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"^cannot write {tmp_path / name}: .* same command"):
        RunLog(tmp_path, TWO).show([[row(1)]])
