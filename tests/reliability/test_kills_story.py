"""What starts of a command that was killed tell, and what of it is wrong."""

import signal
from pathlib import Path

import pytest

from benchmarks.reliability.killing import notice, story
from benchmarks.reliability.killing.notice import Series
from benchmarks.reliability.killing.story import Note, Start
from benchmarks.reliability.killing.victim import FIRST
from benchmarks.reliability.trial import Trial


def start(
    *notes: Note,
    ended: float,
    status: int = -signal.SIGKILL,
    said: str = "",
    errors: str = "",
    newest: int = 0,
) -> Start:
    there = {"/b/a": newest} if newest else {}
    return Start(Trial(status, said, errors, []), list(notes), Path("/b"), 0.0, ended, there)


def said_of(*starts: Start) -> str:
    return "".join(story.not_gone_on(starts))


def test_where_a_start_goes_on_is_checked():
    def at(step):
        return Note(1.0, folder="a", step=step, per_epoch=8)

    killed = start(at(0), at(8), at(20), ended=2.0, newest=8)
    early = start(ended=1.0, newest=8)  # killed before it has restored anything
    said = "compiling\nresuming from step 8 (epoch 1 done)\n"
    good = start(at(8), at(24), ended=2.0, status=0, said=said)
    assert said_of(killed, early, good) == ""
    anew = start(at(0), at(24), ended=2.0, status=0)
    assert "began at step 0 although checkpoint 8 of /b/a" in said_of(killed, anew)
    assert "began at step 0" in said_of(killed, early, anew)
    removed = start(ended=1.0)  # killed as well, after it had removed the checkpoint
    assert "checkpoint 8 of /b/a" in said_of(killed, removed, anew)
    silent = start(at(8), ended=2.0, status=0)
    assert "without a word" in said_of(killed, silent)
    late = start(at(0), at(8), at(25), ended=2.0, newest=8)
    assert said_of(late, good) == "2.12 epochs were lost at once"


def test_work_that_a_kill_loses_is_what_is_done_again():
    def at(seconds, step, folder="a"):
        return Note(seconds, folder=folder, step=step, per_epoch=8)

    first = start(at(1, 0), at(2, 4), at(3, 8), at(4, 12), ended=4.5)
    early = start(ended=1.0)  # killed before it has restored anything
    second = start(at(1, 8), at(2, 12), ended=2.5)
    last = start(at(1, 12), at(2, 16), ended=3.0, status=0)
    assert story.lost_work([first, early, second, last]) == [(0.5, 1.5), (0, 0), (0, 0)]
    other = start(at(1, 0, "b"), ended=2.0, status=0)  # the first population was finished
    assert story.lost_work([first, other]) == [(0, 0)]
    assert story.lost_work([first, early]) == []  # which is not known yet


def test_of_several_processes_each_goes_on_with_what_it_trains():
    def at(process, folder, step):
        return Note(1.0, folder=folder, step=step, per_epoch=8, process=process)

    killed = start(at(0, "a", 0), at(0, "a", 20), at(1, "b", 0), at(1, "b", 9), ended=2.0, newest=8)
    said = "resuming from step 8 (epoch 1 done)"
    again = start(at(0, "a", 8), at(1, "b", 0), ended=3.0, status=0, said=said)
    assert story.lost_work([killed, again]) == [(1.5, 1.0)]  # of the two networks at once
    other = start(at(1, "a", 8), ended=3.0, status=0)  # only the first process prints
    assert said_of(killed, again) == said_of(killed, other) == ""
    assert "without a word" in said_of(killed, start(at(0, "a", 8), ended=3.0, status=0))


def cases_of(*starts: Start) -> list[str]:
    return notice._cases_lost(starts, lambda its: story.wrong(its.trial, 75), most=0.0)


def test_a_stop_whose_work_is_lost_is_found_out():
    note = Note(1.0, folder="a", step=4, per_epoch=8)
    again = Note(1.0, folder="a", step=0, per_epoch=8)
    said = "resuming from step 4 (epoch 0 done)"
    stopped, later = (start(its, ended=2.0, status=75, said=said) for its in (note, again))
    assert cases_of() == cases_of(stopped, stopped) == []
    (line,) = cases_of(stopped, later)
    assert "0.50 epochs" in line
    failed = start(note, ended=2.0, status=1)
    (line,) = cases_of(failed, later)  # of one case
    assert "ended with 1" in line


class Told:
    """A stand on which all starts end in the same way."""

    def __init__(self, **how):
        self.how = how

    def empty(self, command):
        pass

    def start(self, command, kill, **more):
        return start(ended=1.0, **self.how)


@pytest.mark.parametrize("measure", [notice.told, notice.killed])
@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({}, ""),
        ({"status": -11}, "ended with -11"),  # before its first note
        ({"status": 0}, "ended with 0"),  # the signal never came
        ({"errors": "Traceback (most recent call last):"}, "a traceback"),
        ({"errors": "warning: checkpoint run/checkpoints/7 is damaged"}, "a damaged checkpoint"),
    ],
)
def test_each_start_that_does_not_end_as_it_should_is_lost(measure, how, line):
    series = [Series(FIRST, 2, 1, 0.1)]
    given = {"status": 75 if measure is notice.told else -signal.SIGKILL} | how
    row = measure(Told(**given), series, *([None] if measure is notice.told else []))
    assert len(row.lost) == (2 if line else 0)
    assert all(line in text for text in row.lost)
    assert row.found.startswith(f"{row.tried} of 2 planned signals met a training")


def test_fewer_signals_than_planned_are_lost():
    series = [Series(FIRST, 2, 1, 0.1), Series(FIRST, 3, 1, 0.1)]
    assert notice._row("SIGTERM", 5, series, "", []).lost == []
    assert notice._row("SIGTERM", 4, series, "", []).lost == [
        "4 of 5 planned signals met a training"
    ]


def test_kinds_of_operations_do_not_depend_on_numbers():
    names = [
        ("run/.mnist_jax-12-3456.tmp", "run/.PROCESS.tmp"),
        ("run/checkpoints/21/state/d/0123456789abcdef", "run/checkpoints/N/state/d/DIGEST"),
        ("1.0.0.preparing/incomplete.A1B2C3_1.0.0", "N.N.N.preparing/incomplete.RANDOM_N.N.N"),
        ("temporary/tmp12_abcdtfds", "temporary/RANDOM"),
    ]
    for path, expected in names:
        assert story.generalised(path) == expected
