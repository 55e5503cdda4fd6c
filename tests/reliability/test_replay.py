"""`verify --replay` finds what went wrong while a network was trained."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.reliability import forked, replay
from benchmarks.reliability.planting import flips
from mnist_jax.training import checkpoint, checkpoints, contents
from tests import commands
from tests.commands import fingerprint, finished, flip_bit, refused, run, stop_in_first_chunk

STEPS = (5, 10, 20, 30)  # of the checkpoints; the run was told to stop after 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a configuration."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "small.py").write_text(replay.CONFIG.replace("epochs = 4", "epochs = 3"))
    return folder


@pytest.fixture(scope="module")
def resumed(folder):
    """A run that was stopped within its first epoch, and finished."""
    words = ("--config=small.py", "--workdir=resumed")
    stop_in_first_chunk("main", *words, cwd=folder)
    run("main", *words, cwd=folder)
    return folder / "resumed"


@pytest.fixture
def copied(resumed, tmp_path):
    """A copy of the run, which a test may change."""
    return Path(shutil.copytree(resumed, tmp_path / "run"))


def replayed(workdir: Path, *words: str, status: int = 0, devices: int = 1) -> Any:
    """What `verify --replay=start` prints."""
    words = (f"--workdir={workdir}", "--replay=start", *words)
    return run("verify", *words, cwd=workdir.parent, status=status, devices=devices)


def verdicts(said: str) -> list[str]:
    """The lines on checkpoints, without the details and what follows the word."""
    lines = [line for line in said.splitlines() if re.match(r"(\w+/)?\d+: ", line)]
    return [re.sub(r"(DAMAGED|DIFFERS).*", r"\1", line) for line in lines]


def reasons(said: str, step: str) -> list[str]:
    """What follows the names of the arrays, up to the first colon."""
    (its,) = (part for part in re.split(r"\n(?=\d)", said) if part.startswith(f"{step}: "))
    lines = [line.strip() for line in its.splitlines()]
    return [line.partition(":")[0] for line in lines if re.match("a second|trained under", line)]


def save_again(workdir: Path, step: int, change: Callable[[dict, dict], None]) -> None:
    """Replaces a checkpoint by one with other contents, and with digests that match them."""
    where = (workdir / "checkpoints").resolve()
    arrays, record = checkpoint.read(where, step, contents.PARTS)
    arrays = {name: np.array(array) for name, array in arrays.items()}
    change(arrays, record)
    shutil.rmtree(where / str(step))
    checkpoint.write(where, step, arrays, checkpoint.metadata(arrays, record))


def flip_moment(arrays: dict, record: dict) -> None:
    """Flips the last bit of one value of Adam's first moment."""
    del record
    array = arrays["optimizer/0/0/mu/layers/output/kernel"]
    array.view(np.uint32)[0, 0, 0] ^= 1


def test_the_benchmark_finds_every_flip_that_it_plants(monkeypatch):
    monkeypatch.setattr(forked, "server", commands._server)
    devices, *rows = replay.measure(quick=True)
    assert devices.tried == 1
    assert [row.lost for row in (devices, *rows)] == [[]] * 3
    assert [row.found.split(",")[0] for row in rows] == ["1 of 1 found"] * 2


def bench(monkeypatch, tmp_path, said: str, status: int = 0) -> replay.Bench:
    """A bench whose trainings have no checkpoints, end with a status, and print `said`."""
    done = subprocess.CompletedProcess([], status, said, "")
    monkeypatch.setattr(forked, "run", lambda *arguments, **keywords: done)
    return replay.Bench(tmp_path)


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        ("", ["nothing was flipped", "nothing was flipped", "not one of 2"]),  # never planted
        ("flipped bit 3 before step 5\n", ["not one of 2"]),  # without any effect
    ],
)
def test_a_row_without_a_flip_that_was_found_is_lost(monkeypatch, tmp_path, said, lost):
    row = bench(monkeypatch, tmp_path, said).flips(replay.RUN, "params", 2)
    assert [any(words in line for line in row.lost) for words in lost] == [True] * len(lost)
    assert len(row.lost) == len(lost)


def test_a_case_that_hangs_is_one_lost_line(monkeypatch, tmp_path):
    its = bench(monkeypatch, tmp_path, "")
    its._without_flip(replay.RUN)

    def hangs(*arguments, **keywords):
        raise TimeoutError("timed out")

    monkeypatch.setattr(forked, "run", hangs)
    row = its.flips(replay.RUN, "params", 2)
    assert [line.endswith("TimeoutError: timed out") for line in row.lost] == [True, True, False]


def test_the_long_form_flips_moments_and_on_several_devices():
    moments = {replay.FIRST, replay.SECOND}
    for setting in (replay.RUN, replay.ELASTIC, replay.SWEEP):
        assert moments <= replay.FLIPS[setting].keys()
    assert {(its.trained_on, its.replayed_on) for its in replay.ON_OTHERS} == {(2, 4), (4, 1)}
    assert {*replay.ON_OTHERS} <= replay.FLIPS.keys()
    assert replay.FLIPS[replay.RUN].keys() == replay.KINDS.keys()


def test_sound_checkpoints_are_equal_also_within_an_epoch(resumed):
    before = fingerprint(resumed)
    said = replayed(resumed).stdout
    starts = ("the start", *STEPS)
    assert verdicts(said) == [
        f"{b}: sound; replayed from {a}: equal" for a, b in zip(starts, STEPS, strict=False)
    ]
    assert fingerprint(resumed) == before


