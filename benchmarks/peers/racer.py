"""One of several processes that take turns; where it cannot go on, the others do."""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.contestants import Contestant
from benchmarks.peers.process import FailedError, Process
from benchmarks.peers.record import Found


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Racer:
    """A contestant, its process and what was found of it: a `reason` where it failed."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self.found: Found = {"title": contestant.title, "seconds": []}
        self._process: Process | None = None

    def enter(self, stack: contextlib.ExitStack) -> None:
        """Starts the process, where there is what it needs."""
        missing = self.contestant.missing()
        if missing:
            self.drop(missing)
            return
        process = Process(self.contestant.build, self.contestant.environment)
        self._process = stack.enter_context(process)

    def ask(self, do: str, **arguments: Any) -> Found:
        """The answer of its process.

        Raises:
          FailedError: it could not do that.
        """
        if self._process is None:
            raise FailedError("it was not started")
        return self._process.ask(do, **arguments)

    def epoch(self) -> float:
        """Trains one; its seconds."""
        return self.ask("epoch")["seconds"]

    def drop(self, reason: str) -> None:
        """Takes no part any more."""
        self.found["reason"] = reason
        say(f"{self.contestant.title}: NOT MEASURED: {reason}")


def each(racers: Sequence[Racer], act: Callable[[Racer], None]) -> None:
    """`act` of all that have not failed; one that fails is left alone from then on."""
    for racer in racers:
        if "reason" not in racer.found:
            try:
                act(racer)
            except FailedError as error:
                racer.drop(str(error))
