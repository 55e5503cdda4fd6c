"""Loads the images as all peers use them: float32, from the four original MNIST files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnist_jax.data import idx

FILES = Path(idx.__file__).parent / "files"


@dataclass(frozen=True)
class Digits:
    """The training and test images with their labels."""

    train_images: np.ndarray  # [n, 28, 28, 1] float32 in [0, 1]
    train_labels: np.ndarray  # [n] int32
    test_images: np.ndarray  # [10000, 28, 28, 1] float32 in [0, 1]
    test_labels: np.ndarray  # [10000] int32


def load(examples: int) -> Digits:
    """Loads the first `examples` training images, in the order of the file, and all test images."""
    return Digits(
        _images("train-images-idx3-ubyte.gz", examples),
        _labels("train-labels-idx1-ubyte.gz", examples),
        _images("t10k-images-idx3-ubyte.gz"),
        _labels("t10k-labels-idx1-ubyte.gz"),
    )


def _images(name: str, count: int | None = None) -> np.ndarray:
    pixels = idx.read(FILES / name)[:count, ..., np.newaxis]
    return np.divide(pixels, 255, dtype=np.float32)  # without an intermediate float copy


def _labels(name: str, count: int | None = None) -> np.ndarray:
    return idx.read(FILES / name)[:count].astype(np.int32)
