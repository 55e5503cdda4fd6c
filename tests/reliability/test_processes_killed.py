"""Processes that train together and are killed, and go on as if nothing had happened."""

import shutil
import signal
from pathlib import Path

import pytest

from benchmarks.reliability import processes
from benchmarks.reliability.killing.followed import JOINING
from benchmarks.reliability.killing.story import Note, Start
from benchmarks.reliability.killing.together import (
    ALL,
    MAIN,
    SWEEP,
    Blow,
    Bout,
    Place,
    _is_hit,
)
from benchmarks.reliability.processes import _chain
from benchmarks.reliability.trial import Operation, Trial

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@needs_compiler
def test_processes_that_are_killed_end_with_the_bits_of_a_run_left_alone():
    (row,) = processes.measure(quick=True)
    assert row.lost == []
    assert row.tried == 1
    assert "by whom they met: the first process: 1; kills at an operation on a file: 1" in row.found
    assert "without a message of ours: 1" in row.found
    assert "the bits of a run left alone" in row.found


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("whom", ["0", "1"])
def test_processes_of_a_sweep_that_are_killed_end_with_the_bits_of_one_left_alone(tmp_path, whom):
    found = processes._killed_once(Place(tmp_path / "place", tmp_path / "shared", SWEEP), whom)
    assert found.lost == []
    assert found.kills == {whom: 1}
    assert len(found.work) == 1


def test_each_process_and_all_are_killed_at_operations_and_moments():
    seconds = {ALL: 10.0, "0": 5.0, "1": 5.0}
    blows = [blow for i in range(11) for blow in _chain(i, 5, {"0": 300, "1": 30}, seconds)]
    assert len(blows) == 55
    assert {(blow.whom, bool(blow.operation)) for blow in blows} == {
        ("0", False),
        ("0", True),
        ("1", False),
        ("1", True),
        (ALL, False),
    }
    assert max(blow.operation for blow in blows if blow.whom == "1") <= 30
    assert max(blow.after for blow in blows if blow.whom != ALL) < 5.0


def test_a_process_is_timed_from_when_all_have_joined():
    notes = [
        Note(at, ends=phase, process=i)
        for i, at, phase in [(0, 4, JOINING), (1, 6, JOINING), (0, 7, "compilation")]
    ]
    start = Start(Trial(0, "", "", []), notes, Path("/b"), 1.0, 9.0)
    assert processes._seconds(start) == {ALL: 8.0, "0": 3.0, "1": 3.0}


def bout(status, errors, whom="", seconds=3.0, output="", notes=(), newest=0, joined="01"):
    """A start that ended so; `whom` was killed."""
    there = {"/b/a": newest} if newest else {}
    notes = [Note(1.0, ends=JOINING, process=int(its)) for its in joined] + list(notes)
    start = Start(Trial(status, output, errors, []), notes, Path("/b"), 0.0, 1.0, there)
    return Bout(start, Blow(whom, after=1.0) if whom else None, bool(whom), seconds)


KILLED = "process 1 of 2 was killed by SIGKILL\n"
COORDINATOR = "process 0 of 2 was killed by SIGKILL\n"
ABORTED = "process 1 of 2 was killed by SIGABRT\n"


@pytest.mark.parametrize(
    ("status", "errors", "whom", "said"),
    [
        (0, "", "", ""),
        (75, KILLED, "1", ""),
        (75, COORDINATOR + ABORTED, "0", ""),
        (-9, "", ALL, ""),
        (75, "", "", "ended with 75"),
        (75, KILLED, "", "process 1 was killed by SIGKILL"),  # by the launcher
        (75, COORDINATOR + KILLED, "0", "process 1 did not end by itself within 63 s"),
        (75, KILLED + "process 0 of 2 ended with status 66\n", "1", "process 0 ended with status"),
        (75, KILLED + "process 0 of 2 was killed by SIGSEGV\n", "1", "process 0 was killed by"),
        (1, "error: something\n" + KILLED, "1", "error: something"),
        (0, "warning: checkpoint run/checkpoints/7 is damaged: gone", "", "a damaged checkpoint"),
        (75, KILLED + "Traceback (most recent call last):", "1", "a traceback"),
        (-9, "still there after 200 s", ALL, "still there"),
    ],
)
def test_what_went_wrong_is_seen(status, errors, whom, said):
    found = bout(status, errors, whom, seconds=63.0).wrong
    assert (said in found) if said else not found


