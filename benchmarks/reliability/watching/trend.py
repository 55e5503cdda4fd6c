"""Fits a line to what a training has in its second half."""

import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.reliability.watching.samples import Sample

PARTS = 20  # of the second half


def slope(
    samples: Sequence[Sample],
    of: Callable[[Sample], float],
    chosen: Callable[[Iterable[float]], float] = min,
) -> float:
    """Returns by how much a number grows per epoch in the second half of a training.

    The second half is cut into 20 parts. Of each, one number is taken: usually the least, which
    leaves out what is there only while a checkpoint is written. The slope is the median of the
    slopes between all pairs, on which single jumps have no influence.

    Args:
      samples: of the whole training.
      of: the number in a sample.
      chosen: takes one of many numbers.

    Raises:
      RuntimeError: there are too few samples.
    """
    total = samples[-1].done
    late = [its for its in samples if 0.5 * total <= its.done < total]
    parts: dict[int, list[Sample]] = {}
    for its in late:
        parts.setdefault(int(2 * PARTS * its.done / total), []).append(its)
    points = [
        (statistics.mean(its.done for its in part), chosen(map(of, part)))
        for _, part in sorted(parts.items())
    ]
    if len(points) < PARTS // 4:
        raise RuntimeError(f"too few samples in the second half: {len(late)}")
    slopes = [(y - x) / (b - a) for (a, x), (b, y) in itertools.combinations(points, 2)]
    return statistics.median(slopes)
