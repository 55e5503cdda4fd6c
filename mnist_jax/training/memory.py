"""Memory that compiled programs need and that devices have, in bytes."""

import os
from pathlib import Path
from typing import Any

SHARE = 0.8  # of a device's memory; the rest is for the process and the system
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def needed(compiled: Any) -> int:
    """Returns the bytes per device that XLA says a compiled program needs; 0 if unknown."""
    found = compiled.memory_analysis()
    if found is None:  # not every backend reports it
        return 0
    return (
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
        + found.temp_size_in_bytes
    )


def available(devices: Any) -> float:
    """Returns the bytes that a program may use on each of the devices; infinite if unknown."""
    if devices[0].platform != "cpu":
        told = devices[0].memory_stats() or {}
        return SHARE * told.get("bytes_limit", float("inf"))
    return SHARE * _of_machine() / len(devices)


def _of_machine() -> float:
    """Returns the memory of the machine, or the limit of this process's container if lower."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    known = [float(pages)]
    for path in LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            known.append(float(text))
    return min(known)
