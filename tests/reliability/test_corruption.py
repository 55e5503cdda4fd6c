"""The short form of `python -m benchmarks.reliability corruption`: some damages of each kind."""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import mnist_jax
from benchmarks.reliability import corruption
from benchmarks.reliability.fuzzing import (
    checkpoint_files,
    promised,
    resumed,
    samples,
    watch,
    worker,
)
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
    every_bit, damaged, run, sweep, cache, prepared, *_ = rows
    for row, word in ((every_bit, "detected"), (damaged, "detected"), (run, "set aside"),
                      (sweep, "set aside"), (cache, "mended"), (prepared, "mended")):  # fmt: skip
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
        ["nothing was tried: b", "5 distinct cases were tried of all kinds, not 6"],
    ]
    (row,) = promised.complete([Row("a", 5, "")], 5, distinct=4)
    assert row.lost == ["4 distinct cases were tried of all kinds, not 5"]
    assert watch.Tally(tried=5).complete("a", 6).lost == ["a: 6 cases were planned, 5 tried"]


@dataclass
class Instead:
    """Does what a command might do with a run, in the place of a server that runs it."""

    keeps: list[int]  # checkpoints, as it begins to write
    spoils: str = ""  # a file
    environment: dict = field(default_factory=dict)

    def run(self, arguments, **_):
        (option,) = (its for its in arguments if its.startswith("--workdir="))
        folder = Path(option.removeprefix("--workdir=")) / "checkpoints"
        for step in {3, 6, 9}.difference(self.keeps):
            shutil.rmtree(folder / str(step))
        if self.spoils:
            (folder / self.spoils).write_text("")
        said = f"resuming from step 9 (epoch 3 done)\na writer began with {self.keeps}\n"
        return subprocess.CompletedProcess(arguments, 0, said, "")


def extended(name, steps):
    def change(folder):
        with (folder / name).open("a") as file:
            file.write("0")
        return {*steps}

    return change


@pytest.mark.parametrize("keep", [3, 2, 1])
@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("9/commit_success.txt", "harmless"),
        ("6/commit_success.txt", "harmless"),
        ("6/_CHECKPOINT_METADATA", "not met"),
    ],
)
def test_a_run_may_go_on_from_what_was_saved(tmp_path, keep, name, outcome):
    change = extended(name, [int(name[0])])
    case: Any = resumed.Case(
        resumed.RUN, keep, change, tmp_path / "run", samples.shared(quick=True)
    )
    assert case.outcome(Instead([3, 6, 9][-keep:])) == outcome


@pytest.mark.parametrize(
    ("keep", "name", "server", "why"),
    [
        (3, "9/commit_success.txt", Instead([6, 9]), "did not begin to write with"),
        (2, "3/_CHECKPOINT_METADATA", Instead([9]), "did not begin to write with"),
        (1, "3/_CHECKPOINT_METADATA", Instead([6, 9]), "did not begin to write with"),
        (2, "3/commit_success.txt", Instead([6, 9], "6/commit_success.txt"), "6 was changed"),
        (3, "9/_CHECKPOINT_METADATA", Instead([3, 6, 9]), "did not go on from step 6"),
    ],
)
def test_a_run_that_loses_a_sound_checkpoint_is_told_of(tmp_path, keep, name, server, why):
    change = extended(name, [int(name[0])])
    case: Any = resumed.Case(
        resumed.RUN, keep, change, tmp_path / "run", samples.shared(quick=True)
    )
    with pytest.raises(worker.Broken, match=why):
        case.outcome(server)
