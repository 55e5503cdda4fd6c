"""Measures the time per step of one network, or of several that are trained together."""

import math
import time

import numpy as np

from mnist_jax.training.program import Program


class Stopwatch:
    """Measures the seconds per step of a program; a repeat takes at least `at_least` seconds."""

    def __init__(self, program: Program, at_least: float) -> None:
        self._program = program
        self._chunk = next(iter(program.feed.chunks(epoch=0)))
        self._active = np.ones(len(program.configs), np.bool_)
        self._state = program.start()
        self.images = program.config.batch_size * len(program.configs)  # per step
        self._advance()  # the first call includes work that later calls do not repeat
        started = time.perf_counter()
        self._advance()
        self._calls = math.ceil(at_least / (time.perf_counter() - started))

    def seconds(self) -> float:
        """Measures one more repeat and returns its seconds per step."""
        started = time.perf_counter()
        for _ in range(self._calls):
            self._advance()
        steps = self._calls * (self._chunk.stop - self._chunk.start)
        return (time.perf_counter() - started) / steps

    def _advance(self) -> None:
        """Trains a chunk of steps, and returns when the device is done."""
        self._state = self._program.advance(self._state, self._chunk, self._active)
