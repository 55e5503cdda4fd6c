"""Long trainings: what a process has and uses stays as it is."""

import dataclasses

import numpy as np
import pytest

from benchmarks.reliability import curves, endurance
from benchmarks.reliability.records import record
from benchmarks.reliability.watching import leak
from benchmarks.reliability.watching.samples import Lines, Sample, row_size, watch
from benchmarks.reliability.watching.verdict import Bound, row
from mnist_jax.training import checkpoint

# Opens a file for each epoch, and never closes it.
LEAKING = """
import runpy, sys
from mnist_jax.training import loop
end_epoch, files = loop.end_epoch, []

def leaking(*arguments):
    files.append(open(__import__("os").devnull))
    return end_epoch(*arguments)

loop.end_epoch = leaking
sys.argv = ["main", *sys.argv[1:]]
runpy.run_module("mnist_jax.main", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_a_training_needs_no_more_at_its_end():
    (found,) = endurance.measure(quick=True)
    assert found.tried == endurance.QUICK_EPOCHS
    assert found.lost == []
    assert "open files" in found.found


def test_files_that_are_never_closed_are_found(tmp_path):
    words = endurance.main_words(tmp_path / "run", 30, *endurance.SMALL)[2:]
    its = watch(["-c", LEAKING, *words], tmp_path / "run", every=0.02)
    found = row("a leak", its, "epoch", Bound(row_size(tmp_path / "run")))
    assert [line for line in found.lost if line.startswith("a leak: open files grows")]


def samples(**growth):
    """100 samples of 10,000 epochs, in which some numbers grow by so much per epoch."""
    usual = Sample(0.0, 0, 400_000_000, 10, 20, 0.0, 0.0, 100_000, 0, 0)
    return [
        dataclasses.replace(
            usual,
            done=done,
            seconds=0.1 * done,
            cpu=0.1 * done,
            of_rows=500 * done,
            metadata=300 * done,
            **{name: int(getattr(usual, name) + per * done) for name, per in growth.items()},
        )
        for done in range(0, 10_001, 100)
    ]


def test_epochs_and_networks_that_are_missing_are_told(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("{}\n" * 3)
    assert endurance._missing(path, 3) == []
    assert endurance._missing(path, 4) == ["metrics.jsonl has 3 lines instead of 4"]


def judged(its, leaked=0.0):
    """The row of a training whose rows take 700 bytes each."""
    return row("it", its, "epoch", Bound(700, leaked))


@pytest.mark.parametrize(
    ("growth", "lost"),
    [
        ({}, []),
        ({"memory": 2_200}, []),  # of which rows take 1,400, with the gaps between them
        ({"memory": 3_300}, ["memory"]),
        ({"handles": 0.001}, ["open files"]),
        ({"threads": 0.002}, ["threads"]),
        ({"disk": 200}, ["disk"]),
    ],
)
def test_growth_is_told_by_name(growth, lost):
    found = judged(samples(**growth))
    assert [line.split(": ")[1] for line in found.lost] == [f"{name} grows" for name in lost]
    assert f"a slope of {growth.get('memory', 0):,} bytes per epoch" in found.found
    assert "at most 2,400: 2 x (700 of the row) + 1,000)" in found.found
    assert "take 500 bytes per epoch in their files and 300 in the metadata" in found.found
    assert found.tried == 10_000


def test_what_is_there_only_while_a_checkpoint_is_written_does_not_count():
    its = [
        dataclasses.replace(s, memory=s.memory + (0, 3 * s.done, 40_000_000)[i % 3])
        for i, s in enumerate(samples())
    ]
    assert judged(its).lost == []


def slower(others: float) -> list[Sample]:
    """Samples of a training that takes ever longer, while others use so many cores."""
    return [
        dataclasses.replace(s, seconds=0.1 * s.done * (1 + s.done / 50_000), others=others * s.cpu)
        for s in samples()
    ]


def test_time_that_grows_is_told():
    its = [dataclasses.replace(s, cpu=s.seconds, seconds=0.1 * s.done) for s in slower(0.0)]
    (line,) = judged(its).lost
    assert line.startswith("it: CPU time grows")


def test_wall_time_is_judged_where_the_machine_is_quiet():
    (line,) = judged(slower(0.1)).lost
    assert line.startswith("it: wall time grows")
    found = judged(slower(2.0))
    assert found.lost == []
    assert "of wall time (not judged: others used " in found.found


def test_each_line_is_counted_once(tmp_path):
    lines, path = Lines(tmp_path), tmp_path / "metrics.jsonl"
    assert lines.count() == 0
    for text, count in (("{}\n{}\n{", 2), ("}\n", 3)):
        with path.open("a") as file:
            file.write(text)
        assert lines.count() == lines.count() == count


def test_the_plot_shows_every_curve(tmp_path):
    conditions = {"device": "a CPU", "versions": {"python": "3.13", "jax": "0.12"}}
    found = {
        "conditions": conditions | {"date": "today", "commit": "abc"},
        "columns": [field.name for field in dataclasses.fields(Sample)],
        "samples": {name: [dataclasses.astuple(s) for s in samples()] for name in ("one", "many")},
    }
    path = curves.draw(found, tmp_path / "plot.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_tensorstore_leaks_counts_once_more_for_the_gaps():
    its = samples(memory=9_000)
    assert judged(its).lost
    assert judged(its, leaked=3_500).lost == []


def test_the_leak_of_a_library_is_measured_for_each_array(tmp_path, monkeypatch):
    folder, kept = tmp_path / "checkpoints", []
    arrays = {f"params/{name}": np.zeros((1, 3), np.float32) for name in "abc"}
    checkpoint.write(folder, 7, arrays, checkpoint.metadata(arrays, record(7)))
    monkeypatch.setattr(leak, "_convert", lambda path: kept.append(bytes(1_000)))
    assert leak.of_tensorstore(tmp_path) == pytest.approx(5 * 1_050, rel=0.05)  # and two merges
    monkeypatch.setattr(leak, "_convert", lambda path: bytes(1_000))
    assert leak.of_tensorstore(tmp_path) < 5
