"""Long trainings: what a process has and uses stays as it is."""

import dataclasses

import pytest

from benchmarks.reliability import curves, endurance
from benchmarks.reliability.endurance import Sample

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


def test_a_training_needs_no_more_at_its_end():
    (row,) = endurance.measure(quick=True)
    assert row.tried == endurance.QUICK_EPOCHS
    assert row.lost == []
    assert "open files" in row.found


def test_files_that_are_never_closed_are_found(tmp_path):
    words = endurance.main_words(tmp_path / "run", 30, *endurance.SMALL)[2:]
    its = endurance.watch(["-c", LEAKING, *words], tmp_path / "run", every=0.02)
    found = endurance.row("a leak", its, "epoch")
    assert [line for line in found.lost if line.startswith("a leak: open files grows")]


def samples(**growth):
    """100 samples of 1,000 epochs, in which some numbers grow by so much per epoch."""
    usual = Sample(0.0, 0, 400_000_000, 10, 20, 0.0, 100_000, 0)
    return [
        dataclasses.replace(
            usual,
            done=done,
            cpu=0.1 * done,
            of_rows=500 * done,
            **{name: int(getattr(usual, name) + per * done) for name, per in growth.items()},
        )
        for done in range(0, 1001, 10)
    ]


@pytest.mark.parametrize(
    ("growth", "lost"),
    [
        ({}, []),
        ({"memory": 40_000}, []),  # within 5 % and 20 MB
        ({"memory": 60_000}, ["memory"]),
        ({"handles": 0.01}, ["open files"]),
        ({"threads": 0.02}, ["threads"]),
        ({"disk": 2_000}, ["disk"]),
    ],
)
def test_growth_is_told_by_name(growth, lost):
    row = endurance.row("it", samples(**growth), "epoch")
    assert [line.split(": ")[1] for line in row.lost] == [f"{name} grows" for name in lost]
    assert "which take 500 bytes per epoch" in row.found
    assert row.tried == 1000


def test_time_that_grows_is_told():
    its = [dataclasses.replace(s, cpu=0.1 * s.done * (1 + s.done / 5000)) for s in samples()]
    (line,) = endurance.row("it", its, "epoch").lost
    assert line.startswith("it: CPU time grows")


def test_each_line_is_counted_once(tmp_path):
    lines, path = endurance._Lines(tmp_path), tmp_path / "metrics.jsonl"
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
