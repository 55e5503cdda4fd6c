"""Draws contact sheets: pictures, what a network saw of them, and how probable each class is."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import BLUE, DPI, GREY, INK, PALE, VERMILLION
from mnist_jax.files import make_folder, writing
from mnist_jax.pictures import area
from mnist_jax.pictures.picture import UNIT, on_white

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.figure import Figure

    from mnist_jax.pictures.prediction import Prediction

COLUMNS, ROWS = 3, 7  # pictures on a page
SIDE, GAP, LINE = 112, 14, 18  # pixels: an image, the space between two, a line of text
TOP = 84  # pixels above the first row
WIDTH, CELL = 1080, (1080 // COLUMNS, SIDE + 2 * LINE + 2 * GAP)  # of a page; of a picture's place
MOST, BAR = 10, 66  # classes with a bar; pixels of a bar that stands for 100 %
TITLE = "Pictures and predictions"
NOTE = "Left: the picture. Middle: what the network saw of it. Right: how probable each class is."


class ContactSheets:
    """Pages of predictions, each drawn as soon as it is full."""

    def __init__(self, class_names: tuple[str, ...], folder: Path) -> None:
        """Creates no page yet; removes those of an earlier call.

        Args:
          class_names: the names of the classes.
          folder: the folder for `contact-sheet-1.png` and so on; created if it does not exist.

        Raises:
          UserError: the folder cannot be created or written to.
        """
        self._class_names, self._folder = class_names, folder
        self._waiting: list[Prediction] = []
        self._pages: list[Path] = []
        make_folder(folder)
        with writing(folder):
            for old in folder.glob("contact-sheet-*.png"):
                old.unlink(missing_ok=True)

    def add(self, prediction: Prediction) -> None:
        """Adds a prediction.

        Raises:
          UserError: a page is full and cannot be written.
        """
        self._waiting.append(prediction)
        if len(self._waiting) == COLUMNS * ROWS:
            self._draw()

    def finish(self) -> list[Path]:
        """Draws the last page, and returns the paths of all.

        Raises:
          UserError: the page cannot be written.
        """
        if self._waiting:
            self._draw()
        return self._pages

    def _draw(self) -> None:
        path = self._folder / f"contact-sheet-{len(self._pages) + 1}.png"
        with canvas.styled():
            canvas.save(_page(self._waiting, self._class_names), path)
        self._pages.append(path)
        self._waiting = []


def _page(seen: list[Prediction], class_names: tuple[str, ...]) -> Figure:
    from mnist_jax.analysis.pixels import fill  # imported late, as it imports matplotlib

    rows = -(-len(seen) // COLUMNS)
    pixels = np.full((TOP + rows * CELL[1], WIDTH, 3), 255, np.uint8)
    figure = canvas.new_figure(WIDTH / DPI, len(pixels) / DPI)
    page = _Page(figure, pixels)
    page.write(GAP, 14, TITLE, size=12, weight="bold")
    page.write(GAP, 44, NOTE, size=9, color=GREY)
    for place, prediction in enumerate(seen):
        row, column = divmod(place, COLUMNS)
        page.add(GAP + column * CELL[0], TOP + row * CELL[1], prediction, class_names)
    fill(figure, pixels)
    return figure


class _Page:
    """A figure, and the pixels behind its texts."""

    def __init__(self, figure: Figure, pixels: np.ndarray) -> None:
        self._figure, self._pixels = figure, pixels

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        height, width = self._pixels.shape[:2]
        style = {"va": "top"} | style
        self._figure.text(x / width, 1 - y / height, text, **style)

    def add(self, left: int, top: int, its: Prediction, class_names: tuple[str, ...]) -> None:
        """Draws a prediction: picture, image and bars, and two lines of text below."""
        if its.picture is not None:
            self._put(left, top, _thumbnail(its.picture.colours / UNIT))
        middle = left + SIDE + GAP
        if its.image is not None:
            colours = np.broadcast_to(on_white(its.image), (*its.image.shape[:2], 3))
            self._put(middle, top, _enlarged(colours))
        if its.probabilities is not None:
            self._draw_bars(middle + SIDE + GAP, top, its.probabilities, class_names)
        below = top + SIDE + 6
        self.write(left, below, canvas.shorten(Path(its.file).name, 44), size=8.5, color=GREY)
        strong = its.digit is None or its.unsure
        style = {"size": 8.5, "color": VERMILLION if strong else INK, "weight": "bold"}
        lines = textwrap.wrap(its.verdict(class_names), 40)
        self.write(left, below + LINE, lines[0] if len(lines) == 1 else "error", **style)
        if len(lines) > 1:
            self.write(left, top + 6, "\n".join(lines[:6]), size=8.5, color=VERMILLION)

    def _put(self, left: int, top: int, image: np.ndarray) -> None:
        """Copies an image `[h, w, 3]` into the middle of a square with a pale frame."""
        height, width = image.shape[:2]
        top, left = top + (SIDE - height) // 2, left + (SIDE - width) // 2
        self._pixels[top - 1 : top + height + 1, left - 1 : left + width + 1] = _rgb(PALE)
        self._pixels[top : top + height, left : left + width] = image

    def _draw_bars(self, left: int, top: int, p: np.ndarray, class_names: tuple[str, ...]) -> None:
        """Draws one bar for each class, or for the most probable ones, with their names."""
        shown = np.sort(np.argsort(-p, kind="stable")[:MOST])
        pitch = SIDE // MOST
        for number, label in enumerate(shown):
            y = top + number * pitch
            best = label == p.argmax()
            self._pixels[y + 1 : y + pitch - 1, left + 14 : left + 14 + BAR] = _rgb("#F2F2F2")
            length = round(BAR * float(p[label]))
            color = BLUE if best else "#8DB8D4"
            self._pixels[y + 1 : y + pitch - 1, left + 14 : left + 14 + length] = _rgb(color)
            name = canvas.shorten(class_names[label], 9)
            style = {"size": 7, "va": "center", "color": INK if best else GREY}
            x, middle = left + 10, y + pitch / 2
            if len(name) < 3:
                self.write(x, middle, name, ha="right", **style)
            else:  # a long name lies over its bar
                self.write(left + 17, middle, name, **style)


def _thumbnail(colours: np.ndarray) -> np.ndarray:
    """Reduces a picture `[h, w, 3]` to `SIDE`, or enlarges a small one by repeating its pixels."""
    if max(colours.shape[:2]) <= SIDE:
        return _enlarged(np.floor(colours + 0.5).astype(np.uint8))
    channels = [area.fit(np.floor(x + 0.5), SIDE) for x in np.moveaxis(colours, -1, 0)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _enlarged(image: np.ndarray) -> np.ndarray:
    """Enlarges an image `[h, w, 3]` of other than `SIDE` pixels by whole numbers, or reduces it."""
    if max(image.shape[:2]) > SIDE:
        return _thumbnail(image.astype(np.float64))
    zoom = SIDE // max(image.shape[:2])
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _rgb(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]
