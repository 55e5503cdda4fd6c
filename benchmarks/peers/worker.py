"""A contestant in a process of its own: does what the lines on standard input ask for.

  python -m benchmarks.peers.worker in_torch.build

Imports, says `{}`, and waits. Each line is a JSON object, `{"do": "epoch"}`, that is answered by
another, `{"seconds": 0.4}` or `{"error": ...}`; the methods of `Worker` are what can be asked for.
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
    """`MODULE.FUNCTION` of this package, which gives a `contestants.Trainer`."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(f"benchmarks.peers.{module}"), function)


class Worker:
    """A trainer, once one is built."""

    def __init__(self, make: str) -> None:
        self._make = maker(make)
        self._trainer: Any = None

    def build(self, **arguments: Any) -> Answer:
        """A new trainer; its facts."""
        self._trainer = None  # the memory of one is enough
        self._trainer = self._make(**arguments)
        return self._trainer.facts

    def reset(self, seed: int) -> Answer:
        """Back to before the first step, with another seed."""
        self._trainer.reset(seed)
        return {}

    def epoch(self) -> Answer:
        """Trains one epoch; its seconds."""
        started = time.perf_counter()
        self._trainer.epoch()
        return {"seconds": time.perf_counter() - started}

    def evaluate(self) -> Answer:
        """The accuracy on the test images."""
        return {"accuracy": self._trainer.accuracy()}


def _answer(act: Callable[..., Any], **arguments: Any) -> Answer:
    try:
        return act(**arguments)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def main(make: str) -> None:
    """Answers until there is nothing more to read."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the frameworks print must not get between the answers
    worker = Worker(make)
    print("{}", file=answers)
    for line in sys.stdin:
        order = json.loads(line)
        act = getattr(worker, order.pop("do"))
        print(json.dumps(_answer(act, **order)), file=answers)


if __name__ == "__main__":
    main(sys.argv[1])
