"""The short form of `python -m benchmarks.reliability corruption`: some damages of each kind."""

import json
import shutil

import pytest

import mnist_jax
from benchmarks.reliability import corruption
from benchmarks.reliability.fuzzing import checkpoint_files, promised, samples, watch
from benchmarks.reliability.row import Row
from mnist_jax.training import checkpoint

# A reader that fails leaves orbax's own threads talking to a loop that is closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def rows():
    return corruption.measure(quick=True)


def test_no_damage_is_lost(rows):
    assert [line for row in rows for line in row.lost] == []
    assert all(row.tried >= 2 for row in rows)


def test_most_damage_is_detected(rows):
    every_bit, damaged, resumed, cache, prepared, *_ = rows
    for row, word in ((every_bit, "detected"), (damaged, "detected"), (resumed, "set aside"),
                      (cache, "mended"), (prepared, "mended")):  # fmt: skip
        assert word in row.found


def test_a_reader_that_notices_nothing_is_told_of(tmp_path, monkeypatch):
    """Without digests, orbax loads flipped bits."""
    place = samples.shared(quick=True)
    monkeypatch.setattr(checkpoint, "_compare", lambda *_: None)
    smallest = checkpoint_files.smallest(place)
    monkeypatch.setattr(checkpoint, "_seal", lambda sealed: sealed_as_it_is(smallest))
    (tmp_path / "folder").mkdir()
    count = checkpoint_files.count_of_bits(place)
    found = watch.here(
        "checkpoint_files:every_bit", tmp_path / "folder", place, range(3, count, 7001)
    )
    assert any("other values were loaded" in line for line in found.lost)


def sealed_as_it_is(folder) -> str:
    return json.loads((folder / checkpoint.METADATA).read_text())["custom_metadata"]["seal"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("result.json", '"test_count": 8', '"test_count": 9'),
        ("metrics.jsonl", '"epoch": 2', '"epoch": 7'),
    ],
)
def test_a_changed_figure_of_a_finished_run_is_noticed(tmp_path, capsys, name, old, new):
    place = samples.shared(quick=True)
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    sound = (run / name).read_text()
    (run / name).write_text(sound.replace(old, new))
    assert (run / name).read_text() != sound
    with samples.entered(place), samples.without_pictures():
        found = mnist_jax.train(str(place / "config.py"), workdir=run)
    assert f"{name} " in capsys.readouterr().err
    assert found.result["test_count"] == 8
    assert [row["epoch"] for row in found.history] == [1, 2, 3]


def test_too_few_cases_are_a_loss():
    rows = promised.complete([Row("a", 5, ""), Row("b", 0, "")], 6)
    assert [row.lost for row in rows] == [
        [],
        ["nothing was tried: b", "5 cases were tried of all kinds, and not 6"],
    ]
