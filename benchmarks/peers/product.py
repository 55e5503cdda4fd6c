"""Measures the matrix-product limit by multiplying large float32 matrices repeatedly."""

from typing import Any

import jax
import jax.numpy as jnp

ON_CPU, ON_ACCELERATOR = (2048, 10), (8192, 100)  # size of the matrices, products per epoch


class Product:
    """A trainer whose epoch is a number of products of two square matrices, in sequence."""

    def __init__(self) -> None:
        size, self._count = ON_CPU if jax.default_backend() == "cpu" else ON_ACCELERATOR
        keys = jax.random.split(jax.random.key(0))
        self._x, self._y = (jax.random.normal(key, (size, size), jnp.float32) for key in keys)
        self._multiply = jax.jit(jnp.matmul)
        self.facts: dict[str, Any] = {"flops": 2 * size**3 * self._count}

    def epoch(self) -> None:
        """Computes all products, one after the other."""
        for _ in range(self._count):
            jax.block_until_ready(self._multiply(self._x, self._y))

    def accuracy(self) -> float:
        """Raises NotImplementedError, because there is nothing to classify."""
        raise NotImplementedError


def build() -> Product:
    """Builds the trainer."""
    return Product()
