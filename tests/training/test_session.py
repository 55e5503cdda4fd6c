"""A training that is stopped and taken up again ends as one that never was."""

import dataclasses

import jax
import numpy as np
import pytest

from mnist_jax import metrics
from mnist_jax.config import parse
from mnist_jax.errors import StoppedError
from mnist_jax.members import FINISHED
from mnist_jax.training import checkpoint, checkpoints
from mnist_jax.training.console import Console
from mnist_jax.training.program import prepare_many, prepare_one
from mnist_jax.training.row_texts import rows_of
from mnist_jax.training.session import Clock, opened, trained
from tests.training.small import SMALL, assert_same_bits, on_devices, untimed

BASE = parse(
    SMALL
    | {"num_epochs": 5, "chunk_steps": 10, "ema_decay": 0.5, "best": "val_loss", "keep_latest": 10}
    | {"optimizer": {"name": "adam", "learning_rate": 0.1}}
)
SHORTER = dataclasses.replace(BASE, chunk_steps=4)
NEVER = 10**6


@pytest.fixture(scope="module", autouse=True)
def all_compiled_alike():
    """As `quick_compiles`, for what the fixtures of this module compile, too."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


class Told:
    """To stop, the so many-th time that it is asked."""

    def __init__(self, times: int = NEVER) -> None:
        self.left = times

    def poll(self):
        pass

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


class Shown:
    """What a log is shown."""

    def __init__(self) -> None:
        self.rows = []

    def show(self, rows):
        self.rows.append([len(its) for its in rows])


def go_on(program, folder, times=NEVER):
    """Trains until it is told to stop; where the networks stand at their end."""
    console = Console(program.config.num_epochs, program.steps_per_epoch)
    log, begun, saved = Shown(), [], []
    with trained(
        program,
        folder,
        stop=Told(times),
        log=log,
        console=console,
        clock=Clock(0.0),
        begin=lambda: begun.append(list(log.rows)),
        after=lambda at: saved.append(at.step),
    ) as at:
        pass
    assert [[len(rows) for rows in at.rows]] == log.rows[-1:]
    assert begun == [[]]  # once, before anything was shown
    return at


def prepared(count=0, config=BASE):
    """A program of so many networks; 0: the one of a run."""
    configs = [dataclasses.replace(config, seed=seed) for seed in range(count)]
    with on_devices(1):
        return prepare_many(configs) if count else prepare_one(config)


@pytest.fixture(scope="module", params=[0, 3], ids=["one", "population"])
def whole(request, tmp_path_factory):
    """A program, the folder of its checkpoints, and where it ends."""
    program = prepared(request.param)
    folder = tmp_path_factory.mktemp("whole")
    return program, folder, go_on(program, folder)


def state_at(program, folder, step):
    count = len(program.configs)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype), program.shapes
    )
    return checkpoint.load(folder, step, {**shapes, "best": shapes["average"]})


def test_the_best_weights_of_a_checkpoint_are_those_of_the_best_epoch(whole):
    program, folder, _ = whole
    assert checkpoints.steps(folder) == [20, 40, 60, 80, 100]
    not_the_last = 0
    for step in checkpoints.steps(folder):
        state, record = state_at(program, folder, step)
        for i, rows in enumerate(map(rows_of, record["rows"])):
            epoch = metrics.best_epoch(rows, "val_loss", metrics.LOSS)
            not_the_last += epoch < len(rows) - 1
            then, _ = state_at(program, folder, rows[epoch]["step"])
            kept, averaged = (
                jax.tree.map(lambda x, i=i: x[i], its) for its in (state["best"], then["average"])
            )
            assert_same_bits(kept, averaged)
    assert not_the_last > 0


@pytest.mark.parametrize("times", [2, 4, 9, 12], ids=lambda n: f"asked {n} times")
def test_it_ends_as_one_that_was_never_stopped(whole, tmp_path, times):
    program, folder, expected = whole
    with pytest.raises(StoppedError):
        go_on(program, tmp_path, times)
    (*_, stopped) = checkpoints.steps(tmp_path)
    assert 0 < stopped < 100
    at = go_on(program, tmp_path)
    assert at.status == expected.status
    assert [untimed(rows) for rows in at.rows] == [untimed(rows) for rows in expected.rows]
    members = program.layout.members
    assert_same_bits(members(at.state), members(expected.state))
    assert_same_bits(at.best, expected.best)
    ours, theirs = (state_at(program, its, 100)[0] for its in (tmp_path, folder))
    assert_same_bits(ours, theirs)


def test_it_goes_on_within_a_chunk_of_another_length(whole, tmp_path):
    """To the same bits, as where the number of devices changed."""
    program, _, expected = whole
    other = prepared(len(program.configs) if expected.state["step"].size > 1 else 0, SHORTER)
    with pytest.raises(StoppedError):
        go_on(other, tmp_path, 3)
    assert checkpoints.steps(tmp_path)[-1] % 10
    at = go_on(program, tmp_path)
    assert_same_bits(program.layout.members(at.state), program.layout.members(expected.state))
    assert_same_bits(at.best, expected.best)


def test_what_is_finished_is_not_trained_again(whole, capsys):
    program, folder, expected = whole
    before = checkpoints.steps(folder)
    at = go_on(program, folder)
    assert set(at.status) == {FINISHED}
    assert checkpoints.steps(folder) == before
    assert_same_bits(program.layout.members(at.state), program.layout.members(expected.state))


def of_epochs(program, num_epochs):
    """The program for as many epochs, not compiled anew."""
    configs = [dataclasses.replace(config, num_epochs=num_epochs) for config in program.configs]
    return dataclasses.replace(program, configs=tuple(configs))


def test_a_finished_run_goes_on_to_more_epochs(whole, tmp_path):
    program, _, expected = whole
    shorter = go_on(of_epochs(program, 2), tmp_path)
    assert (shorter.epochs, set(shorter.status)) == (2, {FINISHED})
    at = go_on(program, tmp_path)
    assert [untimed(rows) for rows in at.rows] == [untimed(rows) for rows in expected.rows]
    assert_same_bits(program.layout.members(at.state), program.layout.members(expected.state))
    assert_same_bits(at.best, expected.best)


def test_patience_goes_on_counting_after_a_restart(tmp_path):
    sgd = {"name": "sgd", "learning_rate": 0.0}
    config = parse(SMALL | {"num_epochs": 9, "patience": 2, "optimizer": sgd})
    program = prepared(0, config)
    with pytest.raises(StoppedError):
        go_on(program, tmp_path, 4)  # a chunk is an epoch: twice an epoch, and at the next start
    assert checkpoints.steps(tmp_path)[-1] < 60
    at = go_on(program, tmp_path)
    assert (at.epochs, at.status) == (3, [FINISHED])
    longer = of_epochs(program, 20)
    assert go_on(longer, tmp_path).epochs == 3  # it is out of patience, and stays so


def test_damage_takes_it_back_to_the_checkpoint_before(whole, tmp_path, capsys):
    program, _, expected = whole
    go_on(program, tmp_path)
    (tmp_path / "100" / "commit_success.txt").unlink()
    (tmp_path / "80" / "commit_success.txt").unlink()
    at = go_on(program, tmp_path)
    said = capsys.readouterr()
    assert said.err.count("set aside as") == 2
    assert "resuming from step 60 (epoch 3 done)" in said.out
    assert_same_bits(program.layout.members(at.state), program.layout.members(expected.state))
    assert_same_bits(at.best, expected.best)


def test_the_clock_goes_on(tmp_path):
    clock = Clock(0.0, earlier=1.0, compiling=2.0)
    clock.go_on({"total_seconds": 10.0, "compile_seconds": 5.0})
    assert clock.earlier == 11.0
    assert clock.record()["compile_seconds"] == 7.0


def test_being_told_to_stop_says_what_is_saved(tmp_path):
    def stopped():
        with opened(tmp_path, in_step=True):
            raise StoppedError

    with pytest.raises(StoppedError, match="nothing to save yet"):
        stopped()
    (tmp_path / "checkpoints" / "20").mkdir(parents=True)
    with pytest.raises(StoppedError, match=rf"progress is saved.*to continue in {tmp_path}"):
        stopped()


def test_a_checkpoint_holds_no_number_that_is_not_finite(tmp_path):
    """Of a member that diverges while another one goes on."""
    config = parse(SMALL | {"num_epochs": 1, "optimizer": {"name": "sgd", "learning_rate": 0.1}})
    bad = parse(config.to_dict() | {"optimizer": {"name": "sgd", "learning_rate": 1e30}})
    with on_devices(1):
        program = prepare_many([config, bad])
    at = go_on(program, tmp_path)
    assert at.diverged.tolist() == [False, True]
    arrays, record = checkpoint.read(tmp_path, 20, [*program.shapes, "best"])
    assert record["status"][1].startswith("diverged in epoch 1")
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert not any(array[1].any() for name, array in arrays.items() if name.startswith("params"))
    assert go_on(program, tmp_path).status == at.status
