"""The seconds of a step of one network, or of many that are trained together."""

import math
import time

import numpy as np

from mnist_jax.training.program import Program


class Stopwatch:
    """Seconds per step of a program, over as many calls of it as make a repeat long enough."""

    def __init__(self, program: Program, at_least: float) -> None:
        self._program = program
        self._chunk = next(iter(program.feed.chunks(epoch=0)))
        self._active = np.ones(len(program.configs), np.bool_)
        self._state = program.start()
        self.images = program.config.batch_size * len(program.configs)  # of a step
        self._advance()  # the first call pays for what later ones do not
        started = time.perf_counter()
        self._advance()
        self._calls = math.ceil(at_least / (time.perf_counter() - started))

    def seconds(self) -> float:
        """Of a step, in one more repeat."""
        started = time.perf_counter()
        for _ in range(self._calls):
            self._advance()
        steps = self._calls * (self._chunk.stop - self._chunk.start)
        return (time.perf_counter() - started) / steps

    def _advance(self) -> None:
        """Trains a chunk of steps; returns when they are done."""
        self._state = self._program.advance(self._state, self._chunk, self._active)
