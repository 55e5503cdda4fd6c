"""The loss functions that training can minimise, and label smoothing."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mnist_jax import binding
from mnist_jax.config import Choice
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


def find_loss(choice: Choice) -> Loss:
    """Returns the loss of this name with its keywords: our own, or `package.module:function`.

    The user's function has the signature of `cross_entropy`, and any keywords besides.

    Raises:
      UserError: there is no such loss, or it does not take these keywords.
    """
    given = ("output_activation",)
    return binding.find_function(choice, LOSSES, "config.loss", arguments=2, given=given)
