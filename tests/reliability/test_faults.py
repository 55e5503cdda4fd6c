"""The system fails under real trainings: no checkpoint is lost, and the next start goes on."""

import pytest

from benchmarks.reliability import faults
from benchmarks.reliability.failing import cases, mishaps, scenes, verdict
from benchmarks.reliability.failing.cases import Case
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.row import Row
from benchmarks.reliability.trial import Operation


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("faults") / "stage") as its:
        yield its


@pytest.fixture(scope="module")
def found(stage):
    jobs = faults.few(stage)
    return jobs, faults.played([stage], jobs)


def test_faults_of_all_kinds_lose_nothing(found):
    rows = faults.rows(*found)
    assert [line for row in rows for line in row.lost] == []
    assert sum(row.tried for row in rows) > len(found[0]) / 2
    assert {mishaps.TAKEN, mishaps.CLOCK, mishaps.MEMORY, mishaps.PROGRAMS} <= {
        row.what for row in rows
    }


def test_some_are_told_of_and_some_are_harmless(found):
    """Else nothing would be disturbed, or every disturbance would end a training."""
    assert {verdict.HARMLESS, verdict.MESSAGE} <= {*found[1]}


@pytest.mark.parametrize("error", ["EIO", "EMFILE"])
def test_a_checkpoint_without_its_index_is_not_saved(stage, error):
    """Orbax takes a folder that it cannot list for one with nothing to merge."""
    operations, plain = stage.listed(scenes.SAVING)
    (its,) = (
        its
        for (kind, file), its in cases.groups(operations).items()
        if kind == "list" and file.endswith("N.orbax-checkpoint-tmp/state")
    )
    for number, path in its:
        case = Case("list", number, error, path=path)
        end = verdict.play(stage, scenes.SAVING, case.disturbance, plain)
        assert end in (verdict.HARMLESS, verdict.MESSAGE)


def test_a_sound_checkpoint_is_not_set_aside_for_one_look_that_fails(stage):
    operations, plain = stage.listed(scenes.RESTORING)
    looks = [case for case in cases.single(operations) if (case.kinds, case.act) == ("stat", "EIO")]
    inner = [case for case in looks if case.path.endswith(("/state", "/state/_METADATA"))]
    assert inner
    for case in inner[:3]:
        end = verdict.play(stage, scenes.RESTORING, case.disturbance, plain)
        assert end in (verdict.HARMLESS, verdict.MESSAGE)


def test_each_operation_fails_and_each_kind_has_each_error():
    operations = [
        Operation(number, "write", f"/bench/run/checkpoints/{number}/data", disturbed=False)
        for number in range(1, 9)
    ] + [Operation(9, "list", "/bench/run", disturbed=False)]
    found = cases.single(operations)
    writes = [case for case in found if case.kinds == "write"]
    assert {case.number for case in writes} == {*range(1, 9)}
    assert {case.act for case in writes} == {*cases.ERRORS["write"]}
    assert {case.act for case in found if case.kinds == "list"} == {*cases.ERRORS["list"]}
    known = cases.groups(operations)
    assert cases.single(operations, known) == []
    assert len(cases.single(operations, known, again=True)) == 9


def test_a_row_counts_what_was_played():
    jobs = [faults.Job("what", str(i), scenes.TRAINING, lambda stage, plain: "") for i in range(3)]
    ends = [verdict.HARMLESS, verdict.MESSAGE, "it hangs"]
    text = (
        f"1 {verdict.KEPT_PROMISES[verdict.HARMLESS]}; 1 {verdict.KEPT_PROMISES[verdict.MESSAGE]}"
    )
    assert faults.rows(jobs, ends) == [Row("what", 3, text, ["2: it hangs"])]
