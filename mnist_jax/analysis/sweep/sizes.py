"""Results of a sweep's architectures against their number of parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import (
    error_bars,
    label_points,
    log_axis,
    metric_axis,
    seeds_note,
    series_style,
)
from mnist_jax.analysis.canvas import shorten
from mnist_jax.analysis.sweep.settings import field_names, format_value
from mnist_jax.analysis.sweep.table import Comparison, column_label, records

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_parameters(comparison: Comparison) -> Figure | None:
    """Draws results against the number of parameters; None if all have the same number.

    The results are those of `Comparison.yardstick`.
    """
    order = [row for row in records(comparison.ranked) if row["seeds"]]
    sizes = sorted({row["parameters"] for row in order})
    if len(sizes) < 2:
        return None
    column, metric = comparison.yardstick
    name = column_label(column, metric)
    note = f"points: mean; {seeds_note([row['seeds'] for row in order], 'bars')}"
    note += "; names only where there is room"
    figure = canvas.headed(9, 5.4, f"{canvas.capitalised(name)} by number of parameters", note)
    field = _field(comparison)
    axes = canvas.panel(figure, 0.75, 0.95 if field else 0.6, 0.45)
    log_axis(axes, "x", fine=sizes[-1] < 30 * sizes[0], form=",.0f")
    axes.margins(x=0.1)
    known = [row for row in order if not math.isnan(row[column])]
    values = []
    for row in known:
        style = _marker(comparison.varied[field].index(row[field]) if field else 0)
        place, mean, deviation = [row["parameters"]], [row[column]], [row[f"{column}_sd"]]
        values += error_bars(axes, place, mean, deviation, metric, ms=6, ls="", capsize=2, **style)
    metric_axis(axes, values, name, metric)
    axes.set_xlabel("trained parameters (log scale)")
    if field:
        _key(axes, field_names(comparison.varied)[field], comparison.varied[field])
    points = [(row["parameters"], metric.scale * row[column]) for row in known]
    label_points(axes, points, [shorten(row["architecture"], 30) for row in known])
    return figure


def _field(comparison: Comparison) -> str:
    """Returns a field with few values, to be shown by colour and marker; empty if there is none."""
    few = [name for name, values in comparison.varied.items() if len(values) <= len(canvas.SERIES)]
    return next((name for name in few if name != "model.hidden"), "")


def _marker(position: int) -> dict[str, Any]:
    style = series_style(position)
    return {"color": style["color"], "marker": style["marker"]}


def _key(axes: Axes, name: str, values: Sequence[Any]) -> None:
    for position, value in enumerate(values):
        axes.plot([], [], ls="", label=f"{name} {format_value(value)}", **_marker(position))
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=4, fontsize=9, handletextpad=0.2
    )
