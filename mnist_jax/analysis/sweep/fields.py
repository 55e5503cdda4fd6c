"""Plots of accuracy against one numeric field of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import (
    SOFT_LINE,
    accuracy_axis,
    cross,
    number_axis,
    seeds_note,
    series_style,
)
from mnist_jax.analysis.canvas import BLUE
from mnist_jax.analysis.sweep.section import Frame
from mnist_jax.analysis.sweep.settings import field_names, is_number, numeric, shown
from mnist_jax.analysis.sweep.table import Comparison, said

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 7


def find_numeric(its: Comparison) -> list[str]:
    """Returns the fields with three or more values that `numeric` accepts."""
    return [
        field
        for field, values in its.varied.items()
        if len(values) >= 3 and numeric(values) is not None
    ]


def draw_field(its: Comparison, field: str) -> Figure:
    """Draws accuracy against a field, with one line per combination of the other fields' values."""
    values = its.varied[field]
    numbers = numeric(values)
    assert numbers is not None, field
    names = field_names(its.varied)
    others = [names[other] for other in its.varied if other != field]
    name = names[field] if is_number(values[0]) else "width of hidden layers"
    column, metric = its.yardstick
    accuracy = said(column, metric)
    labels = _labels(its, field)
    lines = list(dict.fromkeys(labels))
    x = [numbers[value] for value in its.networks[field]]
    points = its.grouped(column, line=[lines.index(label) for label in labels], x=x)
    everywhere = its.grouped(column, x=x)
    look = _look(len(lines), len(points))
    keyed = look == "lines" and len(lines) > 1
    title = f"{canvas.capitalised(accuracy)} by {name}"
    figure = canvas.headed(9, 4.9, title, _note(points, look, others))
    axes = canvas.panel(figure, 0.75, 1.15 if keyed else 0.6, 0.45)
    number_axis(axes, sorted(numbers.values()), name)
    for position, label in enumerate(lines):
        line = points.loc[position]
        if look == "lines":
            draw_points(axes, line, series_style(position) | {"label": label})
        else:
            _draw_softly(axes, line, "o" if look == "dots" else "-")
    if look == "mean":
        draw_points(axes, everywhere, series_style(0))
    if keyed:
        _legend(axes)
    lost = everywhere[everywhere["diverged"] > 0]
    foot = 0.12 if len(lost) else 0.0
    values = ends(points) + (ends(everywhere) if look == "mean" else [])
    accuracy_axis(axes, values, accuracy, foot=foot)
    for place, point in lost.iterrows():
        text = f"{point['diverged']:.0f} of {point['networks']:.0f}"
        cross(axes, place, text if point["networks"] > 1 else "")
    return figure


def draw_points(axes: Axes, points: Frame, style: dict[str, Any]) -> None:
    """Draws accuracies with error bars of one standard deviation, joined by a line.

    Args:
      axes: in percent.
      points: `mean` and `sd`, as fractions, by the value on the x axis.
      style: keywords of the line.
    """
    known = points.dropna(subset="mean")
    means, reach = 100 * known["mean"].to_numpy(), 100 * known["sd"].fillna(0.0).to_numpy()
    bars = reach if reach.any() else None
    axes.errorbar(known.index.to_numpy(), means, yerr=bars, elinewidth=1.1, capsize=3, **style)


def ends(points: Frame) -> list[float]:
    """Returns the ends of the error bars in percent, for the limits of an axis."""
    known = points.dropna(subset="mean")
    reach = known["sd"].fillna(0.0)
    return [*(100 * (known["mean"] - reach)), *(100 * (known["mean"] + reach))]


def _labels(its: Comparison, field: str) -> list[str]:
    """Returns for each network the values of the other fields that vary, in words."""
    names = field_names(its.varied)
    parts = [
        [f"{names[other]} {shown(value)}" for value in its.networks[other]]
        for other in its.varied
        if other != field
    ]
    return [", ".join(texts) for texts in zip(*parts, strict=True)] or [""] * len(its.networks)


def _look(lines: int, points: int) -> str:
    """Chooses how to draw the lines of a plot: as `lines`, by their `mean`, or as `dots`.

    Up to MOST_LINES are drawn with their names. More are drawn faintly with their mean, or as dots
    if they have too few points for a grid.
    """
    if lines <= MOST_LINES:
        return "lines"
    return "mean" if points >= 2 * lines else "dots"


def _draw_softly(axes: Axes, line: Frame, form: str) -> None:
    style = SOFT_LINE if form == "-" else {"color": BLUE, "alpha": 0.6}
    known = line.dropna(subset="mean")
    axes.plot(known.index, 100 * known["mean"], form, **style)


def _note(points: Frame, look: str, others: list[str]) -> str:
    note = {
        "lines": f"points: mean; {seeds_note(points['count'], 'bars')}",
        "mean": "in colour: mean over all seeds and all values of "
        f"{' and '.join(others)}; bars: ± one standard deviation; in grey: what is averaged",
        "dots": "one dot per architecture, mean over its seeds; "
        f"other fields that vary: {' and '.join(others)}",
    }[look]
    return note + ("; ✗: trainings that diverged" if points["diverged"].any() else "")


def _legend(axes: Axes) -> None:
    height = axes.get_position().height * axes.figure.bbox.height / canvas.DPI
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.03, -0.5 / height), ncols=4, fontsize=9,
        borderaxespad=0, columnspacing=1.4,
    )  # fmt: skip
