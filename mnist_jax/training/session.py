"""Runs training in one process: restores the newest checkpoint, trains, and saves."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mnist_jax import processes
from mnist_jax.errors import StoppedError, UserError
from mnist_jax.lock import sole_writer
from mnist_jax.presence import listed
from mnist_jax.training import (
    checkpoint,
    conditions,
    contents,
    layout,
    memory,
    model_keywords,
    shared_folder,
)
from mnist_jax.training.checkpoint import Record
from mnist_jax.training.checkpoints import Checkpoints, newest_sound, put_aside, steps
from mnist_jax.training.clock import Clock
from mnist_jax.training.console import Console
from mnist_jax.training.logs import Log
from mnist_jax.training.loop import train
from mnist_jax.training.position import Position
from mnist_jax.training.preemption import Preemption
from mnist_jax.training.program import Program
from mnist_jax.training.row_texts import RowTexts
from mnist_jax.training.stop import Stop, StopSignal


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
            folders = [workdir, *listed(workdir / "populations")]
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
    at, found = _restore(program, folder, clock)
    begin()
    log.show(at.rows)
    texts = RowTexts(len(program.configs))
    here = conditions.added(conditions.history(found), at.step, conditions.now(program))
    same = {
        model_keywords.FIELD: [model_keywords.of(config) for config in program.configs],
        conditions.FIELD: here,
    }
    with Checkpoints(
        folder, keep_latest=program.config.keep_latest, together=program.layout.several
    ) as writer:

        def save(at: Position) -> None:
            log.show(at.rows)
            record = at.record() | {"rows": texts.of(at.rows), "clock": clock.record()} | same
            writer.save(contents.arrays(program, at), at.step, record)
            after(at)

        train(program, at, stop, save, console)
        yield at


def _restore(program: Program, folder: Path, clock: Clock) -> tuple[Position, Record | None]:
    """Returns the position in the newest sound checkpoint, with its record; or the start."""
    template = contents.template(program)
    if program.layout.several:
        found = _newest_for_all(folder, template)
    else:
        found = newest_sound(folder, template, set_aside=True)
    if found is None:
        before = time.perf_counter()
        start = program.start()
        clock.compiling += time.perf_counter() - before  # the draw itself is fast
        at, state = contents.first(program, start)
        if program.layout.several:
            _refuse_other_start(state)
        return at, None
    tree, record, step = found
    at = contents.position(program, tree, record, f"checkpoint {folder / str(step)}")
    clock.go_on(record["clock"])
    print(f"resuming from step {step} (epoch {at.epochs} done)", flush=True)
    before = time.perf_counter()
    program.make_ready(at.step - at.epochs * program.steps_per_epoch)
    clock.compiling += time.perf_counter() - before
    return at, record


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
    """Returns the newest sound checkpoint for all processes, which train one network.

    What is damaged in all of them is set aside.

    Raises:
      UserError: a checkpoint is damaged in some processes only, as where a shared folder does not
        show a new file at once. It is not renamed.
    """

    def newest() -> int | None:
        return max(steps(folder), default=None)

    while (step := processes.decided("the choice of a checkpoint", newest)) is not None:
        found, problems = _loaded_by_all(folder, step, template)
        if all(problems):  # once more, as one process does
            found, problems = _loaded_by_all(folder, step, template)
        if not any(problems):
            return found
        if not all(problems):
            raise UserError(_in_some(folder / str(step), problems))
        if processes.is_first():
            put_aside(folder, step, problems[0])
    return None


def _loaded_by_all(
    folder: Path, step: int, template: Any
) -> tuple[tuple[Any, Record, int] | None, list[str]]:
    """Loads a checkpoint in all processes; returns it, and how it is damaged in each of them.

    Each process loads equally often: orbax numbers its operations, and lets processes wait for each
    other under the same number.
    """
    found, problem = None, ""
    try:
        found = *checkpoint.load(folder, step, template, tries=1), step
    except checkpoint.DamagedError as error:
        problem = str(error)
    return found, processes.gather("the check of a checkpoint", problem)


def _in_some(path: Path, problems: Sequence[str]) -> str:
    """Returns the message about a checkpoint that is damaged in some processes only."""
    where = [str(i) for i, its in enumerate(problems) if its]
    return (
        f"checkpoint {path} is damaged in process {', '.join(where)} of {len(problems)}, but not "
        f"in the others: {next(filter(None, problems))}. It was not touched. Check that all "
        "processes see the same files, then run the same command again"
    )
