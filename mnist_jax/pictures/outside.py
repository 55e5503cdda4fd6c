"""The outside test: digits of other writers and another scanner than MNIST's.

They are the 1,797 digits of scikit-learn's `load_digits`: 8 x 8 pixels, each the number of black
pixels among 4 x 4 of a scan (https://archive.ics.uci.edu/dataset/80).
"""

import numpy as np
from PIL import Image

from mnist_jax import imports
from mnist_jax.data.spec import Ink
from mnist_jax.pictures.picture import UNIT, Picture
from mnist_jax.pictures.prepared import prepare

MOST = 16  # the largest value of a pixel
MARGIN, ZOOM = 2, 8  # pixels around a digit, which fills its picture; enlargement


def load(shape: tuple[int, int, int], ink: Ink) -> tuple[np.ndarray, np.ndarray]:
    """Returns the digits, prepared as pictures are: `[1797, *shape]` uint8, and their labels.

    Args:
      shape: of the network's images: height, width, 1.
      ink: how handwriting lies in these.

    Raises:
      UserError: scikit-learn is not installed.
    """
    found = imports.extra("sklearn.datasets", "outside").load_digits()
    images = [prepare(_picture(image), shape, ink) for image in found.images]
    blank = np.zeros(shape, np.uint8)
    stacked = np.stack([blank if image is None else image for image in images])
    return stacked, found.target.astype(np.int32)


def _picture(image: np.ndarray) -> Picture:
    """Enlarges a digit smoothly, since steps between so few pixels would count as its shape."""
    padded = np.pad(image / MOST, MARGIN).astype(np.float32)
    size = ZOOM * padded.shape[1], ZOOM * padded.shape[0]
    large = np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.BICUBIC), np.float64)
    return Picture(np.floor(np.clip(large, 0, 1) * 255 * UNIT + 0.5)[..., None])
