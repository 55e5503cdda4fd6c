"""Checkpoints that can be trusted."""

import json

import jax
import numpy as np
import pytest

from mnist_jax.errors import UserError
from mnist_jax.training import checkpoint
from mnist_jax.training.checkpoint import Checkpoints, DamagedError
from tests.commands import SMALL, bits, flip_bit, rows, run, untimed

# A reader that fails leaves orbax's own threads talking to a loop that is closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STATE = {
    # Random bits: they do not compress, so that most of what is on disk is theirs.
    "params": {"dense": {"kernel": np.random.default_rng(0).random((50, 100), np.float32)}},
    "optimizer": (np.zeros(3, np.float32), {"count": np.int32(7)}),
    "step": np.int32(10),
}


def save(folder, ranks, keep_latest=10, keep_best=0):
    with Checkpoints(folder, keep_latest=keep_latest, keep_best=keep_best) as writer:
        for step, rank in ranks.items():
            writer.save(STATE | {"step": np.int32(step)}, step, {"rows": [step]}, rank)


def files_of(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


def test_restores_what_was_saved(tmp_path):
    save(tmp_path, {10: 0.5})
    state, record = checkpoint.load(tmp_path, 10, STATE)
    jax.tree.map(np.testing.assert_array_equal, state, STATE)
    assert jax.tree.structure(state) == jax.tree.structure(STATE)
    assert record == {"rows": [10], "rank": 0.5}


def test_restores_a_part(tmp_path):
    save(tmp_path, {10: 0.5})
    part, _ = checkpoint.load(tmp_path, 10, {"params": STATE["params"]})
    jax.tree.map(np.testing.assert_array_equal, part["params"], STATE["params"])


def test_other_shapes_and_names_are_named(tmp_path):
    save(tmp_path, {10: 0.5})
    with pytest.raises(UserError, match=r"params/dense/kernel: saved \(50, 100\), wanted \(2, 2\)"):
        checkpoint.load(tmp_path, 10, {"params": {"dense": {"kernel": np.zeros((2, 2))}}})
    with pytest.raises(UserError, match="params/conv/kernel: not saved"):
        checkpoint.load(tmp_path, 10, {"params": {"conv": {"kernel": np.zeros((2, 2))}}})


def test_every_flipped_bit_is_detected_or_changes_nothing(tmp_path):
    save(tmp_path, {10: 0.5})
    detected = {}
    for path in files_of(tmp_path / "10"):
        original = path.read_bytes()
        detected[path] = 0
        for at in np.linspace(0, len(original) - 1, 12, dtype=int) if original else []:
            flip_bit(path, int(at))
            try:
                state, record = checkpoint.load(tmp_path, 10, STATE)
            except DamagedError:
                detected[path] += 1
            else:
                jax.tree.map(np.testing.assert_array_equal, state, STATE)
                assert record == {"rows": [10], "rank": 0.5}
            path.write_bytes(original)
    assert detected[max(detected, key=lambda path: path.stat().st_size)] >= 11
    assert sum(detected.values()) > 30


def test_flipped_bit_in_the_data_names_the_array_and_both_digests(tmp_path):
    save(tmp_path, {10: 0.5})
    largest = max(files_of(tmp_path / "10"), key=lambda path: path.stat().st_size)
    flip_bit(largest, largest.stat().st_size // 2)
    with pytest.raises(
        DamagedError, match=r"kernel: SHA-256 is \w{64}, was \w{64} when saved|read"
    ):
        checkpoint.load(tmp_path, 10, STATE)
    assert dict(checkpoint.verify(tmp_path))[10]


@pytest.mark.parametrize("damage", ["truncate", "empty", "unlink"])
def test_every_damaged_file_is_detected_or_harmless(tmp_path, damage):
    save(tmp_path, {10: 0.5})
    detected = 0
    for path in files_of(tmp_path / "10"):
        original = path.read_bytes()
        if damage == "unlink":
            path.unlink()
        else:
            path.write_bytes(original[: len(original) // 2] if damage == "truncate" else b"")
        try:
            state, _ = checkpoint.load(tmp_path, 10, STATE)
            jax.tree.map(np.testing.assert_array_equal, state, STATE)
        except DamagedError:
            detected += 1
        path.write_bytes(original)
    assert detected >= 2


def test_falls_back_to_the_newest_sound_one(tmp_path, capsys):
    save(tmp_path, {10: 0.5, 20: 0.6, 30: 0.7})
    (tmp_path / "40").mkdir()  # what a crash can leave
    largest = max(files_of(tmp_path / "30"), key=lambda path: path.stat().st_size)
    flip_bit(largest, largest.stat().st_size // 2)
    state, _, step = checkpoint.newest_sound(tmp_path, STATE, set_aside=False)
    assert (step, state["step"]) == (20, 20)
    assert checkpoint.steps(tmp_path) == [10, 20, 30, 40]
    warnings = capsys.readouterr().err
    assert "30 is damaged" in warnings
    assert "40 is damaged: it was not written to its end" in warnings
    checkpoint.newest_sound(tmp_path, STATE, set_aside=True)
    assert checkpoint.steps(tmp_path) == [10, 20]
    save(tmp_path, {30: 0.7})  # the place is free again
    assert checkpoint.newest_sound(tmp_path, STATE, set_aside=True)[2] == 30


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.newest_sound(tmp_path / "none", STATE, set_aside=True) is None


def test_keeps_the_latest_and_the_best(tmp_path):
    ranks = {10: 0.2, 20: 0.9, 30: float("nan"), 40: None, 50: 0.3, 60: 0.1}
    save(tmp_path, ranks, keep_latest=2, keep_best=1)
    assert checkpoint.steps(tmp_path) == [20, 50, 60]
    assert checkpoint.best_step(tmp_path) == 20


def test_refused_save_is_an_error(tmp_path):
    save(tmp_path, {20: 0.5})
    with pytest.raises(UserError, match="could not write checkpoint 10"):
        save(tmp_path, {10: 0.5})


def test_failed_write_is_an_error_that_names_the_last_good_one(tmp_path, monkeypatch):
    save(tmp_path, {10: 0.5})

    class FullDisk:
        def result(self):
            raise OSError(28, "No space left on device")

    writer = Checkpoints(tmp_path, keep_latest=2, keep_best=1)
    monkeypatch.setattr(writer._orbax, "save_async", lambda *a, **k: FullDisk())
    writer.save(STATE, 20, {"rows": []})
    with pytest.raises(UserError, match=r"checkpoint 20 .*No space left.* on disk is 10"):
        writer.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("damaged") / "run"
    run("main", *SMALL, f"--workdir={workdir}")
    return workdir


def test_verify_evaluate_and_main_meet_a_damaged_checkpoint(finished):
    good, before = bits(finished), untimed(rows(finished))
    assert run("verify", f"--workdir={finished}").stdout == "15: sound\n30: sound\n"
    data = finished / "checkpoints" / "30"
    # Which arrays share a file is orbax's to choose, anew each time: the weights get theirs too.
    for path in (file for file in files_of(data) if file.stat().st_size > 10_000):
        for tenth in range(1, 10):
            flip_bit(path, path.stat().st_size * tenth // 10)

    found = run("verify", f"--workdir={finished}", status=1).stdout
    assert found.startswith("15: sound\n30: DAMAGED: ")

    fallen_back = run("evaluate", f"--workdir={finished}")
    assert "warning: checkpoint" in fallen_back.stderr
    assert json.loads((finished / "evaluation.json").read_text())["checkpoint"] == 15
    named = run("evaluate", f"--workdir={finished}", "--checkpoint=30", status=1)
    assert "is damaged" in named.stderr
    assert data.exists()

    (finished / "result.json").unlink()
    resumed = run("main", *SMALL, f"--workdir={finished}")
    assert "set aside as 30.damaged" in resumed.stderr
    assert (finished / "checkpoints" / "30.damaged").is_dir()
    assert bits(finished) == good
    assert untimed(rows(finished)) == before
    assert run("verify", f"--workdir={finished}").stdout == "15: sound\n30: sound\n"
