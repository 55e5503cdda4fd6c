"""A grid of images, each with a few lines of text, laid out in whole pixels to stay crisp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import DPI, GREY, INK, PALE, VERMILLION
from mnist_jax.data.joined import Joined

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.figure import Figure


class Gallery:
    """A figure with a grid of images: created empty, filled by `add`, returned by `finish`."""

    WIDTH, TOP, LINE, GAP, FRAME = 1080, 84, 18, 16, 4

    def __init__(
        self,
        size: tuple[int, ...],
        shape: tuple[int, int],
        *,
        side: int,
        lines: int = 0,
        headed: bool = False,
        margin: int = 0,
        title: str,
        note: str,
    ):
        """Creates an empty gallery.

        Args:
          size: height and width of an image, in its own pixels.
          shape: rows and columns of the grid.
          side: pixels of the longer side of an enlarged image; fewer if that is not a multiple.
          lines: number of lines of text below each image.
          headed: whether the columns have names above them.
          margin: pixels to the left of the grid, for the names of its rows.
          title: what the figure shows.
          note: how to read the figure; may have several lines.
        """
        rows, self.columns = shape
        self.zoom = max(1, side // max(size[:2]))
        self.skip = math.ceil(max(size[:2]) / side)  # step between shown pixels; over 1 if large
        self.height = self.zoom * math.ceil(size[0] / self.skip)
        self.row_height = self.height + self.GAP + self.LINE * lines
        self.margin = margin
        self.top = self.TOP + self.LINE * (headed + note.count("\n"))
        self.canvas = np.full((self.top + rows * self.row_height, self.WIDTH, 3), 255, np.uint8)
        self.figure = canvas.new_figure(self.WIDTH / DPI, len(self.canvas) / DPI)
        self._write(self.FRAME, 14, title, ha="left", size=12, weight="bold")
        self._write(self.FRAME, 44, note, ha="left", size=9, color=GREY)

    def name_column(self, column: int, name: str) -> None:
        """Writes the name of a column above it; the gallery must be `headed`."""
        self._write_in(column, self.top - self.LINE - 4, name, size=9, weight="bold")

    def name_row(self, row: int, lines: Sequence[str]) -> None:
        """Writes the name of a row, and remarks in further lines, into the margin at its left."""
        top = self.top + row * self.row_height + (self.height - self.LINE * len(lines)) // 2
        for line, text in enumerate(lines):
            style = {"color": GREY} if line else {"color": INK, "weight": "bold"}
            x, y = self.margin - self.GAP // 2, top + line * self.LINE
            self._write(x, y, text, ha="right", size=9, **style)

    def add(
        self,
        place: tuple[int, int],
        image: np.ndarray,
        lines: Sequence[str] = (),
        *,
        strong: bool = False,
    ) -> None:
        """Puts an image `[h, w, c]` uint8 at (row, column), with lines of text below it.

        A `strong` image has a coloured frame, and its text has the colour of the frame. Lines that
        are wider than the column are shortened.
        """
        tile = canvas.enlarge(image[:: self.skip, :: self.skip], self.zoom)
        height, width = tile.shape[:2]
        row, column = place
        top, left = self.top + row * self.row_height, self._middle(column) - width // 2
        self._frame(top, left, height, width, strong)
        self.canvas[top : top + height, left : left + width] = tile
        first = {"color": VERMILLION, "weight": "bold"} if strong else {"color": INK}
        for line, text in enumerate(lines):
            style = first if line < max(1, len(lines) - 1) else {"color": GREY}
            self._write_in(column, top + height + 6 + line * self.LINE, text, size=8.5, **style)

    def finish(self) -> Figure:
        """Fills the images into the figure and returns it."""
        from mnist_jax.analysis.pixels import fill  # imported late, as it imports matplotlib

        fill(self.figure, self.canvas)
        return self.figure

    def _middle(self, column: int) -> int:
        return self.margin + (2 * column + 1) * (self.WIDTH - self.margin) // (2 * self.columns)

    def _frame(self, top: int, left: int, height: int, width: int, strong: bool) -> None:
        edge, color = (self.FRAME, VERMILLION) if strong else (1, PALE)
        outer = np.s_[top - edge : top + height + edge, left - edge : left + width + edge]
        self.canvas[outer] = [int(color[i : i + 2], 16) for i in (1, 3, 5)]

    def _write_in(self, column: int, y: float, text: str, *, size: float, **style) -> None:
        room = ((self.WIDTH - self.margin) / self.columns - self.FRAME) / DPI
        text = canvas.fit(text, room, size, style.get("weight", "normal"))
        self._write(self._middle(column), y, text, size=size, **style)

    def _write(self, x: float, y: float, text: str, ha: str = "center", **style) -> None:
        height = len(self.canvas)
        self.figure.text(x / self.WIDTH, 1 - y / height, text, ha=ha, va="top", **style)


def shades(images: np.ndarray | Joined) -> str:
    """Returns a note on how the values of images `[..., c]` became shades; empty for colours."""
    return "; 0 is white, 255 black" if images.shape[-1] == 1 else ""


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Returns up to `most` evenly spaced numbers from 0 to `count` - 1, ends included: [k] int."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
