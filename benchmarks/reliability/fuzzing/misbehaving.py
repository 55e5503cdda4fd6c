"""Targets whose cases end in all ways that must be noticed, for the tests of `watch`."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.fuzzing.worker import given


def ending(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: case 3 ends its process, 5 takes long, 7 takes memory, and 9 raises an error."""
    del folder, samples

    def attempt(number: int) -> str:
        if number == 3:
            os.abort()
        if number == 5:
            time.sleep(60)
        if number == 7:
            return str(len(bytes(bytearray(700 << 20))))
        if number == 9:
            raise ValueError("a traceback")
        return "fine"

    return attempt


def leaving(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: case 3 ends its process as if all were done."""
    del folder, samples
    return lambda number: os._exit(0) if number == 3 else "fine"


def repeating(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: every third case has the same input."""
    del folder, samples

    def attempt(number: int) -> str:
        given(bytes([number % 3]))
        return "fine"

    return attempt
