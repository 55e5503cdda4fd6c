"""Learning curves of many architectures in one plot per metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import (
    SOFT_LINE,
    metric_axis,
    ordered_styles,
    seeds_note,
    series_style,
    shorten,
    spread,
)
from mnist_jax.analysis.canvas import INK, VERMILLION
from mnist_jax.analysis.sweep.comparison import (
    Architecture,
    Member,
    architectures,
    is_number,
    ordering,
    said,
    statistic,
    validated,
    value_of,
    varied,
)
from mnist_jax.metrics import Metric

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_IN_COLOUR = len(canvas.SERIES)
MOST_IN_ORDER = 10  # more, because colours that have an order are easier to tell apart
BEST, WORST = 5, 2  # how many are in colour if there are too many for all


@dataclass(frozen=True)
class Curve:
    """Mean and standard deviation of one column by epoch, over an architecture's finished seeds."""

    architecture: Architecture
    epochs: list[int]  # those that every seed reached
    means: list[float]
    deviations: list[float]  # 0 with one seed


def curve(architecture: Architecture, column: str, scale: float) -> Curve:
    """Returns mean and deviation over seeds of a history column, multiplied by `scale`."""
    series = [_series(member, column, scale) for member in architecture.finished]
    epochs = sorted(set.intersection(*map(set, series))) if series else []
    found = [statistic(one[epoch] for one in series) for epoch in epochs]
    return Curve(
        architecture, epochs, [s.mean or 0.0 for s in found], [s.deviation or 0.0 for s in found]
    )


def draw_curves(members: Sequence[Member], metric: Metric) -> Figure | None:
    """Draws a metric by epoch, one curve per architecture; None if there is nothing to draw.

    The values are those of validation or, without a validation split, of training. Every metric
    shows the same architectures in the same colours: the best and the worst by `config.best`.
    """
    column = _column(members, metric)
    curves = _curves(members, column, metric.scale)
    if not curves:
        return None
    names = {one.architecture.name for one in curves}
    _, decides = ordering(members)
    leading = _curves(members, _column(members, decides), 1.0)
    leading = [one for one in leading if one.architecture.name in names]
    styles = _styles(leading or curves, members, decides.higher_is_better)
    return _draw(curves, members, column, metric, styles)


def _column(members: Sequence[Member], metric: Metric) -> str:
    column = f"val_{metric.name}"
    return column if validated(members, column) else f"train_{metric.name}"


def _curves(members: Sequence[Member], column: str, scale: float) -> list[Curve]:
    found = [curve(architecture, column, scale) for architecture in architectures(members)]
    return [one for one in found if one.epochs]


def _series(member: Member, column: str, scale: float) -> dict[int, float]:
    """Returns the finite values of a history column by epoch, multiplied by `scale`."""
    values = {row["epoch"]: row.get(column) for row in member.history}
    return {
        epoch: scale * value
        for epoch, value in values.items()
        if value is not None and math.isfinite(value)
    }


def _styles(
    curves: Sequence[Curve], members: Sequence[Member], higher_is_better: bool
) -> dict[str, dict[str, Any]]:
    """Returns the line style of each architecture that is drawn in colour, by its name."""
    fields = varied(members)
    ordered = len(fields) == 1 and all(map(is_number, *fields.values()))
    if ordered and len(curves) <= MOST_IN_ORDER:
        [field] = fields
        rising = sorted(curves, key=lambda one: value_of(one.architecture.config, field))
        names = [one.architecture.name for one in rising]
        return dict(zip(names, ordered_styles(len(names)), strict=True))
    sign = -1 if higher_is_better else 1
    best_first = sorted(curves, key=lambda c: (c.architecture.diverged > 0, sign * c.means[-1]))
    if len(curves) > MOST_IN_COLOUR:
        best_first = best_first[:BEST] + best_first[-WORST:]
    return {one.architecture.name: series_style(i) for i, one in enumerate(best_first)}


