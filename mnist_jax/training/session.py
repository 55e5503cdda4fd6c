"""Runs training in one process: restores the newest checkpoint, trains, and saves."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mnist_jax import processes
from mnist_jax.errors import StoppedError, UserError
from mnist_jax.lock import sole_writer
from mnist_jax.members import DIVERGED, FINISHED
from mnist_jax.training import checkpoint, layout, memory, model_keywords, shared_folder
from mnist_jax.training.checkpoint import Record
from mnist_jax.training.checkpoints import Checkpoints, newest_sound, steps
from mnist_jax.training.clock import Clock
from mnist_jax.training.console import Console
from mnist_jax.training.epoch import out_of_patience
from mnist_jax.training.logs import Log
from mnist_jax.training.loop import train
from mnist_jax.training.position import TRAINING, Position
from mnist_jax.training.preemption import Preemption
from mnist_jax.training.program import Program
from mnist_jax.training.row_texts import RowTexts, rows_of
from mnist_jax.training.state import evaluation_weights
from mnist_jax.training.stop import Stop, StopSignal
from mnist_jax.training.warm_start import warm_start


@contextlib.contextmanager
def opened(workdir: Path, *, in_step: bool) -> Iterator[Stop]:
    """Holds the lock of a folder and catches stop signals, as a context manager.

    Of several processes of a run, the first one holds the lock.

    Args:
      workdir: the folder of the run or the sweep.
      in_step: True if several processes train one network; False if each trains its own.

    Raises:
      UserError: another process holds the lock, the folder cannot be written or is not the same in
        all processes of the run, or the memory does not suffice.
      StoppedError: raised inside the context; its message now says what is saved.
    """
    lock = sole_writer(workdir) if processes.is_first() else contextlib.nullcontext()
    several = processes.count() > 1
    signals = Preemption(in_step=in_step) if several else StopSignal()
    with lock, signals as stop, memory.explained():
        if several:
            shared_folder.refuse_unshared(workdir)
            if in_step:
                layout.refuse_unreachable()
        try:
            yield stop
        except StoppedError as stopped:
            folders = [workdir, *workdir.glob("populations/*")]
            there = any(steps(folder / "checkpoints") for folder in folders)
            saved = "progress is saved" if there else "there is nothing to save yet"
            raise StoppedError(
                f"stopped on request; {saved}. Run the same command again to continue in {workdir}"
            ) from stopped


@contextlib.contextmanager
def trained(
    program: Program,
    folder: Path,
    *,
    stop: Stop,
    log: Log,
    console: Console,
    clock: Clock,
    begin: Callable[[], None],
    after: Callable[[Position], None],
) -> Iterator[Position]:
    """Trains M networks to their end, resuming from the checkpoints in `folder`.

    A context manager: inside the context, training is complete, but the last checkpoint may not be
    on disk yet. On exit, it is.

    Args:
      program: the compiled networks.
      folder: of the checkpoints.
      stop: checked after each chunk of steps.
      log: receives all rows, before the checkpoint that holds them is written.
      console: shows the current epoch.
      clock: continues with the times in the checkpoint.
      begin: called after the checkpoint is read, before anything is written.
      after: called after each checkpoint.

    Yields:
      The position at the end of training.

    Raises:
      StoppedError: `stop` was requested; all progress is saved.
      UserError: a checkpoint could not be read or written.
    """
    at = _restore(program, folder, clock)
    begin()
    log.show(at.rows)
    texts = RowTexts(len(program.configs))
    models = [model_keywords.of(config) for config in program.configs]
    with Checkpoints(
        folder, keep_latest=program.config.keep_latest, together=program.layout.several
    ) as writer:

        def save(at: Position) -> None:
            log.show(at.rows)
            state = {**program.layout.members(at.state), "best": at.best}
            others = {"clock": clock.record(), model_keywords.FIELD: models}
            writer.save(state, at.step, at.record() | {"rows": texts.of(at.rows)} | others)
            after(at)

        train(program, at, stop, save, console)
        yield at


def _restore(program: Program, folder: Path, clock: Clock) -> Position:
    """Returns the position in the newest sound checkpoint, or the start if there is none."""
    count = len(program.configs)
    template = _templates(program)
    if program.layout.several:
        found = _newest_for_all(folder, template)
    else:
        found = newest_sound(folder, template, set_aside=True)
    if found is None:
        before = time.perf_counter()
        start = program.start()
        clock.compiling += time.perf_counter() - before  # the draw itself is fast
        state = warm_start(program.layout.members(start), program.config)
        best = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template["best"])
        status, rows = [TRAINING] * count, [[] for _ in range(count)]
        if program.layout.several:
            _refuse_other_start(state)
        return Position(program.layout.place(state), best, rows, status)
    tree, record, step = found
    for i, config in enumerate(program.configs):
        place = f"checkpoint {folder / str(step)}"
        model_keywords.refuse_other(place, record, i, config)
        if not record["status"][i].startswith(DIVERGED):  # else its state is that of another one
            model_keywords.refuse_other_seed(place, tree["key"][i], config)
    record.pop(model_keywords.FIELD, None)
    clock.go_on(record.pop("clock"))
    best = tree.pop("best")
    rows = [rows_of(text) for text in record.pop("rows")]
    at = Position(program.layout.place(tree), best, rows, **record)
    print(f"resuming from step {step} (epoch {at.epochs} done)", flush=True)
    before = time.perf_counter()
    program.make_ready(at.step - at.epochs * program.steps_per_epoch)
    clock.compiling += time.perf_counter() - before
    for i, rows in enumerate(at.rows):  # a finished network continues if more epochs are configured
        longer = at.epochs < program.config.num_epochs and not out_of_patience(program, rows)
        if at.status[i] == FINISHED and longer:
            at.status[i] = TRAINING
    return at


def _refuse_other_start(state: Any) -> None:
    """Raises UserError unless all processes start from the same arrays, as from `init_from`."""
    arrays = checkpoint.flatten(state)
    digests = [checkpoint.digests(array) for array in arrays.values()]
    own = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    if len(set(processes.gather("the start", own))) > 1:
        raise UserError(
            "the processes do not start from the same weights: config.init_from must name a "
            "finished run in a folder that all of them share"
        )


def _newest_for_all(folder: Path, template: Any) -> tuple[Any, Record, int] | None:
    """Returns `newest_sound`, chosen by the first of several processes, which train one network."""
    found = newest_sound(folder, template, set_aside=True) if processes.is_first() else None
    step = processes.decided("the choice of a checkpoint", lambda: found and found[2])
    if step is None or found is not None:
        return found
    try:
        return *checkpoint.load(folder, step, template), step
    except checkpoint.DamagedError as error:
        raise UserError(
            f"checkpoint {folder / str(step)} is sound in process 0, but not in this one: {error}"
        ) from error


def _templates(program: Program) -> dict[str, Any]:
    """Returns the shapes `[M, ...]` of the arrays in a checkpoint."""
    count = len(program.configs)

    def of_members(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype)

    state: Any = jax.tree.map(of_members, program.shapes)
    ranked = program.validate is not None
    return {**state, "best": evaluation_weights(state) if ranked else {}}
