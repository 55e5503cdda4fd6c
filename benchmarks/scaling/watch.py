"""The seconds of a step of one network, or of many that are trained together."""

import math
import time

import numpy as np

from mnist_jax.config import Config, parse
from mnist_jax.training import population, run
from mnist_jax.training.state import copied


class Network:
    """One network, trained a chunk of steps a call."""

    def __init__(self, config: Config) -> None:
        self._run = run.prepare(config)
        self._chunk = next(iter(self._run.feed.chunks(epoch=0)))
        self._state = self._run.place(copied(self._run.initial))
        self.steps = self._chunk.stop - self._chunk.start
        self.images = config.batch_size

    def advance(self) -> None:
        """A chunk of steps; returns when they are done."""
        self._state = self._run.advance(self._state, self._chunk)


class Members:
    """Networks that differ in their seed alone, trained together as `sweep` does."""

    def __init__(self, config: Config, count: int) -> None:
        configs = [parse(config.to_dict() | {"seed": seed}) for seed in range(count)]
        self._population = population.prepare(configs)
        self._chunk = next(self._population.chunks(0, 0))
        self._states = copied(self._population.initial)
        self._active = np.ones(count, np.bool_)
        self.steps = self._chunk.stop - self._chunk.start
        self.images = config.batch_size * count

    def advance(self) -> None:
        """A chunk of steps of all members."""
        self._states = self._population.advance(self._states, self._chunk, self._active)


class Stopwatch:
    """Seconds a step of what `advance` trains, over as many calls as make a repeat long enough."""

    def __init__(self, trained: Network | Members, at_least: float) -> None:
        trained.advance()  # the first call pays for what later ones do not
        started = time.perf_counter()
        trained.advance()
        self._calls = math.ceil(at_least / (time.perf_counter() - started))
        self._trained = trained
        self.images = trained.images

    def seconds(self) -> float:
        """Of a step, in one more repeat."""
        started = time.perf_counter()
        for _ in range(self._calls):
            self._trained.advance()
        return (time.perf_counter() - started) / (self._calls * self._trained.steps)
