"""Draws the weights of a network's first layer as pictures, one per unit or filter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.gallery import Gallery
from mnist_jax.analysis.run.insight import Layer
from mnist_jax.analysis.tint import EXPLAINED, limit_of, tint

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.figure import Figure

LEAST, MOST, GAP = 72, 144, 10  # pixels: sides of a picture; least space between two
ROWS = 6  # of pictures, at most
COLOURS = 3  # channels: red, green and blue


def draw_first_layer(layer: Layer) -> Figure:
    """Draws the weights `[n, h, w, c]` of the first units or filters of a layer."""
    units, height, width, channels = layer.values.shape
    side, columns = _grid(height, width)
    shown = layer.values[: ROWS * columns]
    which = f"the first {len(shown)} of {units:,}" if len(shown) < units else f"all {units}"
    gallery = Gallery(
        (height, width),
        (math.ceil(len(shown) / columns), columns),
        side=side,
        title=f"Weights of the first layer, {layer.name}: {which} units",
        note=_note(channels),
    )
    limit = limit_of(shown)
    for position, unit in enumerate(shown):
        gallery.add(divmod(position, columns), _picture(unit, limit))
    return gallery.finish()


def describe(layer: Layer) -> str:
    """Describes the picture in words."""
    count, height, width, _ = layer.values.shape
    shown = ROWS * _grid(height, width)[1]
    units = canvas.count(count, "unit")
    which = f"the first {shown} of {units}" if shown < count else units
    return f"Weights of {which} of the layer {layer.name}, each {height} x {width} pixels."


def _grid(height: int, width: int) -> tuple[int, int]:
    """Returns the side of a picture in pixels, and how many lie in a row."""
    longest = max(height, width)
    side = min(longest * math.ceil(LEAST / longest), MOST)
    return side, max(1, Gallery.WIDTH // (side + GAP))


def _note(channels: int) -> str:
    if channels == COLOURS:
        return "grey: 0; a colour is what a pixel must have to raise the value of the unit"
    mean = "" if channels == 1 else f"; mean over {channels} channels"
    return f"{EXPLAINED}, white: 0; one scale for all{mean}"


def _picture(unit: np.ndarray, limit: float) -> np.ndarray:
    """Returns weights `[h, w, c]` as a picture `[h, w, 3]` uint8."""
    if unit.shape[-1] == COLOURS:
        share = np.clip(unit / limit, -1.0, 1.0) if limit else unit
        return (127.5 * (1 + share)).round().astype(np.uint8)
    return tint(unit.mean(axis=-1), limit)
