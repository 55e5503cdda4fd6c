"""The matrix-product limit: a large float32 product, again and again."""

from typing import Any

import jax
import jax.numpy as jnp

ON_CPU, ON_ACCELERATOR = (2048, 10), (8192, 100)  # size, and products at a time


class Product:
    """Its epoch is some products of two square matrices, one after the other."""

    def __init__(self) -> None:
        size, self._count = ON_CPU if jax.default_backend() == "cpu" else ON_ACCELERATOR
        keys = jax.random.split(jax.random.key(0))
        self._x, self._y = (jax.random.normal(key, (size, size), jnp.float32) for key in keys)
        self._multiply = jax.jit(jnp.matmul)
        self.facts: dict[str, Any] = {"flops": 2 * size**3 * self._count}

    def epoch(self) -> None:
        """All the products."""
        for _ in range(self._count):
            jax.block_until_ready(self._multiply(self._x, self._y))

    def accuracy(self) -> float:
        """There is nothing to classify."""
        raise NotImplementedError


def build() -> Product:
    """The trainer."""
    return Product()
