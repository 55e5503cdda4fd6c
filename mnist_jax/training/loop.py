"""Training: from where a run stands to the end of its last epoch."""

import time
from collections.abc import Callable

from mnist_jax.training.epoch import end_epoch, refuse_non_finite
from mnist_jax.training.history import Row
from mnist_jax.training.position import Position, finished, steps_done
from mnist_jax.training.progress import Progress
from mnist_jax.training.run import Run
from mnist_jax.training.stop import StoppedError, StopSignal

Save = Callable[[Position, Row | None], None]


def train(run: Run, at: Position, stop: StopSignal, save: Save) -> None:
    """Trains `at`, in place, until the last epoch or until patience is exhausted.

    Args:
      run: the run made ready.
      at: where it stands.
      stop: asked after each chunk of steps.
      save: keeps `at`; is given the row of the epoch that has just ended, if one has.

    Raises:
      StoppedError: `stop` was requested; everything is saved.
      UserError: a loss or a gradient was not finite; nothing of it was saved.
    """
    progress = Progress(run.config.num_epochs, run.feed.steps_per_epoch)
    while not finished(run, at):
        if stop.requested:
            raise StoppedError
        train_epoch(run, at, stop, progress)
        row = None
        if steps_done(run, at) == run.feed.steps_per_epoch:
            row = end_epoch(run, at)
            progress.end_epoch(row)
        save(at, row)


def train_epoch(run: Run, at: Position, stop: StopSignal, progress: Progress) -> None:
    """The chunks of an epoch that are left; ends early where the run is told to stop."""
    progress.start_epoch(len(at.rows), steps_done(run, at))
    before = time.perf_counter()
    for chunk in run.feed.chunks(len(at.rows), steps_done(run, at)):
        at.state = run.advance(at.state, chunk)
        at.seconds += time.perf_counter() - before
        before = time.perf_counter()
        refuse_non_finite(at)
        progress.update(chunk.stop - chunk.start)
        if stop.requested:
            break
    progress.clear()
