"""The trained network as a function of images alone, without what only pays on a CPU."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax import export

from mnist_jax.errors import UserError
from mnist_jax.failures import describe
from mnist_jax.models import Model, Tree, backend
from mnist_jax.models.outputs import probabilities

Classify = Callable[[jax.Array], jax.Array]
T = TypeVar("T")


def classify(model: Model, weights: Tree) -> Classify:
    """Returns the function from images `[B, H, W, C]` in [0, 1] to probabilities `[B, K]`.

    It is to be traced: its weights are constants of the trace. In it, layers are the operations
    that their names promise, such as a convolution, whatever device this process has.

    Args:
      model: the network.
      weights: `params` and `variables` of the network.
    """

    def function(images: jax.Array) -> jax.Array:
        with backend.plain():
            outputs, _ = model.apply(weights["params"], weights["variables"], images, train=False)
        return probabilities(outputs, output_activation=model.output_activation)

    return function


def for_any_number(
    function: Classify,
    image_shape: tuple[int, ...],
    trace: Callable[[Classify, jax.ShapeDtypeStruct], T],
    title: str,
) -> T:
    """Traces a network for a number of images that is not known.

    Code that needs to know that number is given one image, and the trace is mapped over the images.

    Args:
      function: as `classify` returns it.
      image_shape: height, width and channels of an image.
      trace: makes something of the function and a float32 array `[batch, H, W, C]`.
      title: of the network, for the message.

    Returns:
      What `trace` returns.

    Raises:
      UserError: the network cannot be traced.
    """
    (batch,) = export.symbolic_shape("batch")
    images: Any = jax.ShapeDtypeStruct((batch, *image_shape), np.float32)
    try:
        return trace(function, images)
    except Exception:  # whatever the user's own code makes of a number that is not known
        try:
            return trace(jax.vmap(lambda image: function(image[None])[0]), images)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{title} cannot be exported: {describe(error)}") from error