def _draw(
    curves: Sequence[Curve],
    members: Sequence[Member],
    column: str,
    metric: Metric,
    styles: dict[str, dict[str, Any]],
) -> Figure:
    name = said(column, metric)
    strong = [one for one in curves if one.architecture.name in styles]
    title = f"{canvas.capitalised(name)} by epoch"
    figure = canvas.headed(9, 5.2, title, _note(curves, strong, members))
    longest = max(len(_short(one)) for one in strong)
    axes = canvas.panel(figure, 0.75, 0.6, 1.55 + 0.068 * longest)
    for one in curves:
        if one not in strong:
            axes.plot(one.epochs, one.means, zorder=1.5, **SOFT_LINE)
    for one in strong:
        _draw_strong(axes, one, styles[one.architecture.name])
    values = [value for one in curves for value in one.means]
    metric_axis(axes, values, name, metric)
    _scale_x(axes, [epoch for one in curves for epoch in one.epochs])
    _mark_diverged(axes, members, column, metric.scale)
    _name_ends(axes, strong, styles, metric)
    return figure


def _draw_strong(axes: Axes, one: Curve, style: dict[str, Any]) -> None:
    every = max(1, len(one.epochs) // 12)
    axes.plot(one.epochs, one.means, markevery=every, zorder=3, markersize=4.5, **style)
    if any(one.deviations):
        low = [mean - away for mean, away in zip(one.means, one.deviations, strict=True)]
        high = [mean + away for mean, away in zip(one.means, one.deviations, strict=True)]
        axes.fill_between(one.epochs, low, high, color=style["color"], alpha=0.15, lw=0)


def _note(curves: Sequence[Curve], strong: Sequence[Curve], members: Sequence[Member]) -> str:
    counts = [len(one.architecture.finished) for one in curves]
    spread_said = seeds_note(counts, "band")
    note = ("mean over seeds; " if max(counts) > 1 else "") + spread_said
    rest = len(curves) - len(strong)
    if rest:
        note += f"; in colour: the {BEST} best and {WORST} worst; in grey: the other {rest}"
    note += "; at the right: values after the last epoch"
    diverged = sum(member.diverged for member in members)
    return note + (f"; ✗: a training diverged ({diverged} in all)" if diverged else "")


def _short(one: Curve) -> str:
    return shorten(one.architecture.name, 31)


def _scale_x(axes: Axes, epochs: list[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    margin = max(0.3, 0.02 * (max(epochs) - min(epochs)))
    axes.set_xlim(min(epochs) - margin, max(epochs) + margin)


def _mark_diverged(axes: Axes, members: Sequence[Member], column: str, scale: float) -> None:
    """Draws diverged trainings as dashed lines that end in a cross, within the axes' limits."""
    for member in members:
        series = _series(member, column, scale) if member.diverged else {}
        if series:
            axes.plot(
                list(series), list(series.values()), "--", color=VERMILLION, lw=0.9, alpha=0.6
            )
            end = list(series.items())[-1]
            low, high = axes.get_ylim()
            place = end[0], min(max(end[1], low), high)
            axes.plot(*place, "x", color=VERMILLION, mew=2, zorder=4, clip_on=False)


def _name_ends(
    axes: Axes, strong: Sequence[Curve], styles: dict[str, dict[str, Any]], metric: Metric
) -> None:
    """Writes name and final value at the right, joined by a thin line to the end of the curve."""
    figure = axes.figure
    frame = axes.get_window_extent()
    ends = [axes.transData.transform((one.epochs[-1], one.means[-1])) for one in strong]
    reach = 0.24 * figure.dpi / frame.width
    start = 1 + 0.7 * reach
    gap = 17 * figure.dpi / canvas.DPI
    heights = spread([end[1] for end in ends], gap, frame.y0, frame.y1)
    for one, height in zip(strong, heights, strict=True):
        y = (height - frame.y0) / frame.height
        style = styles[one.architecture.name]
        axes.annotate(
            "", (one.epochs[-1], one.means[-1]), xytext=(start, y), textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": style["color"], "lw": 0.7, "alpha": 0.6},
            annotation_clip=False,
        )  # fmt: skip
        keys = {"transform": axes.transAxes, "clip_on": False}
        axes.plot([start, start + reach], [y, y], markevery=[1], markersize=4.5, **style, **keys)
        name = f"{_short(one)}  {metric.text(one.means[-1] / metric.scale)}"
        axes.text(
            start + 1.35 * reach,
            y,
            name,
            va="center",
            size=8.5,
            color=INK,
            transform=axes.transAxes,
        )
