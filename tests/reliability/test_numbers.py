"""NaN and infinity in a training: named by step, nothing of it saved, and the others go on."""

import json
import math

import pytest

from benchmarks.reliability import attempt, forked, left, numbers
from benchmarks.reliability.planting import network
from benchmarks.reliability.planting.messages import Named, judged
from benchmarks.reliability.planting.poison import HARMLESS, PLACES, Dose
from benchmarks.reliability.planting.trainings import SETTINGS, Trainings
from tests import commands


def test_no_number_that_is_not_finite_is_missed_or_saved(monkeypatch):
    monkeypatch.setattr(forked, "server", commands._server)
    of_main, of_settings, harmless, of_sweeps = numbers.measure(quick=True)
    assert [row.lost for row in (of_main, of_settings, harmless, of_sweeps)] == [[]] * 4
    assert (of_main.tried, of_settings.tried, harmless.tried) == (2, 1, 1)
    assert of_main.found.startswith("2 ended with status 1")
    assert harmless.found.startswith("1 ended with status 0")
    assert of_sweeps.tried == len(numbers.VALUES) * len(numbers.WHEN)


def test_the_long_form_has_each_place_and_value_and_setting():
    found = list(numbers.cases())
    assert {case.place for case in found} == {*PLACES}
    assert {str(case.dose.value) for case in found} == {"nan", "inf", "-inf", "-1.0"}
    assert {case.setting for case in numbers.in_settings()} == {*SETTINGS}
    assert len({*map(str, found)}) == len(found)


def test_cases_without_harm_have_rows_of_their_own(monkeypatch):
    monkeypatch.setattr(network, "tried", lambda trainings, case, named: [])
    monkeypatch.setattr(numbers.population, "tried", lambda trainings, place, doses, named: [])
    rows = {row.what: row for row in numbers.measure(quick=False)}
    count = len(numbers.VALUES) * len(numbers.WHEN)
    assert rows[numbers.ONE_HARMLESS].tried == rows[numbers.MANY_HARMLESS].tried == count
    assert rows[numbers.ONE].tried == len(list(numbers.cases())) - count
    assert HARMLESS not in numbers.IN_SWEEPS


def test_a_case_that_fails_is_one_lost_line(monkeypatch):
    def unreadable(*arguments):
        json.loads("{")

    monkeypatch.setattr(network, "tried", unreadable)
    monkeypatch.setattr(numbers.population, "tried", unreadable)
    for row in numbers.measure(quick=True):
        assert row.lost
        assert all("JSONDecodeError: Expecting property name" in line for line in row.lost)
    assert attempt.lines("it", lambda: ["is wrong"]) == ["it: is wrong"]


@pytest.mark.parametrize(
    ("place", "step", "said", "right"),
    [
        ("gradient", 5, "diverged in epoch 1, step 6: the loss", True),
        ("gradient", 5, "diverged in epoch 1, step 7: the loss", False),
        ("parameter", 5, "diverged in epoch 1, step 7: the loss", True),
        ("parameter", 5, "diverged in epoch 1, step 8: the loss", False),
        ("second moment", 5, "diverged in epoch 1, steps 5 to 8: the parameters", True),
        ("second moment", 5, "diverged in epoch 1, steps 1 to 10: the parameters", False),
        ("second moment", 8, "diverged in epoch 1, steps 5 to 8: the parameters", False),
        ("average", 15, "diverged in epoch 1, step 16: the loss", False),
        ("output in validation", 1, "diverged in epoch 2, validation: an output", True),
        ("output in validation", 1, "diverged in epoch 1, validation: an output", False),
        ("gradient", 5, "a matrix is singular", False),
    ],
)
def test_a_message_must_name_the_step(place, step, said, right):
    dose = Dose(step, math.nan)
    _, wrong = judged(place, dose, f"error: {said}", "", Named())
    assert (wrong == []) == right


def test_what_is_saved_beyond_the_epoch_before_is_seen(tmp_path, monkeypatch):
    digests = {
        "run": {"10/params": "a", "20/params": "b"},
        "clean": {"10/params": "a", "20/params": "c"},
    }
    monkeypatch.setattr(left, "digests", lambda workdir: digests[workdir.name])
    for name in digests:
        (tmp_path / name).mkdir()
        lines = [json.dumps({"epoch": epoch}) + "\n" for epoch in (1, 2)]
        (tmp_path / name / "metrics.jsonl").write_text("".join(lines))
    run, clean = tmp_path / "run", tmp_path / "clean"
    assert network.differences(run, clean, 3) == ["checkpoints: 20/params differ"]
    assert len(network.differences(run, clean, 2)) == 2  # a checkpoint and a row too many
    del digests["run"]["20/params"]
    (run / "metrics.jsonl").write_text(lines[0])
    assert network.differences(run, clean, 2) == []


def test_what_rounds_otherwise_is_compared_with_a_dose_that_never_comes(tmp_path, monkeypatch):
    made = []

    def clean(self, *words, place="", **more):
        made.append(place)
        return tmp_path / (place or "without")

    monkeypatch.setattr(Trainings, "clean", clean)

    def unlike(*differing):
        differences = lambda folder: ["it differs"] * (folder.name in differing)  # noqa: E731
        its = Trainings(tmp_path).unlike(differences, "main", place="loss", doses=[Dose(1, 2.0)])
        return its, [made.pop(0) for _ in made[:]]

    assert unlike() == ([], [""])
    assert unlike("without") == ([], ["", "loss"])
    assert unlike("without", "loss") == (["it differs"], ["", "loss"])
