"""What a network looks at: its first layer, values within it, gradients, and a map of a split."""

from dataclasses import dataclass

import numpy as np

from mnist_jax.analysis.gallery import evenly_spaced
from mnist_jax.analysis.run.evaluation import Predictions

CLASSES, WORST = 10, 8  # examples, one per class, and mistakes at most


@dataclass(frozen=True)
class Layer:
    """A layer that a network calls, and its values."""

    name: str
    values: np.ndarray


@dataclass(frozen=True)
class Map:
    """Images as points in two dimensions: the first principal components of a layer's inputs."""

    layer: str  # the last layer with weights
    width: int  # number of values that enter it
    examples: np.ndarray  # [n] indices of the images in the split, in rising order
    points: np.ndarray  # [n, 2]
    shares: np.ndarray  # [2] fractions of the variance of all values


@dataclass(frozen=True)
class Insight:
    """What a network does with images of a split, as the plots show it."""

    first: Layer | None  # weights [n, h, w, c] of each unit; None if they are not like images
    examples: np.ndarray  # [k] indices in the split: the first images of classes that have one
    layers: tuple[Layer, ...]  # outputs [k, ...] for these, in the order in which they are called
    worst: np.ndarray  # [m] indices in the split: the mistakes with the highest loss
    gradients: np.ndarray  # [m, H, W, C] of the predicted class' output, by the pixels
    map: Map | None  # None if no layer with weights can be seen


def examples_of(predictions: Predictions) -> np.ndarray:
    """Returns the indices of the first image of each class that has one: [k].

    Of more than `CLASSES` classes, some are taken that are evenly spaced.
    """
    found, first = np.unique(predictions.labels, return_index=True)
    return first[evenly_spaced(len(found), CLASSES)]
