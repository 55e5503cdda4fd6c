"""The loss that training minimises."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mnist_jax import binding
from mnist_jax.models.outputs import normalised

Loss = Callable[..., jax.Array]  # (outputs, targets, *, output_activation) -> losses


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
        log_probabilities = jnp.log(normalised(outputs))
    return -(targets * log_probabilities).sum(axis=-1)


def smooth_labels(labels: jax.Array, classes: int, smoothing: float) -> jax.Array:
    """`[B]` integer labels to `[B, K]` targets (Szegedy et al., 2016, section 7)."""
    one_hot = jax.nn.one_hot(labels, classes)
    return one_hot * (1.0 - smoothing) + smoothing / classes


LOSSES = {"cross_entropy": cross_entropy}


def find_loss(name: str) -> Loss:
    """`cross_entropy`, or the user's own `package.module:function` of the same signature."""
    return binding.find(name, LOSSES, "config.loss")
