"""Axis scales on which close values stay legible, and labels that do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import GREY, INK, VERMILLION
from mnist_jax.metrics import Metric

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes

COARSE = (0, 20, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)
FINE = (0, 10, 20, 30, 40, 50, 60, 70, 80, 85, 88, 90, 92, 94, 95, 96, 97, 98, 98.5)
FINE += (99, 99.2, 99.4, 99.5, 99.6, 99.7, 99.8, 99.85, 99.9)
WIDE = 6.0  # largest over smallest error above which a linear axis would crowd the best values
LEAST_SPAN = 0.5  # percent: least range of an axis, so as not to magnify negligible differences
LEAST_ERROR = 0.01  # percent: one image of 10,000; an error of 0 has no place on a log scale
SOFT_LINE: dict[str, Any] = {"color": GREY, "lw": 0.9, "alpha": 0.45}

Side = Literal["x", "y"]


def error_scale(percent: Any) -> Any:
    """Returns -log10 of the error in percent, a scale that spaces 90, 99 and 99.9 % evenly.

    Matplotlib's `logit` scale has no place for 0 % and 100 %, and widens low accuracies as well.
    """
    return -np.log10(np.maximum(100.0 - np.asarray(percent, float), LEAST_ERROR))


def is_wide(percents: Iterable[float]) -> bool:
    """True if accuracies in percent differ so much that they need `error_scale`."""
    errors = [max(100 - value, LEAST_ERROR) for value in percents]
    return bool(errors) and max(errors) > WIDE * min(errors)


def metric_axis(
    axes: Axes,
    values: Sequence[float],
    name: str,
    metric: Metric,
    side: Side = "y",
    foot: float = 0.0,
) -> None:
    """Sets scale, limits and label of an axis for values of a metric.

    Args:
      axes: the axes.
      values: in the unit that people read: fractions in percent.
      name: what the label calls them.
      metric: the metric.
      side: the axis.
      foot: room to leave for crosses below the values, as a fraction of their range.
    """
    if is_accuracy(values, metric):
        accuracy_axis(axes, values, name, side, foot)
        return
    low, high = min(values, default=0.0), max(values, default=1.0)
    label = f"{name} (%)" if metric.percent else f"mean {name} per image"
    if spans_decades(values):
        log_axis(axes, side)
        _set(axes, side, 0.9 * low * (low / high) ** foot, 1.1 * high, f"{label} (log scale)")
    else:
        margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        _set(axes, side, low - margin - foot * (high - low), high + margin, label)


def is_accuracy(values: Iterable[float], metric: Metric) -> bool:
    """True if values of a metric are percentages from 0 to 100 that tell what is right."""
    return metric.percent and metric.higher_is_better and all(0 <= v <= 100 for v in values)


def spans_decades(values: Sequence[float]) -> bool:
    """True if values are positive and differ so much that they need a log scale."""
    return min(values, default=0.0) > 0 and max(values) > 8 * min(values)


def error_bars(
    axes: Axes,
    places: Any,
    means: Any,
    deviations: Any,
    metric: Metric,
    side: Side = "y",
    **style: Any,
) -> list[float]:
    """Draws means of a metric with error bars of one standard deviation.

    Args:
      axes: the axes.
      places: `[n]`, where each mean is on the other axis.
      means: `[n]`, as in the tables; NaN is left out.
      deviations: `[n]`, as in the tables; NaN where there is none.
      metric: the metric.
      side: the axis of the means.
      style: keywords of matplotlib's `errorbar`.

    Returns:
      The ends of the bars, as `bar_ends` returns them.
    """
    known = ~np.isnan(np.asarray(means, float))
    places, means, deviations = (np.asarray(v, float)[known] for v in (places, means, deviations))
    some = deviations > 0
    bars = metric.scale * np.where(some, deviations, np.nan) if some.any() else None
    at = (metric.scale * means, places) if side == "x" else (places, metric.scale * means)
    axes.errorbar(*at, **{f"{side}err": bars}, elinewidth=1.1, **style)
    return bar_ends(means, deviations, metric)


def bar_ends(means: Any, deviations: Any, metric: Metric) -> list[float]:
    """Returns the ends of error bars in the unit that people read, for the limits of an axis.

    Bars of fractions end at 0 and 100 %, unless a mean is beyond. NaN is as in `error_bars`.
    """
    means, reach = np.asarray(means, float), np.nan_to_num(np.asarray(deviations, float))
    means, reach = means[~np.isnan(means)], reach[~np.isnan(means)]
    ends = metric.scale * np.concatenate([means - reach, means + reach])
    bounded = metric.percent and ((means >= 0) & (means <= 1)).all()
    return (ends.clip(0, 100) if bounded else ends).tolist()


def log_axis(axes: Axes, side: Side = "y", *, fine: bool = True, form: str = "g") -> None:
    """Sets a log scale whose ticks are plain numbers far enough apart to be read.

    Args:
      axes: the axes.
      side: the axis.
      fine: True for ticks at 1, 2 and 5 times powers of ten, False at the powers alone.
      form: format specification of the ticks' numbers.
    """
    from matplotlib.ticker import LogLocator

    getattr(axes, f"set_{side}scale")("log")
    axis = getattr(axes, f"{side}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if fine else (1,)))
    axis.set_major_formatter(f"{{x:{form}}}")
    axis.minorticks_off()


def accuracy_axis(
    axes: Axes, percents: Sequence[float], name: str, side: Side = "y", foot: float = 0.0
) -> None:
    """Sets scale, limits and label of an axis for accuracies in percent, from 0 to 100.

    The scale is linear, or logarithmic in the error if the accuracies differ a lot. `foot` is the
    room to leave for crosses below the values, as a fraction of their range.
    """
    percents = percents or [0.0, 100.0]
    low, high = min(percents), max(percents)
    if not is_wide(percents):
        margin = max(0.06 * (high - low), (LEAST_SPAN - (high - low)) / 2)
        top = min(high + margin, 100 + 0.3 * margin)
        _set(axes, side, low - margin - foot * (high - low), top, f"{name} (%)")
        return
    start, end = error_scale([low, high])
    margin = 0.05 * (end - start)
    low, high = _percent(start - margin - foot * (end - start)), _percent(end + margin)
    getattr(axes, f"set_{side}scale")("function", functions=(error_scale, _percent))
    ticks = _ticks(low, high)
    axis = getattr(axes, f"{side}axis")
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    _set(axes, side, low, high, f"{name} (%, log error scale)")


def _percent(scaled: Any) -> Any:
    """Returns the percentages at positions on `error_scale`."""
    return 100 - 10 ** -np.asarray(scaled, float)


def _ticks(low: float, high: float) -> list[float]:
    """Returns the coarse ticks in range and, where there is room between them, fine ticks."""
    ticks = [tick for tick in COARSE if low <= tick <= high]
    room = (error_scale(high) - error_scale(low)) / 12
    for tick in FINE:
        near = any(abs(error_scale(tick) - error_scale(other)) < room for other in ticks)
        if low <= tick <= high and not near:
            ticks.append(tick)
    return sorted(ticks)


def _set(axes: Axes, side: Side, low: float, high: float, label: str) -> None:
    axes.set(**{f"{side}lim": (low, high), f"{side}label": label})


def number_axis(axes: Axes, values: Sequence[float], name: str) -> None:
    """Sets scale, ticks and label of the x axis for the values of a numeric field.

    The scale is logarithmic if the largest value is more than 20 times the smallest positive one.
    """
    least = min((value for value in values if value > 0), default=0.0)
    note = ""
    if min(values) >= 0 and max(values) > 20 * least > 0:
        note = " (log scale)"
        if min(values) > 0:
            log_axis(axes, "x", fine=False)
        else:
            axes.set_xscale("symlog", linthresh=least, linscale=0.5)
            axes.xaxis.set_major_formatter("{x:g}")
            note = f" (log scale, linear below {least:g})"
    if len(values) <= 12:
        axes.set_xticks(values, [f"{value:.4g}" for value in values])
        axes.xaxis.minorticks_off()
    axes.margins(x=0.06)
    axes.set_xlabel(name + note)


def series_style(position: int) -> dict[str, Any]:
    """Returns the style of the line at this position: its own colour, marker and dashes."""
    turn = position // len(canvas.SERIES)
    return {
        "color": canvas.SERIES[position % len(canvas.SERIES)],
        "marker": canvas.MARKERS[position % len(canvas.MARKERS)],
        "dashes": canvas.DASHES[(position + turn) % len(canvas.DASHES)],
    }


def ordered_styles(count: int) -> list[dict[str, Any]]:
    """Returns line styles from dark to light, for lines that have an order.

    The palette can be put in order with any kind of colour vision.
    """
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.linspace(0.0, 0.8, max(count, 1)))
    return [
        series_style(position) | {"color": tuple(shade)} for position, shade in enumerate(shades)
    ]


def cross(axes: Axes, x: float, text: str) -> None:
    """Marks a diverged training, which has no result, by a cross at the bottom of the axes."""
    place = axes.get_xaxis_transform()
    style = {"color": VERMILLION, "mew": 2, "clip_on": False, "zorder": 4}
    axes.plot([x], [0.02], "x", transform=place, **style)
    axes.annotate(
        text, (x, 0.02), xycoords=place, xytext=(0, 7), textcoords="offset points",
        ha="center", va="bottom", size=8, color=VERMILLION,
    )  # fmt: skip


def keep_apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Returns positions at least `gap` apart in [low, high], as near as possible to `wanted`.

    With rank times gap subtracted from the wanted positions, this is isotonic regression. Pooling
    adjacent violators gives its least-squares solution (Ayer et al., Annals of Mathematical
    Statistics, 1955).
    """
    order = np.argsort(wanted, kind="stable")
    pools: list[list[float]] = []
    for rank, place in enumerate(order):
        pools.append([wanted[place] - rank * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = np.array([np.mean(pool) for pool in pools for _ in pool])
    top = max(low, high - gap * (len(level) - 1))
    found = np.empty(len(level))
    found[order] = np.clip(level, low, top) + gap * np.arange(len(level))
    return found.tolist()


def label_points(axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Writes names beside points where there is room; earlier points take precedence."""
    figure = axes.figure
    renderer = figure.canvas.get_renderer()  # pyright: ignore[reportAttributeAccessIssue]
    frame = axes.get_window_extent(renderer)
    centers = axes.transData.transform(np.array(points, float).reshape(-1, 2))
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in centers]
    for point, name in zip(points, names, strict=True):
        for offset, align in (
            ((8, 0), ("left", "center")),
            ((-8, 0), ("right", "center")),
            ((0, 8), ("center", "bottom")),
            ((0, -8), ("center", "top")),
        ):
            text = axes.annotate(
                name, point, xytext=offset, textcoords="offset points",
                ha=align[0], va=align[1], size=8, color=INK,
            )  # fmt: skip
            box = text.get_window_extent(renderer).extents
            inside = frame.x0 <= box[0] and box[2] <= figure.bbox.x1 and frame.y0 <= box[1]
            if inside and box[3] <= frame.y1 and not any(_overlap(box, other) for other in taken):
                taken.append((box[0], box[1], box[2], box[3]))
                break
            text.remove()


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def seeds_note(counts: Iterable[int], drawn: str) -> str:
    """Describes the spread that is drawn: `bars: ± one standard deviation over 5 seeds`."""
    counts = sorted(set(counts) - {0})
    if not counts or counts == [1]:
        return "one seed each, so no spread is shown"
    low, high = counts[0], counts[-1]
    seeds = canvas.count(high, "seed") if low == high else f"{low} to {high} seeds"
    return f"{drawn}: ± one standard deviation over {seeds}"
