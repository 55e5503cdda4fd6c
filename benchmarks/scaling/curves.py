"""Summarises the measured points as curves: the medians of each series, and their growth."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scaling.dimensions import DIMENSIONS

TIMES = "\N{MULTIPLICATION SIGN}"  # precedes a factor of growth


@dataclass(frozen=True)
class Curve:
    """The points of a series, in the order of their sizes."""

    label: str
    sizes: list[int]
    seconds: list[float]  # median time per step
    deviations: list[float]  # half the interquartile range of the time per step
    images: list[int]  # images per step

    @property
    def growth(self) -> list[float]:
        """The factor by which the time grows per doubling of the size, between adjacent points."""
        pairs = itertools.pairwise(zip(self.sizes, self.seconds, strict=True))
        return [(t / s) ** (1 / math.log2(m / n)) for (n, s), (m, t) in pairs]


def curves(points: Sequence[dict[str, Any]]) -> dict[str, list[Curve]]:
    """Returns the curves of each dimension that was measured, by its name."""
    found: dict[str, list[Curve]] = {}
    for name, dimension in DIMENSIONS.items():
        for series in dimension.series:
            its = [p for p in points if (p["dimension"], p["network"]) == (name, series.network)]
            if its:
                found.setdefault(name, []).append(_curve(series.label, its))
    return found


def _curve(label: str, points: Sequence[dict[str, Any]]) -> Curve:
    quartiles = [statistics.quantiles(p["seconds"], n=4, method="inclusive") for p in points]
    return Curve(
        label,
        [p["size"] for p in points],
        [middle for _, middle, _ in quartiles],
        [(high - low) / 2 for low, _, high in quartiles],
        [p["images"] for p in points],
    )


def sizes(curves: Sequence[Curve]) -> list[int]:
    """Returns all sizes that occur in any of the curves, in ascending order."""
    return sorted({size for curve in curves for size in curve.sizes})
