"""Learning curves of many architectures in one plot per metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pandas import DataFrame

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import (
    SOFT_LINE,
    keep_apart,
    metric_axis,
    ordered_styles,
    seeds_note,
    series_style,
)
from mnist_jax.analysis.canvas import INK, VERMILLION, shorten
from mnist_jax.analysis.sweep.section import Frame
from mnist_jax.analysis.sweep.settings import is_number
from mnist_jax.analysis.sweep.table import Comparison, column_label
from mnist_jax.members import DIVERGED, FINISHED
from mnist_jax.metrics import Metric

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_IN_COLOUR = len(canvas.SERIES)
MOST_IN_ORDER = 10  # more, because colours that have an order are easier to tell apart
BEST, WORST = 5, 2  # how many are in colour if there are too many for all
Styles = dict[str, dict[str, Any]]  # keywords of a line, by architecture


def curves(comparison: Comparison, column: str) -> dict[str, Frame]:
    """Returns the curve of each architecture in a column of `history`, in the order given.

    A curve has one row per epoch that all finished seeds reached, with their `mean` and `sd` (0
    with one seed). Architectures without such an epoch are left out.
    """
    finished = comparison.history[comparison.history["status"] == FINISHED]
    found = {}
    for name, rows in finished.groupby("architecture", sort=False):
        seeds = rows.pivot(index="epoch", columns="seed", values=column).dropna()
        if len(seeds):
            spread = seeds.std(axis=1).fillna(0.0)
            found[str(name)] = DataFrame({"mean": seeds.mean(axis=1), "sd": spread})
    return found


def draw_curves(comparison: Comparison, metric: Metric) -> Figure | None:
    """Draws a metric by epoch, one curve per architecture; None if there is nothing to draw.

    The values are those of validation or, without a validation split, of training. Every metric
    shows the same architectures in the same colours: the best and the worst by `config.best`.
    """
    column = _column(comparison, metric)
    found = {name: metric.scale * curve for name, curve in curves(comparison, column).items()}
    if not found:
        return None
    leading = curves(comparison, _column(comparison, comparison.metric))
    leading = {name: curve for name, curve in leading.items() if name in found}
    return _draw(found, comparison, column, metric, _styles(leading or found, comparison))


def _column(comparison: Comparison, metric: Metric) -> str:
    column = f"val_{metric.name}"
    return column if comparison.validated(column) else f"train_{metric.name}"


def _styles(found: dict[str, Frame], comparison: Comparison) -> Styles:
    """Returns the line style of each architecture that is drawn in colour, by its name."""
    ordered = len(comparison.varied) == 1 and all(map(is_number, *comparison.varied.values()))
    if ordered and len(found) <= MOST_IN_ORDER:
        [field] = comparison.varied
        names = sorted(found, key=comparison.architectures[field].__getitem__)
        return dict(zip(names, ordered_styles(len(names)), strict=True))
    sign = -1 if comparison.metric.higher_is_better else 1
    lost = comparison.architectures["diverged"] > 0
    best_first = sorted(found, key=lambda name: (lost[name], sign * found[name]["mean"].iloc[-1]))
    if len(best_first) > MOST_IN_COLOUR:
        best_first = best_first[:BEST] + best_first[-WORST:]
    return {name: series_style(i) for i, name in enumerate(best_first)}


def _draw(
    found: dict[str, Frame], comparison: Comparison, column: str, metric: Metric, styles: Styles
) -> Figure:
    name = column_label(column, metric)
    title = f"{canvas.capitalised(name)} by epoch"
    strong = {name: curve for name, curve in found.items() if name in styles}
    figure = canvas.headed(9, 5.2, title, _note(found, len(strong), comparison))
    longest = max(len(shorten(name, 31)) for name in strong)
    axes = canvas.panel(figure, 0.75, 0.6, 1.55 + 0.068 * longest)
    for architecture, curve in found.items():
        if architecture in strong:
            _draw_strong(axes, curve, styles[architecture])
        else:
            axes.plot(curve.index, curve["mean"], zorder=1.5, **SOFT_LINE)
    metric_axis(axes, [value for curve in found.values() for value in curve["mean"]], name, metric)
    _scale_x(axes, [epoch for curve in found.values() for epoch in curve.index])
    _mark_diverged(axes, comparison, column, metric.scale)
    _name_ends(axes, strong, styles, metric)
    return figure


def _draw_strong(axes: Axes, curve: Frame, style: dict[str, Any]) -> None:
    every = max(1, len(curve) // 12)
    axes.plot(curve.index, curve["mean"], markevery=every, zorder=3, markersize=4.5, **style)
    if curve["sd"].any():
        low, high = curve["mean"] - curve["sd"], curve["mean"] + curve["sd"]
        axes.fill_between(curve.index, low, high, color=style["color"], alpha=0.15, lw=0)


def _note(found: dict[str, Frame], strong: int, comparison: Comparison) -> str:
    seeds = comparison.architectures["seeds"][[*found]]
    note = ("mean over seeds; " if seeds.max() > 1 else "") + seeds_note(seeds, "band")
    if len(found) > strong:
        order = column_label(_column(comparison, comparison.metric), comparison.metric)
        note += f"; in colour: the {BEST} best and {WORST} worst by {order}"
        note += f"; in grey: the other {len(found) - strong}"
    note += "; at the right: values after the last epoch"
    diverged = comparison.diverged.sum()
    return note + (f"; ✗: a training diverged ({diverged} in all)" if diverged else "")


def _scale_x(axes: Axes, epochs: list[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    margin = max(0.3, 0.02 * (max(epochs) - min(epochs)))
    axes.set_xlim(min(epochs) - margin, max(epochs) + margin)


def _mark_diverged(axes: Axes, comparison: Comparison, column: str, scale: float) -> None:
    """Draws diverged trainings as dashed lines that end in a cross, within the axes' limits."""
    low, high = axes.get_ylim()
    lost = comparison.history[comparison.history["status"].str.startswith(DIVERGED)]
    for _, rows in lost.groupby(["architecture", "seed"]):
        line = scale * rows.set_index("epoch")[column].dropna()
        if len(line):
            axes.plot(line.index, line, "--", color=VERMILLION, lw=0.9, alpha=0.6)
            end = min(max(line.iloc[-1], low), high)
            axes.plot(line.index[-1], end, "x", color=VERMILLION, mew=2, zorder=4, clip_on=False)


