"""Heat maps of accuracy by two configuration fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import error_scale, file_name, is_wide, shorten
from mnist_jax.analysis.canvas import INK, PALE, VERMILLION
from mnist_jax.analysis.sweep.comparison import (
    Member,
    field_names,
    said,
    shown,
    statistic,
    value_of,
    varied,
    yardstick,
)

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS, MOST_COLUMNS = 60, 14

Cells = dict[tuple[Any, Any], list[Member]]


def draw_heatmaps(members: Sequence[Member]) -> Iterator[tuple[str, Figure]]:
    """Draws a heat map of the two fields with the most combinations that were trained.

    Pairs of fields with half or more of their combinations missing, or with too many to fit on a
    page, are left out.

    Yields:
      The stem of the file and the figure; nothing if no pair remains.
    """
    fields = varied(members)
    best: tuple[int, str, str] | None = None
    for pair in combinations(fields, 2):
        rows, columns = sorted(pair, key=lambda field: -len(fields[field]))
        size = len(fields[rows]) * len(fields[columns])
        fits = len(fields[rows]) <= MOST_ROWS and len(fields[columns]) <= MOST_COLUMNS
        filled = len(_cells(members, rows, columns))
        if fits and 2 * filled > size and (best is None or filled > best[0]):
            best = filled, rows, columns
    if best is not None:
        _, rows, columns = best
        yield f"heatmap_{file_name(rows, columns)}", _draw_heatmap(members, rows, columns)


def _cells(members: Sequence[Member], rows: str, columns: str) -> Cells:
    cells: Cells = {}
    for member in members:
        place = value_of(member.config, rows), value_of(member.config, columns)
        cells.setdefault(place, []).append(member)
    return cells


def _draw_heatmap(members: Sequence[Member], rows: str, columns: str) -> Figure:
    fields = varied(members)
    names = field_names(fields)
    measured, metric = yardstick(members)
    cells = _cells(members, rows, columns)
    height = canvas.HEAD + 0.38 * len(fields[rows]) + 0.7
    row_names = [shorten(shown(value), 24) for value in fields[rows]]
    column_names = [shorten(shown(value), 12) for value in fields[columns]]
    title = f"Mean {said(measured, metric)} (%) by {names[rows]} and {names[columns]}"
    rest = [names[field] for field in fields if field not in (rows, columns)]
    left = 0.55 + 0.085 * max(map(len, row_names))
    width = min(9 - left - 0.2, 1.25 * len(column_names))
    full = max(left + width + 0.2, 6.5)
    note = _heat_note(cells, len(fields[rows]) * len(fields[columns]), rest)
    figure = canvas.headed(full, height, title, note)
    axes = canvas.panel(figure, left, 0.7, full - left - width)
    _name_heat_cells(axes, (names[rows], row_names), (names[columns], column_names))
    _fill_heat_cells(axes, cells, fields[rows], fields[columns], measured)
    return figure


def _heat_note(cells: Cells, size: int, rest: list[str]) -> str:
    finished = [sum(member.finished for member in cell) for cell in cells.values()]
    counts = sorted(set(finished) - {0})
    if counts == [1]:
        note = "one training per cell"
    elif counts:
        trainings = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        note = f"mean over {trainings} trainings per cell"
    else:
        note = "no training finished"
    if rest:
        note += f", over all values of {' and '.join(rest)}"
    return note + "; darker is better" + ("; hatched: not run" if len(cells) < size else "")


def _name_heat_cells(
    axes: Axes, rows: tuple[str, list[str]], columns: tuple[str, list[str]]
) -> None:
    axes.set_xlim(-0.5, len(columns[1]) - 0.5)
    axes.set_ylim(len(rows[1]) - 0.5, -0.5)
    axes.set_yticks(range(len(rows[1])), rows[1])
    axes.set_xticks(range(len(columns[1])), columns[1])
    axes.set_ylabel(rows[0])
    axes.set_xlabel(columns[0])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _fill_heat_cells(
    axes: Axes, cells: Cells, rows: list[Any], columns: list[Any], measured: str
) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    means = {
        place: statistic(member.figure(measured) for member in cell).mean
        for place, cell in cells.items()
    }
    known = [100 * mean for mean in means.values() if mean is not None]
    tint = LinearSegmentedColormap.from_list("accuracy", ["#F3F7FA", "#7FB5D6", "#00436B"])
    scale = error_scale if is_wide(known) else np.asarray
    low, high = (float(scale(end)) for end in (min(known, default=0), max(known, default=1)))
    for (y, row), (x, column) in ((r, c) for r in enumerate(rows) for c in enumerate(columns)):
        cell, mean = cells.get((row, column)), means.get((row, column))
        shade = 0.0 if mean is None or high == low else (scale(100 * mean) - low) / (high - low)
        face = "white" if mean is None else tint(float(shade))
        style = {"facecolor": face, "edgecolor": "white", "lw": 2}
        if cell is None:
            style |= {"hatch": "///", "edgecolor": PALE, "lw": 0}
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **style))
        if cell is not None:
            _write_heat_cell(axes, (x, y), cell, mean, "white" if shade > 0.6 else INK)


def _write_heat_cell(
    axes: Axes, place: tuple[int, int], cell: list[Member], mean: float | None, color: str
) -> None:
    x, y = place
    diverged = sum(member.diverged for member in cell)
    style: dict[str, Any] = {"ha": "center", "va": "center"}
    if mean is None:
        text = "diverged" if diverged else "no value"
        axes.text(x, y, text, color=VERMILLION, size=9, weight="bold", **style)
        return
    axes.text(x, y - 0.14 * bool(diverged), f"{100 * mean:.2f}", color=color, size=10, **style)
    if diverged:
        note = f"{diverged} of {len(cell)} diverged"
        axes.text(x, y + 0.26, note, color=color, size=6.5, **style)
