"""Colours, style and figure helpers that all plots share.

The colours follow the Okabe-Ito palette, which people with any kind of colour vision can tell apart
(its vermillion is darkened, to be legible as text). Whatever a colour says, a marker or a symbol
says too.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_jax.errors import UserError
from mnist_jax.files import write_bytes
from mnist_jax.pictures.picture import on_white

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, INK, GREY, PALE = "#0072B2", "#B84A00", "#222222", "#6B6B6B", "#E4E4E4"
GREEN, PURPLE, ORANGE, SKY = "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, INK, SKY)  # for unordered lines
MARKERS = "osD^vPX<>h*p"
DASHES = ((None, None), (5, 1.5), (1.5, 1.2), (6, 1.5, 1.5, 1.5))  # dash and gap in line widths
DPI = 120
HEAD, LINE = 0.85, 0.16  # inches: for a title and a note of two lines; for each further line
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


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Context manager under which matplotlib draws in `STYLE`, whatever a `matplotlibrc` says."""
    matplotlib = _matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


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


@contextlib.contextmanager
def drawing(what: str) -> Iterator[None]:
    """Context manager that turns a failure to draw into a warning, as nothing else must fail by it.

    Raises:
      UserError: a file cannot be written; nor could the report.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        print(f"warning: {what} cannot be drawn: {told}", file=sys.stderr)


def new_figure(width: float, height: float) -> Figure:
    """Creates a figure of this size in inches, without registering it with pyplot."""
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def headed(width: float, height: float, title: str, note: str) -> Figure:
    """Creates a figure with a title and, below it, a note, for axes that `panel` adds.

    The size is in inches. It has room for a note of two lines, and grows in height with a longer
    one.
    """
    lines = textwrap.wrap(note, int(15.5 * (width - 0.3)))
    further = LINE * max(0, len(lines) - 2)
    height += further
    figure = new_figure(width, height)
    figure.subplots_adjust(top=1 - (HEAD + further) / height)
    style = {"ha": "left", "va": "top", "x": 0.15 / width}
    figure.text(y=1 - 0.12 / height, s=title, size=12, weight="bold", **style)
    text = "\n".join(lines)
    figure.text(y=1 - 0.40 / height, s=text, size=9, color=GREY, linespacing=1.3, **style)
    return figure


def panel(figure: Figure, left: float, bottom: float, right: float, top: float = 0.0) -> Axes:
    """Adds axes to a `headed` figure, with these margins in inches; `top` is below the head."""
    width, height = figure.get_size_inches()
    above = (1 - figure.subplotpars.top) * height + top
    span = (width - left - right) / width, (height - bottom - above) / height
    return figure.add_axes((left / width, bottom / height, *span))


def save(figure: Figure, path: Path) -> Path:
    """Saves a figure as PNG and returns its path; the same figure gives the same bytes.

    A reader of the file never sees half of it.

    Raises:
      UserError: the file cannot be written.
    """
    write_bytes(path, png(figure), durable=False)
    return path


def png(figure: Figure) -> bytes:
    """Returns a figure as the content of a PNG file; the same figure gives the same bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    return content.getvalue()


def enlarge(image: np.ndarray, zoom: int) -> np.ndarray:
    """Enlarges an image `[h, w, c]` to `[zoom * h, zoom * w, 3]` by repeating its pixels.

    An image of one channel is inverted: dark on light. One with an opacity lies on white.
    """
    image = 255 - image if image.shape[-1] == 1 else on_white(image)
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


def capitalised(text: str) -> str:
    """Returns the text with its first letter in upper case and the rest unchanged."""
    return text[:1].upper() + text[1:]


def shorten(text: str, length: int = 34) -> str:
    """Shortens a text of more than `length` characters by cutting out its middle."""
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[: length - half - 1]}…{text[-half:]}"


@functools.lru_cache(maxsize=1024)
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Returns the width of a text of this size (in points) and weight on one line, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=STYLE["font.family"], size=size, weight=weight)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


def fit(text: str, width: float, size: float, weight: str = "normal") -> str:
    """Shortens a text that is wider than `width` inches by cutting out its middle.

    Ends of names tell them apart.
    """
    length = min(len(text), 100)
    while length > 3 and text_width(shorten(text, length), size, weight) > width:
        length -= 1
    return shorten(text, length)


def count(number: int, noun: str) -> str:
    """Formats a number with its noun: `1 image`, `1,234 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(words: Iterable[str]) -> str:
    """Joins words to a list: `a`, `a and b`, `a, b and c`."""
    *others, last = [*words] or [""]
    return f"{', '.join(others)} and {last}" if others else last
