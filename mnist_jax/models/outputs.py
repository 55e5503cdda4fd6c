"""Converts the outputs of a network to probabilities."""

import jax
import jax.numpy as jnp

EPSILON = 1e-7  # the value that Keras uses


def probabilities(outputs: jax.Array, *, output_activation: str) -> jax.Array:
    """Converts the network's outputs to `[B, K]` probabilities, whose rows sum to 1.

    Unless the output activation is softmax, the outputs are normalised and clipped as in the loss
    (`normalised`), because outputs of, say, a linear or tanh layer are not probabilities.
    """
    if output_activation == "softmax":
        return jax.nn.softmax(outputs)
    p = normalised(outputs)
    return p / p.sum(axis=-1, keepdims=True)


def normalised(outputs: jax.Array) -> jax.Array:
    """Divides rows by their sum, then clips them to [EPSILON, 1 - EPSILON], as Keras does.

    A row that sums to 0 is clipped without being divided, so a row of zeros becomes uniform.
    """
    total = outputs.sum(axis=-1, keepdims=True)
    p = outputs / jnp.where(total == 0.0, 1.0, total)
    return jnp.clip(p, EPSILON, 1.0 - EPSILON)
