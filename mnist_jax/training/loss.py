"""What training minimises, and the probabilities that go with it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mnist_jax import binding

Loss = Callable[..., jax.Array]  # (outputs, targets, *, output_activation) -> losses
EPSILON = 1e-7  # Keras' own


def cross_entropy(outputs: jax.Array, targets: jax.Array, *, output_activation: str) -> jax.Array:
    """Keras' categorical cross-entropy (https://keras.io/api/losses/probabilistic_losses).

    Args:
      outputs: `[B, K]` as the network gives them: logits where `output_activation` is softmax.
      targets: `[B, K]` probabilities: one-hot labels, smoothed or not.
      output_activation: of the network.

    Returns:
      `[B]` losses in nats.
    """
    if output_activation == "softmax":
        log_probabilities = jax.nn.log_softmax(outputs)
    else:
        log_probabilities = jnp.log(_normalised(outputs))
    return -(targets * log_probabilities).sum(axis=-1)


def probabilities(outputs: jax.Array, *, output_activation: str) -> jax.Array:
    """`[B, K]` probabilities, rows of sum 1, from the network's outputs.

    Outputs that are no probabilities (a linear or tanh output, say) are clipped as the loss clips
    them; a row with nothing left is uniform.
    """
    if output_activation == "softmax":
        return jax.nn.softmax(outputs)
    p = _normalised(outputs)
    return p / p.sum(axis=-1, keepdims=True)


def _normalised(outputs: jax.Array) -> jax.Array:
    """Rows divided by their sum, then clipped, as Keras does; a row of sum 0 becomes uniform."""
    total = outputs.sum(axis=-1, keepdims=True)
    p = outputs / jnp.where(total == 0.0, 1.0, total)
    return jnp.clip(p, EPSILON, 1.0 - EPSILON)


def smooth_labels(labels: jax.Array, classes: int, smoothing: float) -> jax.Array:
    """`[B]` integer labels to `[B, K]` targets (Szegedy et al., 2016, section 7)."""
    one_hot = jax.nn.one_hot(labels, classes)
    return one_hot * (1.0 - smoothing) + smoothing / classes


LOSSES = {"cross_entropy": cross_entropy}


def find_loss(name: str) -> Loss:
    """`cross_entropy`, or the user's own `package.module:function` of the same signature."""
    return binding.find(name, LOSSES, "config.loss")
