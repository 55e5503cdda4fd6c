"""What is exported: a trained network, and test images to check a file with."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from mnist_jax import data
from mnist_jax.errors import UserError
from mnist_jax.exporting.plain import Classify, classify
from mnist_jax.training.restored import Restored

FLOAT32 = "float32"
# Largest difference between probabilities that rounding explains, by the type of the computation.
CLOSE = {FLOAT32: 1e-4, "bfloat16": 5e-2, "float16": 1e-2}


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

    @property
    def widened(self) -> str:
        """A remark, if the network computes in 16 bits, that a list of operations does not."""
        its = self.restored.config.dtype
        return "" if its == FLOAT32 else f"computes in {FLOAT32}, where the network does in {its}"

    @property
    def metadata(self) -> dict[str, str]:
        """What a file says of itself, as JSON: the configuration and the names of the classes."""
        return {
            "config": json.dumps(self.restored.config.to_dict()),
            "class_names": json.dumps(self.restored.spec.class_names),
        }

    def images(self, count: int) -> np.ndarray:
        """The first images of the test split, at most `count`: `[n, H, W, C]` float32 in [0, 1]."""
        its = data.load(self.restored.config.data.name, "test").images[:count]
        return its.astype(np.float32) / np.float32(255.0)

    def check(
        self, run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, what: str
    ) -> tuple[float, int]:
        """Compares what was exported with the network.

        A prediction that is not clear, for which two classes are nearly equally probable, may be
        another by rounding.

        Args:
          run: from images to probabilities `[n, K]`, as the exported file gives them.
          images: `[n, H, W, C]` float32 in [0, 1].
          what: was exported, for the message.

        Returns:
          The largest difference between probabilities, and the number of predictions that differ.

        Raises:
          UserError: a probability differs by more than rounding explains, or a clear prediction
            differs.
        """
        expected = np.asarray(self.restored.probabilities(jnp.asarray(images)))
        found = np.asarray(run(images))
        difference = float(np.abs(found - expected).max())
        close = CLOSE[self.restored.config.dtype]
        best, second = np.sort(expected, axis=1)[:, :-3:-1].T
        clear = best - second > 2 * close
        others = found.argmax(axis=1) != expected.argmax(axis=1)
        if not difference <= close or (clear & others).any():
            raise UserError(
                f"{what}: on {len(images)} test images, probabilities differ from the network's by "
                f"up to {difference:.1e}, and {others.sum()} predictions; it is not written"
            )
        return difference, int(others.sum())
