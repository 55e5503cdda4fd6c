"""Draws how a network's output changes with each pixel of the images that it gets most wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.gallery import Gallery, shades
from mnist_jax.analysis.run import captions
from mnist_jax.analysis.run.evaluation import Predictions
from mnist_jax.analysis.run.insight import Insight
from mnist_jax.analysis.tint import EXPLAINED, limit_of, tint

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.figure import Figure

COLUMNS = 4
SIDE = 252  # pixels: an image and its map side by side, at most


def draw_saliency(insight: Insight, predictions: Predictions) -> Figure:
    """Draws the worst mistakes, each beside the gradient of the predicted class' output."""
    height, width = predictions.images.shape[1:3]
    count = len(insight.worst)
    gallery = Gallery(
        (height, 2 * width + 1),
        (math.ceil(count / COLUMNS), COLUMNS),
        side=SIDE,
        lines=captions.mistake_lines(predictions),
        title=f"Saliency of the {canvas.count(count, 'worst mistake')} ({predictions.split})",
        note="left: the image; right: change of the predicted class' output with each pixel "
        f"({EXPLAINED}), each on a scale of its own;\nbelow: true → predicted class, the "
        f"probability of the predicted class, #index in the split{shades(predictions.images)}",
    )
    pairs = zip(insight.worst, insight.gradients, strict=True)
    for position, (example, gradient) in enumerate(pairs):
        picture = _pair(predictions.images[example], gradient)
        lines = captions.of_mistake(predictions, example)
        gallery.add(divmod(position, COLUMNS), picture, lines)
    return gallery.finish()


def describe(insight: Insight) -> str:
    """Describes the picture in words."""
    return (
        f"Images of the {canvas.count(len(insight.worst), 'worst mistake')}, each beside the "
        "gradient of the predicted class' output by its pixels."
    )


def strongest(gradient: np.ndarray) -> np.ndarray:
    """Returns of each pixel of `[H, W, C]` the value of the channel that matters most: `[H, W]`.

    Its magnitude is the map of Simonyan et al., 2013, which is the maximum over the channels.
    """
    which = np.abs(gradient).argmax(axis=-1)
    return np.take_along_axis(gradient, which[..., None], axis=-1)[..., 0]


def _pair(image: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Returns an image `[H, W, C]` and its map as one picture `[H, 2 W + 1, 3]` uint8."""
    values = strongest(gradient)
    right = tint(values, limit_of(values))
    between = np.full((len(image), 1, 3), 255, np.uint8)
    return np.concatenate([canvas.enlarge(image, 1), between, right], axis=1)
