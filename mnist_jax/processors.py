"""Counts the processors that this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

LIMITS = Path("/sys/fs/cgroup")  # of control groups on Linux, and so of a container
GROUPS = Path("/proc/self/cgroup")  # those that this process is in


def count() -> int:
    """Returns how many processors the operating system and a container let this process use."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    granted = _granted()
    return allowed if granted is None else max(1, min(allowed, math.ceil(granted)))


def _granted() -> float | None:
    """Returns the processors' worth of time that a container grants; None if it sets no limit.

    The lowest limit of the process' own control group and of those above it counts. Reads the files
    of version 2 or 1 (https://docs.kernel.org/admin-guide/cgroup-v2.html and
    https://docs.kernel.org/scheduler/sched-bwc.html).
    """
    found = [_limit(folder) for folder in _groups()]
    return min((granted for granted in found if granted is not None), default=None)


def _groups() -> Iterator[Path]:
    """Yields the folders of this process' control groups, up to the roots of both versions."""
    try:
        lines = GROUPS.read_text().splitlines()
    except OSError:
        lines = []
    for line in ["0::/", "1:cpu:/", *lines]:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers or "cpu" in controllers.split(","):
            root = LIMITS / "cpu" if controllers else LIMITS
            group = root / path.lstrip("/")
            while group.is_relative_to(root):
                yield group
                group = group.parent


def _limit(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        granted = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # version 2 says "max" if there is no limit
        return None
    return granted if granted > 0 else None  # version 1 says -1
