"""Draws the values of a network's layers for one image of each class, of ten classes at most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.gallery import Gallery, evenly_spaced
from mnist_jax.analysis.run import captions
from mnist_jax.analysis.run.evaluation import Predictions
from mnist_jax.analysis.run.insight import Insight, Layer
from mnist_jax.analysis.tint import EXPLAINED, limit_of, tint

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.figure import Figure

MARGIN, SPACE = 140, 6  # pixels: for the names of the layers; between two images
LARGEST = 112  # pixels: side of an image at most
ROWS = 8  # layers at most
FULL = 0.7  # share of a square that maps must cover; with larger ones, fewer fit
MAP, CELL = 20, 5  # pixels: least side of a map; of the cell of a unit
ACROSS = 16  # units of a layer at most that lie in one row
BETWEEN = 0xE4  # the shade between maps


def draw_activations(insight: Insight, predictions: Predictions) -> Figure:
    """Draws the outputs of each layer, one row per layer, for images in columns.

    A unit of a dense layer is a cell, a channel of a convolution a small picture.
    """
    layers = _shown(insight)
    columns = len(insight.examples)
    side = min(LARGEST, (Gallery.WIDTH - MARGIN) // columns - SPACE)
    gallery = Gallery(
        (side, side),
        (1 + len(layers), columns),
        side=side,
        headed=True,
        margin=MARGIN,
        title=f"Values within the network: {_which(len(layers), len(insight.layers))}",
        note=f"the first image of {_classes(insight, predictions)} ({predictions.split}); "
        f"{EXPLAINED}, each layer on a scale of its own",
    )
    gallery.name_row(0, ["image"])
    for column, example in enumerate(insight.examples):
        name = predictions.class_names[predictions.labels[example]]
        gallery.name_column(column, name)
        gallery.add((0, column), _input(predictions.images[example], side))
    for row, layer in enumerate(layers, start=1):
        gallery.name_row(row, _lines(layer, side))
        limit = limit_of(layer.values)
        for column, values in enumerate(layer.values):
            gallery.add((row, column), _tile(_maps(values), side, limit))
    return gallery.finish()


def describe(insight: Insight, predictions: Predictions) -> str:
    """Describes the picture in words."""
    layers = canvas.count(len(_shown(insight)), "layer")
    names = canvas.listed(layer.name for layer in _shown(insight))
    whose = _classes(insight, predictions)
    return f"Values of {layers} ({names}) for one image of {whose}."


def _classes(insight: Insight, predictions: Predictions) -> str:
    return captions.classes(len(insight.examples), predictions)


def _shown(insight: Insight) -> list[Layer]:
    """Returns the layers that are shown: all, or some that are evenly spaced."""
    return [insight.layers[i] for i in evenly_spaced(len(insight.layers), ROWS)]


def _which(shown: int, count: int) -> str:
    layers = canvas.count(count, "layer")
    return layers if shown == count else f"{shown} of {layers}"


def _lines(layer: Layer, side: int) -> list[str]:
    """Returns the name of a layer, the shape of its outputs, and how many of them are shown."""
    shape = layer.values.shape[1:]
    maps = _maps(layer.values[0])
    shown = min(len(maps), _Grid.of(maps.shape, side).places)
    partly = [f"first {shown} shown"] if shown < len(maps) else []
    name = canvas.fit(layer.name, (MARGIN - SPACE) / canvas.DPI, 9, "bold")
    return [name, " x ".join(map(str, shape)), *partly]


def _input(image: np.ndarray, side: int) -> np.ndarray:
    """Returns an image `[H, W, C]` on a white square of `side` pixels, enlarged."""
    step = math.ceil(max(image.shape[:2]) / side)
    image = image[::step, ::step]
    return _centred(canvas.enlarge(image, side // max(image.shape[:2])), side)


def _maps(values: np.ndarray) -> np.ndarray:
    """Returns the outputs of a layer for one image as maps: `[n, h, w]`.

    Those of a convolution are `[h, w, n]`. A sequence of vectors is one map, and all else is single
    values.
    """
    if values.ndim == 3:
        return values.transpose(2, 0, 1)
    if values.ndim == 2:
        return values[None]
    return values.reshape(-1, 1, 1)


@dataclass(frozen=True)
class _Grid:
    """How maps of one shape fill a square."""

    across: int  # maps side by side
    height: int  # pixels, of a value
    width: int  # pixels, of a value
    step: int  # between values that are shown; over 1 for a map larger than the square
    gap: int  # pixels between maps

    @property
    def places(self) -> int:
        """Number of maps that fit."""
        return self.across**2

    @classmethod
    def of(cls, shape: tuple[int, ...], side: int) -> _Grid:
        """Returns the grid for `[n, h, w]` maps in a square of `side` pixels."""
        count, longest = shape[0], max(shape[1:])
        square = math.ceil(math.sqrt(count))
        if longest == 1 and count <= ACROSS:
            return cls(count, side // 3, side // count, 1, 0)
        if longest == 1:
            across = min(square, side // CELL)
            return cls(across, side // across, side // across, 1, 0)
        least = max(MAP, min(longest, side // 2 - 1))
        most = min((side + 1) // (least + 1), square)
        fitting = [cls._of_maps(across, longest, side) for across in range(min(2, most), most + 1)]
        full = [its for its in fitting if its.used(longest) >= FULL * side]
        return full[-1] if full else max(fitting, key=lambda its: its.used(longest))

    @classmethod
    def _of_maps(cls, across: int, longest: int, side: int) -> _Grid:
        room = (side + 1) // across - 1
        zoom = max(1, room // longest)
        return cls(across, zoom, zoom, math.ceil(longest / room), 1)

    def used(self, longest: int) -> int:
        """Returns how many pixels of a row maps of so many values cover."""
        return self.across * self.width * math.ceil(longest / self.step)


def _tile(maps: np.ndarray, side: int, limit: float) -> np.ndarray:
    """Draws maps `[n, h, w]`, the first ones if not all fit, as a picture `[side, side, 3]`."""
    grid = _Grid.of(maps.shape, side)
    maps = maps[: grid.places, :: grid.step, :: grid.step]
    blocks = tint(maps, limit).repeat(grid.height, axis=1).repeat(grid.width, axis=2)
    height, width = (n + grid.gap for n in blocks.shape[1:3])
    rows = math.ceil(len(blocks) / grid.across)
    found = np.full((rows * height, grid.across * width, 3), BETWEEN, np.uint8)
    for position, block in enumerate(blocks):
        row, column = divmod(position, grid.across)
        top, left = row * height, column * width
        found[top : top + len(block), left : left + block.shape[1]] = block
    if unused := rows * grid.across - len(blocks):
        found[-height:, -unused * width :] = 255
    return _centred(found[: len(found) - grid.gap, : found.shape[1] - grid.gap], side)


def _centred(picture: np.ndarray, side: int) -> np.ndarray:
    """Puts a picture `[h, w, 3]` in the middle of a white square of `side` pixels."""
    square = np.full((side, side, 3), 255, np.uint8)
    height, width = picture.shape[:2]
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square
