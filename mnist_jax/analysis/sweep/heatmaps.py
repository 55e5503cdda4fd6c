"""Heat maps of the results of a sweep by two configuration fields."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import error_scale, is_accuracy, is_wide, spans_decades
from mnist_jax.analysis.canvas import INK, PALE, VERMILLION, shorten
from mnist_jax.analysis.sweep.section import Frame
from mnist_jax.analysis.sweep.settings import field_names, format_value
from mnist_jax.analysis.sweep.table import Comparison, column_label
from mnist_jax.metrics import Metric

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS, MOST_COLUMNS = 60, 14


def find_grid(comparison: Comparison) -> tuple[str, str] | None:
    """Returns the two fields, for rows and columns, with the most combinations that were trained.

    Pairs of fields with half or more of their combinations missing, or with too many to fit on a
    page, do not count. Returns None if no pair remains.
    """
    most, best = 0, None
    for pair in combinations(comparison.varied, 2):
        rows, columns = sorted(pair, key=lambda field: -len(comparison.varied[field]))
        height, width = len(comparison.varied[rows]), len(comparison.varied[columns])
        pairs = zip(comparison.networks[rows], comparison.networks[columns], strict=True)
        filled = len(set(pairs))
        fits = height <= MOST_ROWS and width <= MOST_COLUMNS
        if fits and 2 * filled > height * width and filled > most:
            most, best = filled, (rows, columns)
    return best


def draw_heatmap(comparison: Comparison, rows: str, columns: str) -> Figure:
    """Draws means by two fields, with what is missing and what diverged.

    The means are those of `Comparison.yardstick`.
    """
    column, metric = comparison.yardstick
    names = field_names(comparison.varied)
    row_names = [shorten(format_value(value), 24) for value in comparison.varied[rows]]
    column_names = [shorten(format_value(value), 12) for value in comparison.varied[columns]]
    cells = comparison.grouped(
        column,
        y=[comparison.varied[rows].index(value) for value in comparison.networks[rows]],
        x=[comparison.varied[columns].index(value) for value in comparison.networks[columns]],
    )
    height = canvas.HEAD + 0.38 * len(row_names) + 0.7
    left = 0.55 + 0.085 * max(map(len, row_names))
    width = min(9 - left - 0.2, 1.25 * len(column_names))
    full = max(left + width + 0.2, 6.5)
    label = f"{column_label(column, metric)}{' (%)' if metric.percent else ''}"
    title = f"Mean {label} by {names[rows]} and {names[columns]}"
    others = [names[field] for field in comparison.averaged(rows, columns)]
    note = _note(cells, len(row_names) * len(column_names), others)
    figure = canvas.headed(full, height, title, note)
    axes = canvas.panel(figure, left, 0.7, full - left - width)
    _name_cells(axes, (names[rows], row_names), (names[columns], column_names))
    _fill_cells(axes, cells, len(row_names), len(column_names), metric)
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
        note += f", over all values of {canvas.listed(others)}"
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


def _fill_cells(axes: Axes, cells: Frame, height: int, width: int, metric: Metric) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    tint = LinearSegmentedColormap.from_list("results", ["#F3F7FA", "#7FB5D6", "#00436B"])
    shades = _shades(metric.scale * cells["mean"], metric)
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
            _write_cell(axes, x, y, cell, metric, "white" if shade > 0.6 else INK)


def _shades(means: Frame, metric: Metric) -> np.ndarray:
    """Returns a shade from 0 to 1 (the best) for each mean, or 0 if all are equal.

    NaN stays NaN. The means are in the unit that people read.
    """
    known, values = means.dropna().tolist(), means.to_numpy()
    if is_accuracy(known, metric) and is_wide(known):
        values = error_scale(values)
    elif not is_accuracy(known, metric) and spans_decades(known):
        values = np.log(values)
    values = values if metric.higher_is_better else -values
    low = np.nanmin(values, initial=np.inf)
    span = np.nanmax(values, initial=-np.inf) - low
    return (values - low) / span if span > 0 else 0.0 * values


def _write_cell(
    axes: Axes, x: int, y: int, cell: dict[str, Any], metric: Metric, color: str
) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center"}
    if np.isnan(cell["mean"]):
        text = "diverged" if cell["diverged"] else "no value"
        axes.text(x, y, text, color=VERMILLION, size=9, weight="bold", **style)
        return
    text = metric.number(cell["mean"])
    axes.text(x, y - 0.14 * bool(cell["diverged"]), text, color=color, size=10, **style)
    if cell["diverged"]:
        note = f"{cell['diverged']} of {cell['networks']} diverged"
        axes.text(x, y + 0.26, note, color=color, size=6.5, **style)
