import csv
import json

import pytest

from mnist_jax.training.history import FIELDS, History


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


def test_fields_are_the_contract():
    assert " ".join(FIELDS) == (
        "epoch step train_loss train_accuracy val_loss val_accuracy learning_rate seconds "
        "images_per_second"
    )
    assert tuple(row(1)) == FIELDS


def test_each_epoch_is_a_line_of_both_files_as_soon_as_it_is_added(tmp_path):
    history = History(tmp_path, [])
    assert read(tmp_path) == ([], [])
    for epoch in (1, 2):
        history.append(row(epoch))
        lines, table = read(tmp_path)
        assert lines == [row(i + 1) for i in range(epoch)]
        assert table == [{k: str(v) for k, v in line.items()} for line in lines]
    history.close()


def test_without_validation_its_fields_are_empty(tmp_path):
    history = History(tmp_path, [])
    history.append(row(1, val_loss=None, val_accuracy=None))
    history.close()
    lines, table = read(tmp_path)
    assert (lines[0]["val_loss"], table[0]["val_loss"]) == (None, "")
    assert list(table[0]) == list(FIELDS)


def test_a_run_taken_up_again_holds_each_epoch_once(tmp_path):
    history = History(tmp_path, [])
    for epoch in (1, 2, 3):
        history.append(row(epoch))
    history.close()
    history = History(tmp_path, [row(1), row(2)])  # the third was lost with its checkpoint
    assert [line["epoch"] for line in read(tmp_path)[0]] == [1, 2]
    history.append(row(3, seconds=9.0))
    history.close()
    lines, table = read(tmp_path)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert (lines[2]["seconds"], table[2]["seconds"]) == (9.0, "9.0")


def test_tensorboard_has_the_figures_too(tmp_path):
    pytest.importorskip("tensorboardX")
    history = History(tmp_path, [])
    history.append(row(1))
    history.close()
    (events,) = (tmp_path / "tensorboard").glob("events.*")
    content = events.read_bytes()
    assert all(name.encode() in content for name in FIELDS[2:])
