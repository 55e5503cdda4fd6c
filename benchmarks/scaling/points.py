"""Measures the time per step at each size of a dimension."""

import contextlib
from typing import Any

from benchmarks.scaling.dimensions import DIMENSIONS
from benchmarks.scaling.process import Process

REPEATS = 5
SECONDS, QUICK_SECONDS = 0.25, 0.08  # the shortest duration of a repeat


def measure(name: str, quick: bool) -> list[dict[str, Any]]:
    """Measures the points of a dimension, one for each network and size.

    Returns:
      Points with the keys `dimension`, `network`, `size`, `images` (images per step, over all
      networks) and `seconds` (the time per step in each repeat).
    """
    points, watches = [], []
    dimension = DIMENSIONS[name]
    with contextlib.ExitStack() as stack:
        for series in dimension.series:
            for size in series.quick if quick else series.sizes:
                at_least = QUICK_SECONDS if quick else SECONDS
                watch = dimension.watch(series.network, size, at_least)
                if isinstance(watch, Process):
                    stack.callback(watch.close)
                watches.append(watch)
                point = {"dimension": name, "network": series.network, "size": size}
                points.append(point | {"images": watch.images, "seconds": []})
        for _ in range(REPEATS):
            for point, watch in zip(points, watches, strict=True):
                point["seconds"].append(watch.seconds())
    return points
