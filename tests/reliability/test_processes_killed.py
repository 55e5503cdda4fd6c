"""Processes that train together and are killed, and go on as if nothing had happened."""

import shutil

import pytest

from benchmarks.reliability import processes
from benchmarks.reliability.killing.story import Start
from benchmarks.reliability.killing.together import ALL, wrong
from benchmarks.reliability.processes import _chain
from benchmarks.reliability.trial import Trial

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def test_processes_that_are_killed_end_with_the_bits_of_a_single_one():
    (row,) = processes.measure(quick=True)
    assert row.lost == []
    assert row.tried
    assert "the bits of a single process" in row.found


def test_each_process_and_all_are_killed_at_operations_and_moments():
    blows = [blow for i in range(11) for blow in _chain(i, 5, {"0": 300, "1": 30}, 10.0)]
    assert len(blows) == 55
    assert {(blow.whom, bool(blow.operation)) for blow in blows} == {
        ("0", False),
        ("0", True),
        ("1", False),
        ("1", True),
        (ALL, False),
    }
    assert max(blow.operation for blow in blows if blow.whom == "1") <= 30


@pytest.mark.parametrize(
    ("status", "errors", "said"),
    [
        (0, "", ""),
        (75, "process 1 of 2 was killed by SIGKILL", ""),
        (75, "", "ended with 75"),
        (1, "error: something", "error: something"),
        (0, "warning: checkpoint run/checkpoints/7 is damaged: gone", "a damaged checkpoint"),
        (75, "was killed by SIGKILL\nTraceback (most recent call last):", "a traceback"),
        (-9, "still there after 200 s", "still there"),
    ],
)
def test_what_went_wrong_is_seen(status, errors, said, tmp_path):
    found = wrong(Start(Trial(status, "", errors, []), [], tmp_path, 0.0, 1.0))
    assert (said in found) if said else not found
