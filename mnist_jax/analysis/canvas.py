"""What all pictures share: colours, style, and figures that pyplot knows nothing of.

Colours follow the Okabe-Ito palette, which people with any colour vision can tell apart (its
vermillion darker, to be legible as text); what a colour says, a shape or a sign says too.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # matplotlib takes half a second to import: only who draws pays for it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, INK, GREY, PALE = "#0072B2", "#B84A00", "#222222", "#6B6B6B", "#E4E4E4"
GREEN, PURPLE, ORANGE, SKY = "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, INK, SKY)  # for lines that must be told apart
MARKERS = "osD^vPX<>h*p"
DASHES = ((None, None), (5, 1.5), (1.5, 1.2), (6, 1.5, 1.5, 1.5))  # in widths of the line
DPI = 120
HEAD = 0.85  # inches above the axes for a title and two lines of note
STYLE: dict[Any, Any] = {
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,  # a name may hold a dollar sign
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
    """A context in which matplotlib draws in `STYLE`."""
    import matplotlib

    return matplotlib.rc_context(STYLE)


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches that pyplot knows nothing of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def headed(width: float, height: float, title: str, note: str) -> Figure:
    """A figure of this size in inches with a title and, below it, up to two lines that explain."""
    figure = new_figure(width, height)
    style = {"ha": "left", "va": "top", "x": 0.15 / width}
    figure.text(y=1 - 0.12 / height, s=title, size=12, weight="bold", **style)
    lines = "\n".join(textwrap.wrap(note, int(15.5 * (width - 0.3))))
    figure.text(y=1 - 0.40 / height, s=lines, size=9, color=GREY, linespacing=1.3, **style)
    return figure


def panel(figure: Figure, left: float, bottom: float, right: float, top: float = HEAD) -> Axes:
    """Axes that leave these margins in inches."""
    width, height = figure.get_size_inches()
    span = (width - left - right) / width, (height - bottom - top) / height
    return figure.add_axes((left / width, bottom / height, *span))


def save(figure: Figure, path: Path) -> Path:
    """Writes the figure: the same bytes for the same figure."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def enlarge(image: np.ndarray, zoom: int) -> np.ndarray:
    """`[h, w, c]` as `[zoom h, zoom w, 3]`; images of one channel become dark on light."""
    image = 255 - image if image.shape[-1] == 1 else image
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


def capitalised(text: str) -> str:
    """The text with its first letter in upper case, the others as they are."""
    return text[:1].upper() + text[1:]


def count(number: int, noun: str) -> str:
    """`1 image`, `1,234 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
