"""Training of a population: from where it stands to the end of every member."""

import time
from collections.abc import Callable

from mnist_jax.training.population import Population
from mnist_jax.training.progress import Progress
from mnist_jax.training.standing import Standing, end_epoch, note_divergence
from mnist_jax.training.stop import StoppedError, StopSignal

Save = Callable[[Standing], None]


def train_together(
    population: Population, at: Standing, stop: StopSignal, save: Save, progress: Progress
) -> None:
    """Trains `at`, in place, until no member is left that trains.

    Args:
      population: made ready.
      at: where it stands.
      stop: asked after each chunk of steps.
      save: keeps `at`, after each epoch and where the run is told to stop.
      progress: shows the epoch under way.

    Raises:
      StoppedError: `stop` was requested; everything is saved.
    """
    while at.active.any():
        if stop.requested:
            raise StoppedError
        train_epoch(population, at, stop, progress)
        if at.step == (at.epochs + 1) * population.steps_per_epoch:
            end_epoch(population, at)
        save(at)


def train_epoch(population: Population, at: Standing, stop: StopSignal, progress: Progress) -> None:
    """The chunks of an epoch that are left; ends early where the run is told to stop."""
    done = at.step - at.epochs * population.steps_per_epoch
    progress.start_epoch(at.epochs, done)
    before = time.perf_counter()
    for chunk in population.chunks(at.epochs, done):
        at.states = population.advance(at.states, chunk, at.active)
        at.step += chunk.stop - chunk.start
        at.seconds += time.perf_counter() - before
        before = time.perf_counter()
        note_divergence(population, at)
        progress.update(chunk.stop - chunk.start)
        if stop.requested or not at.active.any():
            break
    progress.clear()
