"""What a compiled program needs, and what a device has."""

import os
from pathlib import Path
from typing import Any

SHARE = 0.8  # of the memory that there is: the rest is for the process and the system
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def needed(compiled: Any) -> int:
    """Bytes on each device while a compiled program runs, as XLA counts them."""
    found = compiled.memory_analysis()
    if found is None:  # a backend need not tell
        return 0
    return (
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
        + found.temp_size_in_bytes
    )


def available(devices: Any) -> float:
    """Bytes that a program may use on each of the devices; infinite where nothing tells."""
    if devices[0].platform != "cpu":
        told = devices[0].memory_stats() or {}
        return SHARE * told.get("bytes_limit", float("inf"))
    return SHARE * _of_machine() / len(devices)


def _of_machine() -> float:
    """The memory of the machine, or of the container that this process runs in."""
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
