"""The ranking of a sweep's architectures, with validation and test results side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import error_bars, metric_axis, seeds_note
from mnist_jax.analysis.canvas import BLUE, INK, PALE, VERMILLION, shorten
from mnist_jax.analysis.sweep.table import (
    Comparison,
    column_label,
    heading,
    mean_and_deviation,
    records,
)
from mnist_jax.metrics import SPLITS, Metric

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 40
ROW = 0.26  # inches
Row = dict[str, Any]  # of `Comparison.ranked`


def draw_ranking(comparison: Comparison) -> Figure:
    """Draws validation and test results with one row per architecture, best validation first."""
    order = records(comparison.ranked)
    column, metric, not_ranked = comparison.column, comparison.metric, comparison.not_ranked
    rows, left_out = _rows(order)
    height = canvas.HEAD + 0.2 + ROW * len(rows) + 0.65
    by = "in the order given" if not_ranked else f"by {column_label(column, metric)}"
    figure = canvas.headed(9, height, f"Architectures {by}", _note(order, not_ranked, left_out))
    names = [_name(row, left_out) for row in rows]
    step = 1.08 if metric.percent else 1.2  # inches from one column of numbers to the next
    left, right = 0.3 + 0.073 * max(map(len, names)), 0.09 + 2 * step
    axes = canvas.panel(figure, left, 0.6, right, 0.2)
    _prepare_rows(axes, names)
    looks = {f"test_{metric.name}": (VERMILLION, "D", 0.0)}
    if not not_ranked:
        looks = {column: (BLUE, "o", -0.14), f"test_{metric.name}": (VERMILLION, "D", 0.14)}
    values: list[float] = []
    for place, (shown_column, look) in enumerate(looks.items()):
        values += _draw_means(axes, rows, shown_column, metric, *look)
        x = 1.02 + step * place / (9 - left - right)
        _write_means(axes, rows, shown_column, metric, look[0], x)
    metric_axis(axes, values, metric.label, metric, "x")
    return figure


def _rows(order: list[Row]) -> tuple[list[Row | None], int]:
    """Returns the rows to draw, with None for a middle that is left out, and its size."""
    if len(order) <= MOST_ROWS:
        return list(order), 0
    half = MOST_ROWS // 2
    return [*order[:half], None, *order[-half:]], len(order) - 2 * half


def _name(row: Row | None, left_out: int) -> str:
    if row is None:
        return f"… {left_out} more …"
    lost = f" ({row['diverged']} of {row['networks']} diverged)" if row["diverged"] else ""
    return shorten(row["architecture"]) + lost


def _note(order: list[Row], not_ranked: str, left_out: int) -> str:
    bars = seeds_note([row["seeds"] for row in order], "bars")
    if not_ranked:
        note = f"◆ test; {bars}; not ranked, because {not_ranked}"
    else:
        note = f"● validation, ◆ test; {bars}; ranked by validation only"
    lost = [row["diverged"] > 0 for row in order]
    if any(lost) and not all(lost):
        note += "; architectures with a diverged training come last"
    if left_out:
        note += f"; the middle {left_out} of {len(order)} are left out"
    return note


def _prepare_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names, size=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    for row in range(0, len(names), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=PALE, alpha=0.35, lw=0, zorder=0)


def _draw_means(
    axes: Axes,
    rows: list[Row | None],
    column: str,
    metric: Metric,
    color: str,
    marker: str,
    up: float,
) -> list[float]:
    """Draws mean and error bar of each row; returns the values that the axis has to cover."""
    means, deviations = (
        [math.nan if row is None else row[name] for row in rows]
        for name in (column, f"{column}_sd")
    )
    places = [place + up for place in range(len(rows))]
    style = {"fmt": marker, "color": color, "ms": 5, "capsize": 2}
    return error_bars(axes, places, means, deviations, metric, "x", **style)


def _write_means(
    axes: Axes, rows: list[Row | None], column: str, metric: Metric, color: str, x: float
) -> None:
    """Writes the mean and deviation of each row as a column of text at the right."""
    head = heading(SPLITS[column.partition("_")[0]], metric)
    style = {"size": 8.5, "va": "center", "transform": axes.get_yaxis_transform()}
    axes.text(x, -0.9, head, color=color, weight="bold", **style)
    for place, row in enumerate(rows):
        if row is not None:
            lost = row["diverged"] and not row["seeds"]
            text = "diverged" if lost else mean_and_deviation(row, column, metric)
            axes.text(x, place, text, color=VERMILLION if lost else INK, **style)
