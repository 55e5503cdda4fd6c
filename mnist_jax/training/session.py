"""One process' share of a training: taken up where it stands, trained, kept."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mnist_jax.lock import sole_writer
from mnist_jax.members import FINISHED
from mnist_jax.training.checkpoint import Checkpoints, newest_sound, steps
from mnist_jax.training.console import Console
from mnist_jax.training.epoch import out_of_patience
from mnist_jax.training.logs import Log
from mnist_jax.training.loop import train
from mnist_jax.training.position import TRAINING, Position
from mnist_jax.training.program import Program
from mnist_jax.training.state import evaluation_weights
from mnist_jax.training.stop import StoppedError, StopSignal
from mnist_jax.training.warm_start import warm_start


@dataclass
class Clock:
    """Seconds over all the processes that a training takes."""

    started: float  # of this process' share, by `time.perf_counter`
    earlier: float = 0.0  # of the processes before
    compiling: float = 0.0  # of all processes

    def record(self) -> dict[str, float]:
        """What a checkpoint keeps, and `result.json` tells."""
        total = self.earlier + time.perf_counter() - self.started
        return {"compile_seconds": self.compiling, "total_seconds": total}

    def go_on(self, record: dict[str, float]) -> None:
        """Adds what earlier processes took."""
        self.earlier += record["total_seconds"]
        self.compiling += record["compile_seconds"]


@contextlib.contextmanager
def opened(workdir: Path) -> Iterator[StopSignal]:
    """Holds the lock of a folder, and notes that the process is told to stop.

    Raises:
      UserError: another process writes there, or nobody can.
      StoppedError: as it was raised inside, with a text that says what is saved.
    """
    with sole_writer(workdir), StopSignal() as stop:
        try:
            yield stop
        except StoppedError as stopped:
            there = any(steps(folder) for folder in workdir.rglob("checkpoints"))
            saved = "what is done is saved" if there else "there is nothing to save yet"
            raise StoppedError(
                f"told to stop; {saved}. The same command goes on from here: {workdir}"
            ) from stopped


@contextlib.contextmanager
def trained(
    program: Program,
    folder: Path,
    *,
    stop: StopSignal,
    log: Log,
    console: Console,
    clock: Clock,
    begin: Callable[[], None],
    after: Callable[[Position], None],
) -> Iterator[Position]:
    """Trains what is left of the M networks whose checkpoints are in `folder`.

    A context: inside it the networks are at their end, while the last checkpoint may not yet be on
    disk; after it, it is.

    Args:
      program: made ready.
      folder: of the checkpoints.
      stop: asked after each chunk of steps.
      log: is shown all rows, before the checkpoint that holds them is written.
      console: shows the epoch under way.
      clock: goes on from where the checkpoint was written.
      begin: is called once it is known where they stand, before anything is written.
      after: is called after each checkpoint.

    Yields:
      Where they stand at their end.

    Raises:
      StoppedError: `stop` was requested; everything is saved.
      UserError: a checkpoint could not be read or written.
    """
    at = _restore(program, folder, clock)
    begin()
    log.show(at.rows)
    with Checkpoints(folder, keep_latest=program.config.keep_latest) as writer:

        def save(at: Position) -> None:
            log.show(at.rows)
            state = {**program.layout.members(at.state), "best": at.best}
            writer.save(state, at.step, at.record() | {"clock": clock.record()})
            after(at)

        train(program, at, stop, save, console)
        yield at


def _restore(program: Program, folder: Path, clock: Clock) -> Position:
    """From the newest sound checkpoint, or else from the start."""
    count = len(program.configs)
    template = _templates(program)
    found = newest_sound(folder, template, set_aside=True)
    if found is None:
        before = time.perf_counter()
        start = program.start()
        clock.compiling += time.perf_counter() - before  # drawing the weights takes no time
        state = warm_start(program.layout.members(start), program.config)
        best = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template["best"])
        status, rows = [TRAINING] * count, [[] for _ in range(count)]
        return Position(program.layout.place(state), best, rows, status)
    tree, record, step = found
    clock.go_on(record.pop("clock"))
    best = tree.pop("best")
    at = Position(program.layout.place(tree), best, **record)
    print(f"going on from step {step} (epoch {at.epochs} done)", flush=True)
    for i, rows in enumerate(at.rows):  # a finished run goes on where more epochs are asked for
        longer = at.epochs < program.config.num_epochs and not out_of_patience(program, rows)
        if at.status[i] == FINISHED and longer:
            at.status[i] = TRAINING
    return at


def _templates(program: Program) -> dict[str, Any]:
    """The shapes of a checkpoint, `[M, ...]`."""
    count = len(program.configs)

    def of_members(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype)

    state: Any = jax.tree.map(of_members, program.shapes)
    ranked = program.validate is not None
    return {**state, "best": evaluation_weights(state) if ranked else {}}