def test_processes_that_waited_for_one_that_never_joined_are_ended_by_the_launcher():
    errors = KILLED + "process 0 of 2 was killed by SIGKILL\n"
    unjoined, joined = (bout(75, errors, "1", joined=its) for its in ("0", "01"))
    assert (unjoined.wrong, unjoined.ended) == ("", ["0"])
    assert (bool(joined.wrong), joined.ended) == (True, [])
    found = processes.Found()
    found.add([unjoined])
    assert "had not joined them: 1" in processes.row(found, MAIN, 1).found


def test_processes_that_jax_aborted_without_a_message_of_ours_are_counted_apart():
    silent = bout(75, COORDINATOR + ABORTED, "0")
    spoken = bout(75, f"process 1: error: process 0 is gone\n{COORDINATOR}{ABORTED}", "0")
    late = bout(
        75, f"error: process 1 is gone\n{KILLED}process 0 of 2 was killed by SIGABRT\n", "1"
    )
    assert [its.aborted for its in (silent, spoken, late, bout(0, ""))] == [1, 0, 0, 0]
    found = processes.Found()
    found.add([silent, spoken, silent])
    assert "aborted, without a message of ours: 2" in processes.row(found, MAIN, 1).found


def test_only_a_blow_that_landed_is_a_kill():
    def ended(errors, *operations, status=75):
        return Trial(status, "", errors, list(operations))

    met = Operation(7, "write", "a", disturbed=True)
    at_operation, later = Blow("1", operation=7), Blow("1", after=2.0)
    assert _is_hit(at_operation, ended(KILLED, met))
    assert not _is_hit(at_operation, ended(KILLED))  # the launcher has killed it
    assert not _is_hit(at_operation, ended(COORDINATOR, met))
    assert _is_hit(later, ended(KILLED))
    assert not _is_hit(later, ended(ABORTED))
    assert _is_hit(Blow(ALL, after=2.0), ended("", status=-signal.SIGKILL))
    assert not _is_hit(Blow(ALL, after=2.0), ended("", status=0))


def test_processes_that_start_anew_are_found_out():
    def at(step):
        return Note(1.0, folder="a", step=step, per_epoch=8)

    killed = bout(75, KILLED, "1", notes=[at(0), at(12)], newest=8)
    anew = bout(0, "", notes=[at(0), at(24)])
    found = processes.Found()
    found.add([killed, anew])
    assert (found.kills.total(), found.blows) == (1, 1)
    (line,) = found.lost
    assert line.startswith("process 1 at 1.00 s: began at step 0 although checkpoint 8 of /b/a")
    again = bout(0, "", notes=[at(8), at(24)], output="resuming from step 8 (epoch 1 done)")
    good = processes.Found()
    good.add([killed, again])
    assert good.lost == []


def test_fewer_kills_than_promised_are_lost():
    row = processes.row(processes.Found(), MAIN, 50)
    assert "0 kills were tried; 50 were promised" in row.lost[0]


def test_what_cannot_be_read_is_lost_and_the_others_go_on(tmp_path, monkeypatch):
    place = object.__new__(Place)
    place.run = tmp_path / "run"
    monkeypatch.setattr(place, "start", lambda blow: bout(0, ""))
    monkeypatch.setattr(processes.left, "contents", lambda folder: 1 / 0)
    bouts, different = processes._struck(place, [Blow("1", operation=1)], {})
    assert len(bouts) == 1
    assert different.startswith("ZeroDivisionError")
