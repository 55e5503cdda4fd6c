"""The trained network as a function of images alone, without what only pays on a CPU."""

from collections.abc import Callable

import jax

from mnist_jax.models import Model, Tree, backend
from mnist_jax.models.outputs import probabilities

Classify = Callable[[jax.Array], jax.Array]


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
