"""Probabilities from what a network gives."""

import jax
import jax.numpy as jnp

EPSILON = 1e-7  # Keras' own


def probabilities(outputs: jax.Array, *, output_activation: str) -> jax.Array:
    """`[B, K]` probabilities, rows of sum 1, from the network's outputs.

    Outputs that are no probabilities (a linear or tanh output, say) are clipped as the loss clips
    them; a row with nothing left is uniform.
    """
    if output_activation == "softmax":
        return jax.nn.softmax(outputs)
    p = normalised(outputs)
    return p / p.sum(axis=-1, keepdims=True)


def normalised(outputs: jax.Array) -> jax.Array:
    """Rows divided by their sum, then clipped, as Keras does; a row of sum 0 becomes uniform."""
    total = outputs.sum(axis=-1, keepdims=True)
    p = outputs / jnp.where(total == 0.0, 1.0, total)
    return jnp.clip(p, EPSILON, 1.0 - EPSILON)
