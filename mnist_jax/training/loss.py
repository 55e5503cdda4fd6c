"""The loss functions that training can minimise, and label smoothing."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mnist_jax import binding
from mnist_jax.models.outputs import normalised

Loss = Callable[..., jax.Array]  # (outputs, targets, *, output_activation) -> losses


def cross_entropy(outputs: jax.Array, targets: jax.Array, *, output_activation: str) -> jax.Array:
    """Returns each example's categorical cross-entropy, as Keras defines it.

    See https://keras.io/api/losses/probabilistic_losses.

    Args:
      outputs: `[B, K]` outputs of the network; logits if `output_activation` is softmax.
      targets: `[B, K]` probabilities: one-hot labels, smoothed or not.
      output_activation: the name of the network's output activation.

    Returns:
      `[B]` losses in nats.
    """
    if output_activation == "softmax":
        log_probabilities = jax.nn.log_softmax(outputs)
    else:
        log_probabilities = jnp.log(normalised(outputs))
    return -(targets * log_probabilities).sum(axis=-1)


def smooth_labels(labels: jax.Array, classes: int, smoothing: float) -> jax.Array:
    """Converts labels `[B]` to smoothed targets `[B, K]` (Szegedy et al., 2016, section 7)."""
    one_hot = jax.nn.one_hot(labels, classes)
    return one_hot * (1.0 - smoothing) + smoothing / classes


LOSSES = {"cross_entropy": cross_entropy}


def find_loss(name: str) -> Loss:
    """Returns the loss of this name, or the user's own `package.module:function`.

    The user's function must have the same signature as `cross_entropy`.

    Raises:
      UserError: there is no such loss.
    """
    return binding.find(name, LOSSES, "config.loss")
