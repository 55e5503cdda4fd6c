"""From bytes to what the networks see."""

import jax
import jax.numpy as jnp
from jax import lax


def scale(images: jax.Array) -> jax.Array:
    """Bytes `[B, ...]` as floats from 0 to 1.

    Flat, and behind a barrier that keeps it so: XLA:CPU turns long rows into vectors of floats in a
    fifth of the time that it takes for images, whose last axes are short.
    """
    flat = images.reshape(len(images), -1).astype(jnp.float32) / 255.0
    return lax.optimization_barrier(flat).reshape(images.shape)
