"""Colours, style and figure helpers that all plots share.

The colours follow the Okabe-Ito palette, which people with any kind of colour vision can tell apart
(its vermillion is darkened, to be legible as text). Whatever a colour says, a marker or a symbol
says too.
"""

from __future__ import annotations

import io
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_jax.files import write_bytes

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, INK, GREY, PALE = "#0072B2", "#B84A00", "#222222", "#6B6B6B", "#E4E4E4"
GREEN, PURPLE, ORANGE, SKY = "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, INK, SKY)  # for unordered lines
MARKERS = "osD^vPX<>h*p"
DASHES = ((None, None), (5, 1.5), (1.5, 1.2), (6, 1.5, 1.5, 1.5))  # dash and gap in line widths
DPI = 120
HEAD = 0.85  # inches above the axes, for a title and a note of two lines
STYLE: dict[Any, Any] = {
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,  # names may contain dollar signs
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "grid.color": PALE,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
}


def styled() -> Any:
    """Returns a context manager under which matplotlib draws in `STYLE`."""
    return _matplotlib().rc_context(STYLE)


def _matplotlib() -> Any:
    """Imports and returns matplotlib, also if `MPLBACKEND` names a backend that is not there.

    Only a session of its own has that backend, and no plot here needs one.
    """
    try:
        import matplotlib
    except ValueError:
        backend = os.environ.pop("MPLBACKEND", None)
        if backend is None:
            raise
        try:
            import matplotlib
        finally:
            os.environ["MPLBACKEND"] = backend
    return matplotlib


def new_figure(width: float, height: float) -> Figure:
    """Creates a figure of this size in inches, without registering it with pyplot."""
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def headed(width: float, height: float, title: str, note: str) -> Figure:
    """Creates a figure of this size in inches with a title and, below it, a note (two lines)."""
    figure = new_figure(width, height)
    style = {"ha": "left", "va": "top", "x": 0.15 / width}
    figure.text(y=1 - 0.12 / height, s=title, size=12, weight="bold", **style)
    lines = "\n".join(textwrap.wrap(note, int(15.5 * (width - 0.3))))
    figure.text(y=1 - 0.40 / height, s=lines, size=9, color=GREY, linespacing=1.3, **style)
    return figure


def panel(figure: Figure, left: float, bottom: float, right: float, top: float = HEAD) -> Axes:
    """Adds axes to a figure, with these margins in inches."""
    width, height = figure.get_size_inches()
    span = (width - left - right) / width, (height - bottom - top) / height
    return figure.add_axes((left / width, bottom / height, *span))


def save(figure: Figure, path: Path) -> Path:
    """Saves a figure as PNG and returns its path; the same figure gives the same bytes.

    A reader of the file never sees half of it.

    Raises:
      UserError: the file cannot be written.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    write_bytes(path, content.getvalue(), durable=False)
    return path


def enlarge(image: np.ndarray, zoom: int) -> np.ndarray:
    """Enlarges an image `[h, w, c]` to `[zoom * h, zoom * w, 3]` by repeating its pixels.

    An image of one channel is inverted: dark on light.
    """
    image = 255 - image if image.shape[-1] == 1 else image
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


def capitalised(text: str) -> str:
    """Returns the text with its first letter in upper case and the rest unchanged."""
    return text[:1].upper() + text[1:]


def shorten(text: str, length: int = 34) -> str:
    """Shortens a text of more than `length` characters by cutting out its middle."""
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[: length - half - 1]}…{text[-half:]}"


def count(number: int, noun: str) -> str:
    """Formats a number with its noun: `1 image`, `1,234 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
