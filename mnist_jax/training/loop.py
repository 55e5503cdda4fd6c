"""The training loop: from where M >= 1 networks stand to the end of the last one's last epoch."""

import time
from collections.abc import Callable

from mnist_jax.training.console import Console
from mnist_jax.training.epoch import end_epoch, take_out_diverged
from mnist_jax.training.position import Position
from mnist_jax.training.program import Program
from mnist_jax.training.stop import StoppedError, StopSignal

Save = Callable[[Position], None]


def train(program: Program, at: Position, stop: StopSignal, save: Save, console: Console) -> None:
    """Trains the networks, in place, until each is at its end, out of patience, or has diverged.

    Args:
      program: made ready.
      at: where the networks stand.
      stop: asked after each chunk of steps.
      save: keeps `at`, after each epoch and where the run is told to stop; it is not called where
        every network has diverged, so that there is never a checkpoint of nothing.
      console: shows the epoch under way.

    Raises:
      StoppedError: `stop` was requested; everything is saved.
    """
    while at.training.any():
        if stop.requested:
            raise StoppedError
        train_epoch(program, at, stop, console)
        if at.step == (at.epochs + 1) * program.steps_per_epoch and at.training.any():
            end_epoch(program, at)
        if not at.diverged.all():
            save(at)


def train_epoch(program: Program, at: Position, stop: StopSignal, console: Console) -> None:
    """Trains the chunks of an epoch that are left; ends early where the run is told to stop."""
    done = at.step - at.epochs * program.steps_per_epoch
    console.start_epoch(at.epochs, done)
    before = time.perf_counter()
    for chunk in program.feed.chunks(at.epochs, done):
        before += program.make_ready(chunk)
        at.state = program.advance(at.state, chunk, at.training)
        at.step += chunk.stop - chunk.start
        at.seconds += time.perf_counter() - before
        before = time.perf_counter()
        take_out_diverged(program, at)
        console.update(chunk.stop - chunk.start)
        if stop.requested or not at.training.any():
            break
    console.clear()