def test_what_was_saved_wrongly_with_matching_digests_is_named(copied):
    save_again(copied, 20, flip_moment)
    assert run("verify", f"--workdir={copied}").stdout.count(": sound\n") == len(STEPS)
    said = replayed(copied, status=1).stdout
    assert verdicts(said)[2] == "20: sound; replayed from 10: DIFFERS"
    assert "DIFFERS in 1 of 43 arrays\n  optimizer/0/0/mu/layers/output/kernel: 1 of 160 " in said
    assert reasons(said, "20") == ["a second replay gives the same as the first"]


def test_a_replay_that_goes_wrong_itself_is_told_from_the_training(resumed):
    words = (f"--workdir={resumed}", "--replay")
    wrong = flips.arguments("verify", *words, where="params", at=15, seed=1)
    said = finished(wrong, cwd=resumed.parent, status=1).stdout
    assert verdicts(said)[1:] == [
        "10: sound; replayed from 5: equal",
        "20: sound; replayed from 10: DIFFERS",
        "30: sound; replayed from 20: equal",
    ]
    assert reasons(said, "20") == ["a second replay is equal to what was saved"]


def test_other_conditions_are_named_rather_than_blamed_on_the_arithmetic(copied):
    def trained_elsewhere(arrays: dict, record: dict) -> None:
        flip_moment(arrays, record)
        record["conditions"][-1]["conditions"]["versions"]["jax"] = "0.0.1"

    def unknown(arrays: dict, record: dict) -> None:
        flip_moment(arrays, record)
        del record["conditions"]

    save_again(copied, 20, trained_elsewhere)
    save_again(copied, 30, unknown)
    said = replayed(copied, status=1).stdout
    assert reasons(said, "20") == reasons(said, "30")
    assert reasons(said, "20")[0].startswith("trained under other conditions")
    assert "    versions.jax: '0.0.1' -> '" in said
    assert "did not record them" in said


def test_a_damaged_checkpoint_is_left_out(copied):
    for path in (copied / "checkpoints" / "10").rglob("*"):
        if path.is_file() and path.stat().st_size > 10_000:
            flip_bit(path, path.stat().st_size // 2)
    assert verdicts(replayed(copied, status=1).stdout) == [
        "5: sound; replayed from the start: equal",
        "10: DAMAGED",
        "20: sound; replayed from 5: equal",
        "30: sound; replayed from 20: equal",
    ]


def test_without_an_earlier_checkpoint_nothing_is_compared(copied):
    for step in STEPS[:-1]:
        shutil.rmtree(copied / "checkpoints" / str(step))
    done = run("verify", f"--workdir={copied}", "--replay", status=1)
    assert "30: sound; not replayed" in done.stdout
    assert "warning: nothing was replayed" in done.stderr
    (copied / "config.json").unlink()
    assert "there is no" in refused("verify", f"--workdir={copied}", "--replay")


@pytest.mark.slow
def test_a_run_that_went_on_to_more_epochs_is_equal(copied, folder):
    words = ("--config=small.py", "--config.num_epochs=4", f"--workdir={copied}")
    run("main", *words, cwd=folder)
    said = replayed(copied).stdout
    assert len(verdicts(said)) == 5
    assert said.count(": equal") == 5


@pytest.mark.slow
def test_networks_of_a_population_are_told_apart(folder):
    """Trained together, until each is out of patience."""
    words = ("--config=small.py", "--seeds=3", "--workdir=swept", "--config.patience=1")
    words += ("--config.optimizer.learning_rate=0.3", "--config.num_epochs=6")
    planted = flips.arguments("sweep", *words, where="params", at=5, seed=3, member=1)
    finished(planted, cwd=folder)
    (its,) = (folder / "swept").glob("populations/*/checkpoints")
    newest = checkpoints.steps(its)[-1]
    _, record = checkpoint.read(its, newest, ("step",))
    assert len({len(text.splitlines()) for text in record["rows"]}) > 1  # some stopped earlier
    before = fingerprint(folder / "swept")
    said = replayed(folder / "swept", status=1).stdout
    lines = verdicts(said)
    assert lines[0] == "10: sound; replayed from the start: DIFFERS"
    assert lines[1:]
    assert all(line.endswith(": equal") for line in lines[1:])
    assert "DIFFERS in 1 of 3 networks (small, seed 1)" in said
    assert "DIFFERS" in replayed(folder / "swept", "--seed=1", status=1).stdout
    assert "DIFFERS" not in replayed(folder / "swept", "--seed=0").stdout
    assert fingerprint(folder / "swept") == before


@pytest.mark.slow
def test_a_run_on_several_devices_is_replayed_on_as_many(folder):
    """With `reduction = 'mean'`, in which their number decides the bits."""
    run("main", "--config=small.py", "--workdir=on-two", cwd=folder, devices=2)
    assert replayed(folder / "on-two", devices=2).stdout.count(": equal") == 3
    said = replayed(folder / "on-two", status=1).stdout
    assert reasons(said, "10")[0].startswith("trained under other conditions")
    assert "devices: 2 -> 1" in said


def test_the_record_of_a_checkpoint_says_under_which_conditions_it_was_trained(resumed):
    _, record = checkpoint.read(resumed / "checkpoints", 30, ("step",))
    (its,) = record["conditions"]
    result = json.loads((resumed / "result.json").read_text())
    assert its["step"] == 0
    assert its["conditions"]["versions"] == result["versions"]
    assert its["conditions"]["devices"] == 1
