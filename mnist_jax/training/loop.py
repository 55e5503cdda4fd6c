"""The training loop: trains M >= 1 networks from their current position to their end."""

import time
from collections.abc import Callable

from mnist_jax.errors import StoppedError
from mnist_jax.training.console import Console
from mnist_jax.training.epoch import end_epoch, take_out_diverged
from mnist_jax.training.position import Position
from mnist_jax.training.program import Program
from mnist_jax.training.stop import Stop

Save = Callable[[Position], None]


def train(
    program: Program,
    at: Position,
    stop: Stop,
    save: Save,
    console: Console,
    until: int | None = None,
) -> None:
    """Trains networks until each is finished, out of patience or diverged; updates `at` in place.

    Args:
      program: the compiled networks.
      at: the networks' current position.
      stop: checked after each chunk of steps.
      save: saves `at`; called after each epoch and after a stop signal, unless every network has
        diverged, so that there is never a checkpoint without weights.
      console: shows the current epoch.
      until: the step at which to end earlier, if given; the chunks must be compiled for it.

    Raises:
      StoppedError: `stop` was requested; all progress is saved.
    """
    while at.training.any() and (until is None or at.step < until):
        if stop.requested:
            raise StoppedError
        train_epoch(program, at, stop, console, until)
        if at.step == (at.epochs + 1) * program.steps_per_epoch and at.training.any():
            end_epoch(program, at)
        if not at.diverged.all():
            save(at)


def train_epoch(
    program: Program, at: Position, stop: Stop, console: Console, until: int | None = None
) -> None:
    """Trains the remaining chunks of the current epoch, up to the step `until` if that is in it.

    Returns early after a stop signal.
    """
    start = at.epochs * program.steps_per_epoch
    done = at.step - start
    end = None if until is None else min(until - start, program.steps_per_epoch)
    console.start_epoch(at.epochs, done)
    before = time.perf_counter()
    for chunk in program.feed.chunks(at.epochs, done, end):
        steps = chunk.stop - chunk.start
        at.state = program.advance(at.state, chunk, at.training)
        at.step += steps
        at.seconds += time.perf_counter() - before
        before = time.perf_counter()
        take_out_diverged(program, at, steps)
        console.update(steps)
        stop.poll()
        if stop.requested or not at.training.any():
            break
    console.clear()
