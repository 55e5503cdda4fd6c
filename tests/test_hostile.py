"""Trials in hostile environments and with mistakes: how they are judged, and a sample of them."""

from pathlib import Path

import pytest

from benchmarks.hostile import __main__ as hostile
from benchmarks.hostile.environments import environments
from benchmarks.hostile.mistakes import mistakes
from tests import commands


@pytest.mark.parametrize(
    ("status", "text", "verdict"),
    [
        (0, "fine\n", "well"),
        (1, "some line\nerror: config.seed: -1 is below 0\n", "told"),
        (2, "usage: ...\nmain.py: error: unknown argument '--epochs=3'\n", "told"),
        (1, "some line\n", "fault"),
        (75, "error: stopped\n", "fault"),
        (-9, "error: killed\n", "fault"),
        (1, "Traceback (most recent call last):\nerror: x\n", "fault"),
        (1, "error: x\n" + "more\n" * 20, "fault"),
    ],
)
def test_a_message_is_told_from_a_fault(status, text, verdict):
    assert hostile._verdict(status, text)[0] == verdict


def test_each_trial_has_a_name_of_its_own(tmp_path):
    around, wrong = list(environments(tmp_path)), list(mistakes())
    names = [its.name for its in (*around, *wrong)]
    assert len(names) == len(set(names))
    assert len(around) >= 150
    assert len(wrong) >= 350
    assert "JAX_ENABLE_X64=1" in names  # one of JAX's switches, which it lists itself


def test_the_counts_are_those_of_the_outcomes():
    found = [("environment", "well"), ("environment", "told"), ("environment", "well")]
    found += [("mistake", "told"), ("mistake", "fault")]
    outcomes = [hostile.Outcome(kind, "", verdict, 0, 0.0, "") for kind, verdict in found]
    its = {"device": "D", "versions": {"python": "3", "jax": "1"}, "date": "today", "commit": "c"}
    assert hostile.statement(outcomes, its) == (
        "Of 3 environments, 2 let a training end well and 1 end it with one message; 0 are faults. "
        "Of 2 mistakes, 1 end with one message; 1 are faults. D. Python 3, jax 1. today, commit c."
    )


@pytest.mark.slow
def test_a_sample_goes_well_or_ends_with_one_message(tmp_path):
    only = "^(JAX_ENABLE_X64=1|umask 077|COLUMNS=1|--config.seed=-1|a model that returns a tuple)$"
    found = tmp_path / "found.json"
    commands.benchmark("hostile", f"--only={only}", f"--json={found}")
    verdicts = [outcome["verdict"] for outcome in commands.read(Path(found))]
    assert verdicts == ["well", "well", "well", "told", "told"]
