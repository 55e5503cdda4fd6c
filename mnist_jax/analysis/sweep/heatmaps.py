"""Heat maps of accuracy by two configuration fields."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import error_scale, is_wide
from mnist_jax.analysis.canvas import INK, PALE, VERMILLION, shorten
from mnist_jax.analysis.sweep.section import Frame
from mnist_jax.analysis.sweep.settings import field_names, shown
from mnist_jax.analysis.sweep.table import Comparison, said

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS, MOST_COLUMNS = 60, 14


def find_grid(its: Comparison) -> tuple[str, str] | None:
    """Returns the two fields, for rows and columns, with the most combinations that were trained.

    Pairs of fields with half or more of their combinations missing, or with too many to fit on a
    page, do not count. Returns None if no pair remains.
    """
    most, best = 0, None
    for pair in combinations(its.varied, 2):
        rows, columns = sorted(pair, key=lambda field: -len(its.varied[field]))
        height, width = len(its.varied[rows]), len(its.varied[columns])
        filled = len(set(zip(its.networks[rows], its.networks[columns], strict=True)))
        fits = height <= MOST_ROWS and width <= MOST_COLUMNS
        if fits and 2 * filled > height * width and filled > most:
            most, best = filled, (rows, columns)
    return best


def draw_heatmap(its: Comparison, rows: str, columns: str) -> Figure:
    """Draws mean accuracy by two fields, with what is missing and what diverged."""
    column, metric = its.yardstick
    names = field_names(its.varied)
    row_names = [shorten(shown(value), 24) for value in its.varied[rows]]
    column_names = [shorten(shown(value), 12) for value in its.varied[columns]]
    cells = its.grouped(
        column,
        y=[its.varied[rows].index(value) for value in its.networks[rows]],
        x=[its.varied[columns].index(value) for value in its.networks[columns]],
    )
    height = canvas.HEAD + 0.38 * len(row_names) + 0.7
    left = 0.55 + 0.085 * max(map(len, row_names))
    width = min(9 - left - 0.2, 1.25 * len(column_names))
    full = max(left + width + 0.2, 6.5)
    title = f"Mean {said(column, metric)} (%) by {names[rows]} and {names[columns]}"
    others = [names[field] for field in its.varied if field not in (rows, columns)]
    note = _note(cells, len(row_names) * len(column_names), others)
    figure = canvas.headed(full, height, title, note)
    axes = canvas.panel(figure, left, 0.7, full - left - width)
    _name_cells(axes, (names[rows], row_names), (names[columns], column_names))
    _fill_cells(axes, cells, len(row_names), len(column_names))
    return figure


def _note(cells: Frame, size: int, others: list[str]) -> str:
    counts = sorted(set(cells["count"]) - {0})
    if counts == [1]:
        note = "one training per cell"
    elif counts:
        trainings = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        note = f"mean over {trainings} trainings per cell"
    else:
        note = "no training finished"
    if others:
        note += f", over all values of {' and '.join(others)}"
    return note + "; darker is better" + ("; hatched: not run" if len(cells) < size else "")


def _name_cells(axes: Axes, rows: tuple[str, list[str]], columns: tuple[str, list[str]]) -> None:
    axes.set_xlim(-0.5, len(columns[1]) - 0.5)
    axes.set_ylim(len(rows[1]) - 0.5, -0.5)
    axes.set_yticks(range(len(rows[1])), rows[1])
    axes.set_xticks(range(len(columns[1])), columns[1])
    axes.set_ylabel(rows[0])
    axes.set_xlabel(columns[0])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _fill_cells(axes: Axes, cells: Frame, height: int, width: int) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    tint = LinearSegmentedColormap.from_list("accuracy", ["#F3F7FA", "#7FB5D6", "#00436B"])
    percents = 100 * cells["mean"]
    scaled = error_scale(percents) if is_wide(percents.dropna()) else percents.to_numpy()
    shades = _stretched(scaled)
    found = dict(zip(cells.index, zip(shades, cells.to_dict("records"), strict=True), strict=True))
    for y, x in np.ndindex(height, width):
        shade, cell = found.get((y, x), (np.nan, None))
        style = {"facecolor": "white", "edgecolor": "white", "lw": 2}
        if cell is None:
            style |= {"hatch": "///", "edgecolor": PALE, "lw": 0}
        elif not np.isnan(shade):
            style["facecolor"] = tint(float(shade))
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **style))
        if cell is not None:
            _write_cell(axes, x, y, cell, "white" if shade > 0.6 else INK)


def _stretched(values: np.ndarray) -> np.ndarray:
    """Returns the values scaled to [0, 1], or 0 if all are equal; NaN stays NaN."""
    low = np.nanmin(values, initial=np.inf)
    span = np.nanmax(values, initial=-np.inf) - low
    return (values - low) / span if span > 0 else 0.0 * values


def _write_cell(axes: Axes, x: int, y: int, cell: dict[str, Any], color: str) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center"}
    if np.isnan(cell["mean"]):
        text = "diverged" if cell["diverged"] else "no value"
        axes.text(x, y, text, color=VERMILLION, size=9, weight="bold", **style)
        return
    text = f"{100 * cell['mean']:.2f}"
    axes.text(x, y - 0.14 * bool(cell["diverged"]), text, color=color, size=10, **style)
    if cell["diverged"]:
        note = f"{cell['diverged']} of {cell['networks']} diverged"
        axes.text(x, y + 0.26, note, color=color, size=6.5, **style)
