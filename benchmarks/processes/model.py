"""A model of the time of a training step over many devices, and its fit to measurements.

A step of one network takes

    compute + reduce, or the time to read its images from the host, if that is longer,

    compute = c0 + c1 b                                  b: examples per device
    reduce  = (P - 1) l + 2 (P - 1) / P n / w            P: devices, n: bytes of the gradient
    read    = r b                                        by a process with one device

where the reduction is that of a ring (Patarasuk and Yuan, 2009, doi:10.1016/j.jpdc.2008.09.002):
2 (P - 1) messages, each of n / P bytes. The members of a population need no reduction; a step of m
members on one device takes p0 + p1 m.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """The straight line `start + slope x`."""

    start: float
    slope: float

    def __call__(self, x: float) -> float:
        """Returns its value at `x`."""
        return self.start + self.slope * x


def fitted(points: Sequence[tuple[float, float]]) -> Line:
    """Returns the line through points `(x, y)` with the least sum of squared relative errors."""
    x, y = np.asarray(points, float).T
    columns = np.stack([1.0 / y, x / y], axis=1)
    start, slope = np.linalg.lstsq(columns, np.ones(len(y)), rcond=None)[0]
    return Line(float(start), float(slope))


@dataclass(frozen=True)
class Link:
    """What connects the devices."""

    name: str
    latency: float  # seconds per two messages of a ring
    seconds_per_byte: float

    def reduce(self, devices: int, size: int) -> float:
        """Returns the seconds in which the devices add their gradients of so many bytes."""
        return (devices - 1) * (self.latency + 2.0 / devices * size * self.seconds_per_byte)


def step(
    compute: Line, link: Link, size: int, devices: int, batch: float, read: float = 0.0
) -> float:
    """Returns the seconds of a step of one network.

    Args:
      compute: seconds against the examples of a device.
      link: between the devices.
      size: bytes of the gradient.
      devices: number of them.
      batch: examples per device.
      read: seconds to read an example, while the devices compute; 0 if they hold the data.
    """
    return max(compute(batch) + link.reduce(devices, size), read * batch)


def weak(compute: Line, link: Link, size: int, devices: int, batch: int) -> float:
    """Returns the share of a perfect speed-up if each device has so many examples."""
    return compute(batch) / step(compute, link, size, devices, batch)


def strong(compute: Line, link: Link, size: int, devices: int, batch: int) -> float:
    """Returns the share of a perfect speed-up if the devices divide so many examples."""
    return compute(batch) / devices / step(compute, link, size, devices, batch / devices)
