"""A contestant in a process of its own, taking turns with others; if one fails, others go on."""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.contestants import Contestant
from benchmarks.peers.process import FailedError, Process
from benchmarks.peers.record import Found


def say(text: str) -> None:
    """Prints a line of progress, with the time of day, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Racer:
    """A contestant with its process and its measurements, which hold a `reason` if it failed."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self.found: Found = {"title": contestant.title, "seconds": []}
        self._process: Process | None = None

    def enter(self, stack: contextlib.ExitStack) -> None:
        """Starts the process, unless the contestant's packages are not installed."""
        missing = self.contestant.missing()
        if missing:
            self.drop(missing)
            return
        process = Process(self.contestant.build, self.contestant.environment)
        self._process = stack.enter_context(process)

    def ask(self, do: str, **arguments: Any) -> Found:
        """Sends a request to the process and returns its answer.

        Raises:
          FailedError: the process was not started, or could not carry out the request.
        """
        if self._process is None:
            raise FailedError("its process was not started")
        return self._process.ask(do, **arguments)

    def epoch(self) -> float:
        """Trains one epoch and returns its seconds."""
        return self.ask("epoch")["seconds"]

    def drop(self, reason: str) -> None:
        """Excludes the contestant from all further rounds."""
        self.found["reason"] = reason
        say(f"{self.contestant.title}: NOT MEASURED: {reason}")


def each(racers: Sequence[Racer], act: Callable[[Racer], None]) -> None:
    """Calls `act` for all racers that have not failed; one that fails now is excluded."""
    for racer in racers:
        if "reason" not in racer.found:
            try:
                act(racer)
            except FailedError as error:
                racer.drop(str(error))
