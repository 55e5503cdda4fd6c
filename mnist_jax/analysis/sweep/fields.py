"""Plots of the results of a sweep against one numeric field of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import (
    SOFT_LINE,
    bar_ends,
    cross,
    error_bars,
    metric_axis,
    number_axis,
    seeds_note,
    series_style,
)
from mnist_jax.analysis.canvas import BLUE
from mnist_jax.analysis.sweep.section import Frame
from mnist_jax.analysis.sweep.settings import field_names, format_value, numeric
from mnist_jax.analysis.sweep.table import Comparison, column_label
from mnist_jax.metrics import ACCURACY, Metric

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 7


def find_numeric(comparison: Comparison) -> list[str]:
    """Returns the fields with three or more values that `numeric` accepts."""
    return [
        field
        for field, values in comparison.varied.items()
        if len(values) >= 3 and numeric(values) is not None
    ]


def draw_field(comparison: Comparison, field: str) -> Figure:
    """Draws results against a field, with one line per combination of the other fields' values.

    The results are those of `Comparison.yardstick`. A field that differs with the given one belongs
    to no line; the note names it.
    """
    values = comparison.varied[field]
    numbers = numeric(values)
    assert numbers is not None, field
    names = field_names(comparison.varied)
    widths = field == "model.hidden" and isinstance(values[0], tuple)
    name = "width of hidden layers" if widths else names[field]
    column, metric = comparison.yardstick
    label = column_label(column, metric)
    others = comparison.averaged(field) or [name for name in names if name != field]
    keys = _keys(comparison, others)
    lines = list(dict.fromkeys(keys))
    x = [numbers[value] for value in comparison.networks[field]]
    points = comparison.grouped(column, line=[lines.index(key) for key in keys], x=x)
    everywhere = comparison.grouped(column, x=x)
    look = _look(len(lines), len(points))
    keyed = look == "lines" and len(lines) > 1
    note = _note(points, look, canvas.listed(names[other] for other in others))
    if together := [names[other] for other in names if other not in (field, *others)]:
        note += f"; what differs with {name}, too: {canvas.listed(together)}"
    figure = canvas.headed(9, 4.9, f"{canvas.capitalised(label)} by {name}", note)
    axes = canvas.panel(figure, 0.75, 1.15 if keyed else 0.6, 0.45)
    number_axis(axes, sorted(numbers.values()), name)
    for position, key in enumerate(lines):
        line = points.loc[position]
        if look == "lines":
            draw_points(axes, line, series_style(position) | {"label": key}, metric)
        else:
            _draw_softly(axes, line, "o" if look == "dots" else "-", metric)
    if look == "mean":
        draw_points(axes, everywhere, series_style(0), metric)
    if keyed:
        _legend(axes)
    lost = everywhere[everywhere["diverged"] > 0]
    foot = 0.12 if len(lost) else 0.0
    values = ends(points, metric) + (ends(everywhere, metric) if look == "mean" else [])
    metric_axis(axes, values, label, metric, foot=foot)
    for place, point in lost.iterrows():
        text = f"{point['diverged']:.0f} of {point['networks']:.0f}"
        cross(axes, place, text if point["networks"] > 1 else "")
    return figure


def draw_points(
    axes: Axes, points: Frame, style: dict[str, Any], metric: Metric = ACCURACY
) -> None:
    """Draws means with error bars of one standard deviation, joined by a line.

    Args:
      axes: in the unit that people read: fractions in percent.
      points: `mean` and `sd`, as in the tables, by the value on the x axis.
      style: keywords of the line.
      metric: the metric of the means.
    """
    error_bars(axes, points.index, points["mean"], points["sd"], metric, capsize=3, **style)


def ends(points: Frame, metric: Metric = ACCURACY) -> list[float]:
    """Returns the ends of the error bars that `draw_points` draws, for the limits of an axis."""
    return bar_ends(points["mean"], points["sd"], metric)


def _keys(comparison: Comparison, fields: Sequence[str]) -> list[str]:
    """Returns for each network the values of these fields, in words."""
    names = field_names(comparison.varied)
    parts = [
        [f"{names[field]} {format_value(value)}" for value in comparison.networks[field]]
        for field in fields
    ]
    texts = [", ".join(words) for words in zip(*parts, strict=True)]
    return texts or [""] * len(comparison.networks)


def _look(lines: int, points: int) -> str:
    """Chooses how to draw the lines of a plot: as `lines`, by their `mean`, or as `dots`.

    Up to MOST_LINES are drawn with their names. More are drawn faintly with their mean, or as dots
    if they have too few points for a grid.
    """
    if lines <= MOST_LINES:
        return "lines"
    return "mean" if points >= 2 * lines else "dots"


def _draw_softly(axes: Axes, line: Frame, form: str, metric: Metric) -> None:
    style = SOFT_LINE if form == "-" else {"color": BLUE, "alpha": 0.6}
    known = line.dropna(subset="mean")
    axes.plot(known.index, metric.scale * known["mean"], form, **style)


def _note(points: Frame, look: str, others: str) -> str:
    note = {
        "lines": f"points: mean; {seeds_note(points['count'], 'bars')}",
        "mean": f"in colour: mean over all seeds and all values of {others}; "
        "bars: ± one standard deviation; in grey: what is averaged",
        "dots": f"one dot per architecture, mean over its seeds; other fields that vary: {others}",
    }[look]
    return note + ("; ✗: trainings that diverged" if points["diverged"].any() else "")


def _legend(axes: Axes) -> None:
    height = axes.get_position().height * axes.figure.bbox.height / canvas.DPI
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.03, -0.5 / height), ncols=4, fontsize=9,
        borderaxespad=0, columnspacing=1.4,
    )  # fmt: skip
