"""Runs a command of mnist_jax as `python -m` does, notes what it does, and may kill it.

  python -m benchmarks.reliability.killing.followed mnist_jax.main --config=configs/mlp.py

The environment says how:

  FOLLOWED_NOTES    a file that gets a line of JSON whenever a phase begins or ends, and after each
                    chunk of steps; times are those of `time.perf_counter`. Of several processes
                    that train together, each adds its JAX_PROCESS_ID to the name
  FOLLOWED_SIGNAL   PHASE NUMBER SECONDS SIGNAL: the process gets this signal so long after a phase
                    has begun for the NUMBERth time
  FOLLOWED_REPORT   0: nothing is drawn and no report is written
"""

import functools
import importlib
import json
import os
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.unreported import leave_out_reports

JOINING = "joining"  # the other processes, of which there may be none
PHASES = {  # name: the functions that are called at its begin, by module
    JOINING: ["mnist_jax.processes:connected"],
    "data preparation": ["mnist_jax.data.cache:_fill"],
    "compilation": ["mnist_jax.experiment:prepare_one", "mnist_jax.training.sweep:prepare_many"],
    "restore": ["mnist_jax.training.session:_restore"],
    "training": ["mnist_jax.training.loop:train_epoch"],
    "validation": ["mnist_jax.training.epoch:_validate"],
    "save": ["mnist_jax.training.checkpoint:write"],
    "evaluation": ["mnist_jax.experiment:_evaluate", "mnist_jax.training.sweep:_evaluate"],
    "report": ["mnist_jax.experiment:_publish", "mnist_jax.experiment:_compare"],
}


class Notes:
    """A file of notes, and the signal that is due."""

    def __init__(self, path: str, due: str) -> None:
        """Opens the file, which survives the process.

        Args:
          path: of the file, which need not exist.
          due: PHASE NUMBER SECONDS SIGNAL, or nothing.
        """
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._begun: Counter[str] = Counter()
        self._due = due.rsplit(" ", 3)

    def write(self, **what: Any) -> None:
        """Adds a line, in one write."""
        text = json.dumps({"at": time.perf_counter()} | what) + "\n"
        os.write(self._file, text.encode())

    def phase(self, name: str, function: Callable) -> Callable:
        """Returns a function that is noted as a phase."""

        @functools.wraps(function)
        def noted(*arguments: Any, **keywords: Any) -> Any:
            self._begun[name] += 1
            self.write(begins=name)
            if self._due[:2] == [name, str(self._begun[name])]:
                timer = threading.Timer(float(self._due[2]), self._send)
                timer.daemon = True
                timer.start()
            try:
                return function(*arguments, **keywords)
            finally:
                self.write(ends=name)

        return noted

    def _send(self) -> None:
        self.write(sends=self._due[3])
        os.kill(os.getpid(), signal.Signals[self._due[3]])


def _note_phases(notes: Notes) -> None:
    for phase, places in PHASES.items():
        for place in places:
            name, attribute = place.split(":")
            module = importlib.import_module(name)
            setattr(module, attribute, notes.phase(phase, getattr(module, attribute)))


def _note_steps(notes: Notes) -> None:
    """Notes the steps of a training, whose folder of checkpoints names it."""
    from mnist_jax.training import session
    from mnist_jax.training.console import Console

    restore, train, update = session._restore, session.train, Console.update
    its: dict[str, Any] = {}

    def restored(program: Any, folder: Any, clock: Any) -> Any:
        found = restore(program, folder, clock)
        its.update(folder=str(folder), per_epoch=program.steps_per_epoch)
        notes.write(step=found[0].step, **its)
        return found

    def trained(program: Any, at: Any, *rest: Any) -> None:
        its_position.append(at)
        train(program, at, *rest)

    def updated(self: Any, steps: int) -> None:
        update(self, steps)
        notes.write(step=its_position[-1].step, **its)

    its_position: list[Any] = []
    session._restore, session.train, Console.update = restored, trained, updated


def main() -> None:
    """Runs the command that follows on the command line."""
    path = os.environ["FOLLOWED_NOTES"] + os.environ.get("JAX_PROCESS_ID", "")
    notes = Notes(path, os.environ.get("FOLLOWED_SIGNAL", ""))
    if os.environ.get("FOLLOWED_REPORT") == "0":
        leave_out_reports()
    _note_steps(notes)
    _note_phases(notes)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
