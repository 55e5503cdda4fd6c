"""Learning curves of many architectures, one over the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import INK, VERMILLION
from mnist_jax.analysis.comparison import (
    Architecture,
    Member,
    architectures,
    is_number,
    statistic,
    value_of,
    varied,
)
from mnist_jax.analysis.comparison_axes import (
    SOFT_LINE,
    accuracy_axis,
    ordered_styles,
    seeds_note,
    series_style,
    shorten,
    spread,
)

if TYPE_CHECKING:  # matplotlib takes half a second to import: only who draws pays for it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_IN_COLOUR = len(canvas.SERIES)
MOST_IN_ORDER = 10  # colours with an order can be told apart further
BEST, WORST = 5, 2  # in colour where not all can be


@dataclass(frozen=True)
class Curve:
    """One quantity of an architecture by epoch, over the seeds that finished."""

    architecture: Architecture
    epochs: list[int]  # those that each seed reached
    means: list[float]
    deviations: list[float]  # 0 with one seed


def curve(architecture: Architecture, name: str, scale: float) -> Curve:
    """The mean over seeds, times `scale`, of a field of the history."""
    series = [_series(member, name, scale) for member in architecture.finished]
    epochs = sorted(set.intersection(*map(set, series))) if series else []
    found = [statistic(one[epoch] for one in series) for epoch in epochs]
    return Curve(
        architecture, epochs, [s.mean or 0.0 for s in found], [s.deviation or 0.0 for s in found]
    )


def draw_accuracy_curves(members: Sequence[Member]) -> Figure | None:
    """Validation accuracy by epoch (training without a validation split); None where is none."""
    name = _metric(members, "accuracy")
    curves = _curves(members, name, 100.0)
    return _draw(curves, members, name, _styles(curves, members)) if curves else None


def draw_loss_curves(members: Sequence[Member]) -> Figure | None:
    """Validation loss by epoch, the same architectures in the same colours."""
    name = _metric(members, "loss")
    leading = _curves(members, _metric(members, "accuracy"), 100.0)
    curves = _curves(members, name, 1.0)
    return _draw(curves, members, name, _styles(leading, members)) if curves else None


def _metric(members: Sequence[Member], kind: str) -> str:
    validated = any(_series(member, f"val_{kind}", 1.0) for member in members)
    return f"{'val' if validated else 'train'}_{kind}"


def _curves(members: Sequence[Member], name: str, scale: float) -> list[Curve]:
    found = [curve(architecture, name, scale) for architecture in architectures(members)]
    return [one for one in found if one.epochs]


def _series(member: Member, name: str, scale: float) -> dict[int, float]:
    """The finite values by epoch."""
    values = {row["epoch"]: row.get(name) for row in member.history}
    return {
        epoch: scale * value
        for epoch, value in values.items()
        if value is not None and math.isfinite(value)
    }


def _styles(curves: Sequence[Curve], members: Sequence[Member]) -> dict[str, dict[str, Any]]:
    """The look of each architecture that is drawn in colour, by its name."""
    fields = varied(members)
    ordered = len(fields) == 1 and all(map(is_number, *fields.values()))
    if ordered and len(curves) <= MOST_IN_ORDER:
        [field] = fields
        rising = sorted(curves, key=lambda one: value_of(one.architecture.config, field))
        names = [one.architecture.name for one in rising]
        return dict(zip(names, ordered_styles(len(names)), strict=True))
    best_first = sorted(curves, key=lambda one: -one.means[-1])
    if len(curves) > MOST_IN_COLOUR:
        best_first = best_first[:BEST] + best_first[-WORST:]
    return {one.architecture.name: series_style(i) for i, one in enumerate(best_first)}


def _draw(
    curves: Sequence[Curve],
    members: Sequence[Member],
    name: str,
    styles: dict[str, dict[str, Any]],
) -> Figure:
    split, _, quantity = name.partition("_")
    said = "Validation" if split == "val" else "Training"
    strong = [one for one in curves if one.architecture.name in styles]
    figure = canvas.headed(9, 5.2, f"{said} {quantity} by epoch", _note(curves, strong, members))
    longest = max(len(_short(one)) for one in strong)
    axes = canvas.panel(figure, 0.75, 0.6, 1.55 + 0.068 * longest)
    for one in curves:
        if one not in strong:
            axes.plot(one.epochs, one.means, zorder=1.5, **SOFT_LINE)
    for one in strong:
        _draw_strong(axes, one, styles[one.architecture.name])
    values = [value for one in curves for value in one.means]
    _scale_y(axes, curves, values, f"{said.lower()} {quantity}")
    _scale_x(axes, [epoch for one in curves for epoch in one.epochs])
    _mark_diverged(axes, members, name, 100.0 if quantity == "accuracy" else 1.0)
    _name_ends(axes, strong, styles, "{:.2f} %" if quantity == "accuracy" else "{:.4f}")
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
        note += f"; in colour the {BEST} best and {WORST} worst, in grey the other {rest}"
    note += "; at the right the value after the last epoch"
    diverged = sum(not member.finished for member in members)
    return note + (f"; ✗ ends a training that diverged ({diverged} in all)" if diverged else "")


def _short(one: Curve) -> str:
    return shorten(one.architecture.name, 31)


def _scale_y(axes: Axes, curves: Sequence[Curve], values: list[float], label: str) -> None:
    if label.endswith("accuracy"):
        accuracy_axis(axes, values, label)
        return
    wide = min(values) > 0 and max(values) > 8 * min(values)
    if wide:
        from matplotlib.ticker import FuncFormatter, LogLocator

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.minorticks_off()
        axes.set_ylim(0.9 * min(values), 1.1 * max(values))
    else:
        margin = 0.06 * (max(values) - min(values)) or 0.1 * max(values) or 1.0
        axes.set_ylim(min(values) - margin, max(values) + margin)
    axes.set_ylabel(f"{label}, mean of an image{' (log scale)' if wide else ''}")


def _scale_x(axes: Axes, epochs: list[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    margin = max(0.3, 0.02 * (max(epochs) - min(epochs)))
    axes.set_xlim(min(epochs) - margin, max(epochs) + margin)


def _mark_diverged(axes: Axes, members: Sequence[Member], name: str, scale: float) -> None:
    """The way of a training up to where it diverged, within the limits that the others set."""
    for member in members:
        series = {} if member.finished else _series(member, name, scale)
        if series:
            axes.plot(
                list(series), list(series.values()), "--", color=VERMILLION, lw=0.9, alpha=0.6
            )
            end = list(series.items())[-1]
            low, high = axes.get_ylim()
            place = end[0], min(max(end[1], low), high)
            axes.plot(*place, "x", color=VERMILLION, mew=2, zorder=4, clip_on=False)


def _name_ends(
    axes: Axes, strong: Sequence[Curve], styles: dict[str, dict[str, Any]], form: str
) -> None:
    """Name and final value at the right, each joined by a thin line to the end of its curve."""
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
        name = f"{_short(one)}  {form.format(one.means[-1])}"
        axes.text(
            start + 1.35 * reach,
            y,
            name,
            va="center",
            size=8.5,
            color=INK,
            transform=axes.transAxes,
        )
