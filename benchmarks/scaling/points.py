"""What is measured: the time of a step at each size."""

import contextlib
from typing import Any

from benchmarks.scaling.dimensions import DIMENSIONS
from benchmarks.scaling.process import Process

REPEATS = 5
SECONDS, QUICK_SECONDS = 0.25, 0.08  # that a repeat takes at the least


def measure(name: str, quick: bool) -> list[dict[str, Any]]:
    """The points of a dimension: `dimension network size images seconds`.

    `images` are those of a step, of all networks; `seconds` a step, one a repeat.
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
