"""What is planned for a row of kills, and what is promised of it."""

import random
from pathlib import Path
from typing import Any

from benchmarks.reliability import kills
from benchmarks.reliability.killing import operations
from benchmarks.reliability.killing.stands import Found
from benchmarks.reliability.killing.story import Note, Start
from benchmarks.reliability.killing.victim import FIRST, Kill
from benchmarks.reliability.row import Row
from benchmarks.reliability.trial import Disturbance, Operation, Trial


class Untouched:
    """Stands on which nothing is ever killed."""

    def __init__(self, *operations, notes=()):
        done = Trial(0, "", "", list(operations))
        self.start = Start(done, list(notes), Path("/b"), 0.0, 1.0)
        self.chains = []

    def undisturbed(self, command):
        return self.start, {}

    def kill(self, command, chains, found):
        self.chains += chains
        return []


def test_a_kind_of_operation_that_no_kill_meets_is_lost():
    names = [("write", "/b/run/a"), ("fsync", "/b/run/a"), ("write", "/b/run/c")]
    on: Any = Untouched(*(Operation(i, *its, False) for i, its in enumerate(names, start=1)))
    found = Found()
    found.met.add("fsync run/a")
    text = operations.meet_all_kinds(on, FIRST, found)
    assert text == "1 of 3 kinds of operations were met"
    unmet = "the first `main`: no kill met this kind of operation: write run"
    assert found.lost == [f"{unmet}/a", f"{unmet}/c"]
    tried = [kill.at for (kill,) in on.chains]
    assert tried[:2] == [Disturbance(n, "kill", kinds=("write",)) for n in (1, 2)]


def test_before_a_kill_in_a_restore_there_is_a_checkpoint():
    on: Any = Untouched(notes=[Note(1.0, begins="restore"), Note(3.0, ends="restore")])
    chains = kills.moments(on, FIRST, "restore", 4, random.Random(0), Found())
    assert on.chains == [[Kill(phase=("save", 2, 0.0))]]
    assert len(chains) == 4
    for saved, restoring in chains:
        assert [saved] in on.chains
        assert restoring.phase is not None
        assert restoring.phase[:2] == ("restore", 1)
        assert 0 <= restoring.phase[2] <= 2.0


def test_each_write_fsync_and_rename_is_met_whatever_is_left_out_of_the_others():
    kinds = ["mkdir", "write", "fsync", "create", "write", "rename", "unlink", "mkdir"] * 2
    its = [Operation(i, kind, "/b/run/a", False) for i, kind in enumerate(kinds, start=1)]
    on: Any = Untouched(*its)
    operations.kill(on, FIRST, Found(), others=3, first=8)
    tried = {(kill.at.act, *kill.at.kinds, kill.at.at) for (kill,) in on.chains}
    assert tried == {
        *((act, "write", at) for act in ("kill", "torn") for at in (3, 4)),
        ("kill", "fsync", 2),
        ("kill", "rename", 2),
        ("kill", "mkdir", 2),  # of the others each third: after it mkdir 3, create 2
        ("kill", "unlink", 2),
    }


def test_a_row_without_a_case_and_too_few_kills_are_lost():
    row = kills._row("`main` killed", Found())
    assert row.lost == ["`main` killed: no case ran"]
    assert "undisturbed" not in row.found
    rows = [Row("a", 300, ""), Row("b", 199, "")]
    assert kills.too_few(rows, 500) == ["499 kills were tried; 500 were promised"]
    assert kills.too_few([*rows, Row("c", 1, "")], 500) == []


def test_a_part_that_fails_does_not_take_the_others_along():
    def part(on):
        raise RuntimeError("ended with 1")

    nowhere: Any = None
    row = kills._row_of("moments", part, nowhere)
    assert (row.tried, row.lost) == (0, ["moments: RuntimeError: ended with 1"])
