"""Counts the processors that this process may use."""

import math
import os
from pathlib import Path

from mnist_jax import control_groups


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
    found = [_limit(folder) for folder in control_groups.folders("cpu")]
    return min((granted for granted in found if granted is not None), default=None)


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
