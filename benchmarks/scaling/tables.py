"""Formats the measurements as tables in Markdown."""

import itertools
import math
from typing import Any

from benchmarks import measured
from benchmarks.scaling.curves import TIMES, Curve, curves, sizes
from benchmarks.scaling.dimensions import DIMENSIONS, Dimension
from benchmarks.scaling.points import REPEATS


def table(found: dict[str, Any]) -> str:
    """Returns one table per dimension, with the measuring conditions under them."""
    parts = [_table(DIMENSIONS[name], its) for name, its in curves(found["points"]).items()]
    return "\n\n".join([*parts, f"{_note()} {measured.sentence(found['conditions'])}"])


def _note() -> str:
    return (
        f"Medians of {REPEATS} repeats, taken in turn, ± half the interquartile range; {TIMES} is "
        f"the factor by which the time per step grows when the size doubles."
    )


def _table(dimension: Dimension, its: list[Curve]) -> str:
    heads = [cell for c in its for cell in (f"{c.label}: ms per step", "images/s", TIMES)]
    rows = [[f"{size:,}", *itertools.chain(*(_cells(c, size) for c in its))] for size in sizes(its)]
    lines = [[dimension.axis, *heads], ["---:"] * (1 + len(heads)), *rows]
    return "\n".join([f"{dimension.title}:", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _cells(curve: Curve, size: int) -> list[str]:
    if size not in curve.sizes:
        return ["", "", ""]
    i = curve.sizes.index(size)
    seconds = curve.seconds[i]
    grown = f"{curve.growth[i - 1]:.2f}" if i else ""
    time_of_step = f"{_digits(1e3 * seconds)} ± {_digits(1e3 * curve.deviations[i])}"
    return [time_of_step, f"{curve.images[i] / seconds:,.0f}", grown]


def _digits(value: float) -> str:
    """Formats a number with three significant digits, or without decimals from 100 on."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"
