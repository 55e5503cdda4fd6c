"""Measures how long a run or a sweep takes, over all processes that resume it."""

import time
from dataclasses import dataclass
from pathlib import Path

from mnist_jax.errors import print_warning
from mnist_jax.files import DamagedFileError, damaged, read_json, write_json
from mnist_jax.presence import exists
from mnist_jax.training import sound


@dataclass
class Clock:
    """Measures how many seconds a training takes, over all processes that resume it."""

    started: float  # when this process started, by `time.perf_counter`
    earlier: float = 0.0  # total of earlier processes
    compiling: float = 0.0  # compilation in all processes

    def record(self) -> dict[str, float]:
        """Returns the times as saved in checkpoints and in `result.json`."""
        total = self.earlier + time.perf_counter() - self.started
        return {"compile_seconds": self.compiling, "total_seconds": total}

    def go_on(self, record: dict[str, float]) -> None:
        """Adds the times of earlier processes, from the record of a checkpoint."""
        self.earlier += record["total_seconds"]
        self.compiling += record["compile_seconds"]


class SweepClock:
    """Measures the seconds that a sweep takes, summed over all processes that work on it."""

    def __init__(self, folder: Path, started: float) -> None:
        self._path = folder / "clock.json"
        self._earlier = self._read() if exists(self._path) else 0.0
        self._started = started

    def _read(self) -> float:
        try:
            seconds = read_json(self._path, dict).get("seconds")
            if sound.is_number(seconds):
                return seconds
            raise damaged(self._path, "there are no seconds")
        except DamagedFileError as error:
            print_warning(f"{error.cause}; the time starts anew")
            return 0.0

    def seconds(self) -> float:
        """Returns the seconds so far."""
        return self._earlier + time.perf_counter() - self._started

    def keep(self) -> None:
        """Writes the seconds so far to the folder of the sweep."""
        write_json(self._path, {"seconds": self.seconds()})
