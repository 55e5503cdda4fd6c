"""Counts the processors that this process may use."""

import math
import os
from pathlib import Path

LIMITS = Path("/sys/fs/cgroup")  # of a container on Linux, for the processes in it


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

    Reads the files of cgroups, of version 2 or 1 (https://docs.kernel.org/admin-guide/cgroup-v2.html
    and https://docs.kernel.org/scheduler/sched-bwc.html).
    """
    try:
        quota, period = (LIMITS / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (LIMITS / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (LIMITS / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        granted = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # version 2 says "max" if there is no limit
        return None
    return granted if granted > 0 else None  # version 1 says -1
