"""What is exported: a trained network, its data set, and 1,000 test images to check a file with."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from mnist_jax import data
from mnist_jax.errors import UserError
from mnist_jax.exporting.plain import Classify, classify
from mnist_jax.models.outputs import probabilities
from mnist_jax.training.restored import Restored

IMAGES = 1000  # of the test split, with which each file is checked
# Largest difference between probabilities that rounding explains, by the type of the computation.
CLOSE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}


@dataclass(frozen=True)
class Trained:
    """A trained network to export."""

    title: str
    restored: Restored

    @property
    def classify(self) -> Classify:
        """The function from images `[B, H, W, C]` in [0, 1] to probabilities, to be traced."""
        return classify(self.restored.model, self.restored.weights)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels of an image."""
        return tuple(self.restored.spec.image_shape)

    def check(self, run: Callable[[np.ndarray], np.ndarray], what: str) -> float:
        """Compares what was exported with the network; returns the largest difference.

        Args:
          run: from images `[n, H, W, C]` float32 in [0, 1] to probabilities `[n, K]`, as the
            exported file gives them.
          what: was exported, for the message.

        Raises:
          UserError: a probability differs by more than rounding explains, or a prediction differs.
        """
        images = data.load(self.restored.config.data.name, "test").images[:IMAGES]
        # A program may take exactly so many images: if there are fewer, they come again.
        images = images[np.arange(IMAGES) % len(images)]
        given = images.astype(np.float32) / np.float32(255.0)
        outputs = self.restored.outputs(jnp.asarray(given))
        kind = self.restored.model.output_activation
        expected = np.asarray(probabilities(outputs, output_activation=kind))
        found = np.asarray(run(given))
        difference = float(np.abs(found - expected).max())
        close = CLOSE[self.restored.config.dtype]
        best, second = np.sort(expected, axis=1)[:, :-3:-1].T
        clear = best - second > 2 * close
        others = int((clear & (found.argmax(axis=1) != expected.argmax(axis=1))).sum())
        if not difference <= close or others:
            raise UserError(
                f"{what}: on {len(images)} test images, probabilities differ from the network's by "
                f"up to {difference:.1e}, and {others} predictions; it is not written"
            )
        return difference
