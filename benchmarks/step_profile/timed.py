"""Compiled programs, timed in turn."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

REPEATS = 5


class Timed:
    """A compiled program of some steps, called again and again."""

    def __init__(self, program: Callable[..., Any], steps: int, *arguments: Any) -> None:
        self._compiled = jax.jit(program).lower(*arguments).compile()
        self._arguments = arguments
        self._steps = steps
        self._calls = 1

    def warm(self, at_least: float) -> None:
        """Decides how many calls a repeat has, from the second call."""
        self.seconds()
        self._calls = math.ceil(at_least / (self.seconds() * self._steps))

    def seconds(self) -> float:
        """Of a step, in one more repeat."""
        started = time.perf_counter()
        for _ in range(self._calls):
            jax.block_until_ready(self._compiled(*self._arguments))
        return (time.perf_counter() - started) / (self._calls * self._steps)

    def text(self) -> str:
        """The program as XLA optimized it."""
        return self._compiled.as_text() or ""


def time_in_turn(programs: Sequence[Timed], at_least: float) -> list[list[float]]:
    """Seconds a step of each program, one a repeat; a repeat takes `at_least` so many seconds."""
    for program in programs:
        program.warm(at_least)
    rounds = [[program.seconds() for program in programs] for _ in range(REPEATS)]
    return [list(column) for column in zip(*rounds, strict=True)]


def again_and_again(function: Callable[..., Any], steps: int) -> Callable[..., Any]:
    """A program that calls `function`, which takes and gives floats, `steps` times.

    The compiler must not do it once and for all: the loop carries what it gives, and what goes in
    is nudged by that, one number of each array.
    """

    def program(*inputs: Any) -> Any:
        def body(carried: Any, _: None) -> tuple[Any, None]:
            inputs, results = carried
            by = sum(leaf.ravel()[0].astype(jnp.float32) for leaf in jax.tree.leaves(results))
            inputs = jax.tree.map(lambda x: _nudged(x, 1e-30 * jnp.asarray(by)), inputs)
            return (inputs, function(*inputs)), None

        return lax.scan(body, (inputs, zeros(function, *inputs)), length=steps)[0]

    return program


def _nudged(x: jax.Array, by: jax.Array) -> jax.Array:
    """In place, where the loop allows it."""
    first = x[(slice(0, 1),) * x.ndim]
    return lax.dynamic_update_slice(x, first + by.astype(x.dtype), (0,) * x.ndim)


def zeros(function: Callable[..., Any], *inputs: Any) -> Any:
    """In the shapes of what `function` gives."""
    shapes = jax.eval_shape(function, *inputs)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
