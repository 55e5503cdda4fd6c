"""Times compiled programs in turn."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

REPEATS = 5


class Timed:
    """A compiled program of several steps, which is called repeatedly to time it."""

    def __init__(self, program: Callable[..., Any], steps: int, *arguments: Any) -> None:
        self._compiled = jax.jit(program).lower(*arguments).compile()
        self._arguments = arguments
        self._steps = steps
        self._calls = 1

    def warm(self, at_least: float) -> None:
        """Sets the number of calls per repeat, so that a repeat takes `at_least` seconds.

        The time of the second call decides, because the first may be slower.
        """
        self.seconds()
        self._calls = math.ceil(at_least / (self.seconds() * self._steps))

    def seconds(self) -> float:
        """Measures one more repeat and returns its seconds per step."""
        started = time.perf_counter()
        for _ in range(self._calls):
            jax.block_until_ready(self._compiled(*self._arguments))
        return (time.perf_counter() - started) / (self._calls * self._steps)

    def text(self) -> str:
        """Returns the optimized HLO of the program."""
        return self._compiled.as_text() or ""


def time_in_turn(programs: Sequence[Timed], at_least: float) -> list[list[float]]:
    """Times the programs in turn, in repeats of at least `at_least` seconds.

    Returns:
      For each program, the seconds per step in each repeat.
    """
    for program in programs:
        program.warm(at_least)
    rounds = [[program.seconds() for program in programs] for _ in range(REPEATS)]
    return [list(column) for column in zip(*rounds, strict=True)]


def again_and_again(function: Callable[..., Any], steps: int) -> Callable[..., Any]:
    """Returns a program that calls `function`, from floats to floats, `steps` times in a loop.

    To stop the compiler from moving the call out of the loop, each iteration changes one element
    of each input very slightly, depending on the results of the iteration before.
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
    """Adds `by` to the first element of `x`, in place if the compiler can."""
    first = x[(slice(0, 1),) * x.ndim]
    return lax.dynamic_update_slice(x, first + by.astype(x.dtype), (0,) * x.ndim)


def zeros(function: Callable[..., Any], *inputs: Any) -> Any:
    """Returns zeros in the shapes and dtypes of the results of `function`."""
    shapes = jax.eval_shape(function, *inputs)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
