"""Converts images from bytes to the floats that the networks take."""

import jax
import jax.numpy as jnp
from jax import lax


def rescale(images: jax.Array) -> jax.Array:
    """Converts images `[B, ...]` from bytes to float32 in [0, 1], in the same shape.

    The images are flattened for the conversion, and a barrier stops XLA from undoing that, because
    XLA:CPU vectorises along long rows, but converts images with short axes almost pixel by pixel.
    """
    flat = images.reshape(len(images), -1).astype(jnp.float32) / 255.0
    return lax.optimization_barrier(flat).reshape(images.shape)
