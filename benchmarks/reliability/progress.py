"""Prints how far a measurement is, about every half minute, and at once what it has lost."""

import threading
import time

SILENCE = 30.0  # seconds between two lines


class Progress:
    """Counts cases, from any thread."""

    def __init__(self, name: str, cases: int) -> None:
        self._name, self._cases = name, cases
        self._done = self._lost = 0
        self._started = self._said = time.monotonic()
        self._lock = threading.Lock()

    def add(self, wrong: str = "") -> None:
        """Counts a case; prints what is wrong with it, and a line if the last one is old enough."""
        with self._lock:
            self._done += 1
            if wrong:
                self._lost += 1
                print(f"{self._name}: {wrong}", flush=True)
            now = time.monotonic()
            if now - self._said > SILENCE:
                self._said = now
                print(
                    f"{self._name}: {self._done:,} of {self._cases:,} cases, {self._lost} lost, "
                    f"{now - self._started:.0f} s",
                    flush=True,
                )
