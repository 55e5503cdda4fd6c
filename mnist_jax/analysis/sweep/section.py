"""Converts the sections that a user's analysis returns into parts of a sweep's report."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas, page
from mnist_jax.files import write_bytes

if TYPE_CHECKING:  # importing matplotlib takes half a second
    from matplotlib.figure import Figure

Frame = Any  # a pandas data frame: its own types are too wide for a type checker
Analysis = Callable[[Frame], Iterable["Section"]]


@dataclass(frozen=True)
class Section:
    """A section of a sweep's report: paragraphs, a table and a figure, each of which may be empty.

    The figure is saved to `plots/`, under the title in lower case.
    """

    title: str
    paragraphs: Sequence[str] = ()
    header: Sequence[str] = ()  # of the table's columns
    rows: Iterable[Sequence[Any]] = ()  # of the table
    figure: Figure | None = None
    alt: str = ""  # says what the figure shows to readers who cannot see it


def examine(
    analysis: Analysis | None, networks: Frame, folder: Path, taken: Iterable[str]
) -> list[dict[str, Any]]:
    """Returns the sections that an analysis writes, as the template of the report takes them.

    If the analysis fails, there are none, and a warning is printed.

    Args:
      analysis: takes the table of networks and returns sections; None: there is none.
      networks: as in `Comparison.networks`.
      folder: for the figures.
      taken: names of files there, without suffix, that figures must not replace.

    Raises:
      UserError: a figure cannot be written.
    """
    if analysis is None:
        return []
    parts = _called(analysis, networks, taken)
    for part in parts:
        if part["picture"]:
            name, content, alt = part["picture"]
            path = folder / f"{name}.png"
            write_bytes(path, content, durable=False)
            part["picture"] = page.picture(path, alt, wide=True)
    return parts


def _called(analysis: Analysis, networks: Frame, taken: Iterable[str]) -> list[dict[str, Any]]:
    """Calls an analysis and converts its sections as `_plain` does; none if one of them fails."""
    try:
        with canvas.styled():
            names = set(taken)
            return [_plain(section, names) for section in analysis(networks.copy())]
    except Exception as error:  # the analysis must not cost the tables and the report
        told = f"{type(error).__name__}: {error}{_place(error, analysis)}"
        print(f"warning: the analysis of the sweep failed: {told}", file=sys.stderr)
        return []


def _place(error: Exception, analysis: Analysis) -> str:
    """Returns the line of the analysis's own file that failed, in parentheses, or nothing."""
    own = getattr(getattr(analysis, "__code__", None), "co_filename", None)
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == own]
    return f" ({own}, line {lines[-1]})" if lines else ""


def _plain(section: Any, names: set[str]) -> dict[str, Any]:
    """Converts a section to texts and a picture: its name, its content and what it shows in words.

    The name is not among `names`, and is added to them.

    Raises:
      TypeError: `section` is not a section.
    """
    if not isinstance(section, Section) or isinstance(section.paragraphs, str):
        raise TypeError(
            f"an analysis must return a list of sections, each with a list of paragraphs, "
            f"not {section!r}"
        )
    image = None
    if section.figure is not None:
        name = re.sub(r"\W+", "_", section.title.lower()).strip("_") or "figure"
        while name in names:
            name += "_2"
        names.add(name)
        image = name, canvas.png(section.figure), section.alt or f"Plot, {section.title}"
    return {
        "title": section.title,
        "paragraphs": list(map(str, section.paragraphs)),
        "header": list(map(str, section.header)),
        "rows": [list(map(str, cells)) for cells in section.rows],
        "picture": image,
    }
