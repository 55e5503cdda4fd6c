"""Plots the time per step against the size, one panel per dimension."""

import itertools
import math
from pathlib import Path
from typing import Any

from benchmarks import measured
from benchmarks.scaling.curves import TIMES, Curve, curves, sizes
from benchmarks.scaling.dimensions import DIMENSIONS, Dimension
from mnist_jax.analysis import canvas

HEIGHT = 4.1  # height of a row of panels, in inches


def draw(found: dict[str, Any], path: Path) -> Path:
    """Saves the plot as PNG, one panel per dimension with logarithmic axes; returns its path."""
    drawn = curves(found["points"])
    rows = math.ceil(len(drawn) / 2)
    note = (
        f"{TIMES}: growth of the time when the size doubles. Dashed: proportional scaling. "
        f"{measured.sentence(found['conditions'])}"
    )
    with canvas.styled():
        height = canvas.HEAD + HEIGHT * rows
        figure = canvas.headed(11.0, height, "How the time per step grows", note)
        for i, (name, its) in enumerate(drawn.items()):
            row, column = divmod(i, 2)
            left, right = (0.75, 5.75) if column == 0 else (6.15, 0.35)
            bottom = 0.6 + HEIGHT * (rows - 1 - row)
            top = canvas.HEAD + 0.45 + HEIGHT * row
            _draw_panel(canvas.panel(figure, left, bottom, right, top), DIMENSIONS[name], its)
        path.parent.mkdir(parents=True, exist_ok=True)
        return canvas.save(figure, path)


def _draw_panel(axes: Any, dimension: Dimension, its: list[Curve]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for curve, color, marker in zip(its, canvas.SERIES, canvas.MARKERS, strict=False):
        milliseconds = [1e3 * t for t in curve.seconds]
        axes.plot(curve.sizes, milliseconds, marker=marker, color=color, label=curve.label)
        _draw_proportion(axes, curve.sizes, milliseconds[0], color, -1 if dimension.shared else 1)
        _write_growth(axes, curve, color, above=dimension.shared)
    _label_axes(axes, dimension, its)


def _draw_proportion(axes: Any, sizes: list[int], start: float, color: str, slope: int) -> None:
    ideal = [start * (size / sizes[0]) ** slope for size in sizes]
    axes.plot(sizes, ideal, "--", color=color, lw=1.0, alpha=0.5, zorder=1)


def _write_growth(axes: Any, curve: Curve, color: str, above: bool) -> None:
    """Writes the growth at the middle of each segment, on the side away from the dashed line."""
    points = zip(curve.sizes, curve.seconds, strict=True)
    for ((n, s), (m, t)), grown in zip(itertools.pairwise(points), curve.growth, strict=True):
        axes.annotate(
            f"{TIMES}{grown:.2f}",
            (math.sqrt(n * m), 1e3 * math.sqrt(s * t)),
            xytext=(3, 9 if above else -9),
            textcoords="offset points",
            ha="left",
            va="center",
            size=7.5,
            color=color,
        )


def _label_axes(axes: Any, dimension: Dimension, its: list[Curve]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ticks = sizes(its)
    axes.set_xticks(ticks, [f"{size:,}" for size in ticks], size=9)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08, y=0.12)
    axes.set_xlabel(dimension.axis)
    axes.set_ylabel("ms per step")
    axes.set_title(dimension.title)
    axes.legend(loc="best", fontsize=9)