def _name_ends(axes: Axes, strong: dict[str, Frame], styles: Styles, metric: Metric) -> None:
    """Writes name and final value at the right, joined by a thin line to the end of the curve."""
    dpi, frame = axes.figure.dpi, axes.get_window_extent()
    ends = [(curve.index[-1], curve["mean"].iloc[-1]) for curve in strong.values()]
    heights = [axes.transData.transform(end)[1] for end in ends]
    heights = keep_apart(heights, 17 * dpi / canvas.DPI, frame.y0, frame.y1)
    reach = 0.24 * dpi / frame.width
    start = 1 + 0.7 * reach
    for name, end, height in zip(strong, ends, heights, strict=True):
        style, y = styles[name], (height - frame.y0) / frame.height
        axes.annotate(
            "", end, xytext=(start, y), textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": style["color"], "lw": 0.7, "alpha": 0.6},
            annotation_clip=False,
        )  # fmt: skip
        keys = {"transform": axes.transAxes, "clip_on": False}
        axes.plot([start, start + reach], [y, y], markevery=[1], markersize=4.5, **style, **keys)
        text = f"{shorten(name, 31)}  {metric.text(end[1] / metric.scale)}"
        place = {"va": "center", "size": 8.5, "color": INK, "transform": axes.transAxes}
        axes.text(start + 1.35 * reach, y, text, **place)
