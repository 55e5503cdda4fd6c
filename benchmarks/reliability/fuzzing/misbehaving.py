"""A target whose cases end in all ways that must be noticed, for the test of `watch`."""

import os
import time
from collections.abc import Callable
from pathlib import Path


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
