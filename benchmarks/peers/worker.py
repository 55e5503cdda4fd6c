"""Runs a contestant in a process of its own, which carries out requests from standard input.

  python -m benchmarks.peers.worker in_torch.build

The process imports its modules, prints `{}`, and waits. Each request is a line with a JSON object
such as `{"do": "epoch"}`, and is answered by another, such as `{"seconds": 0.4}` or
`{"error": ...}`. The methods of `Worker` are the possible requests.
"""

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]


def maker(name: str) -> Callable[..., Any]:
    """Imports `MODULE.FUNCTION` of this package, a function that builds a `contestants.Trainer`."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(f"benchmarks.peers.{module}"), function)


class Worker:
    """Carries out requests with a trainer, which the first request builds."""

    def __init__(self, make: str) -> None:
        self._make = maker(make)
        self._trainer: Any = None

    def build(self, **arguments: Any) -> Answer:
        """Builds a new trainer and returns its facts."""
        self._trainer = None  # frees the memory of an earlier one first
        self._trainer = self._make(**arguments)
        return self._trainer.facts

    def reset(self, seed: int) -> Answer:
        """Returns the trainer to its state before the first step, with another seed."""
        self._trainer.reset(seed)
        return {}

    def epoch(self) -> Answer:
        """Trains one epoch and returns its seconds."""
        started = time.perf_counter()
        self._trainer.epoch()
        return {"seconds": time.perf_counter() - started}

    def evaluate(self) -> Answer:
        """Returns the accuracy on the test images."""
        return {"accuracy": self._trainer.accuracy()}


def _answer(act: Callable[..., Any], **arguments: Any) -> Answer:
    try:
        return act(**arguments)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def main(make: str) -> None:
    """Answers requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # so that output of the frameworks does not mix with the answers
    worker = Worker(make)
    print("{}", file=answers)
    for line in sys.stdin:
        order = json.loads(line)
        act = getattr(worker, order.pop("do"))
        print(json.dumps(_answer(act, **order)), file=answers)


if __name__ == "__main__":
    main(sys.argv[1])
