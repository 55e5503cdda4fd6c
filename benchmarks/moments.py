"""Runs a command of mnist_jax as `python -m` does, and records when it reaches certain moments.

  python benchmarks/moments.py FILE mnist_jax.main --config=configs/mlp.py

Writes a JSON file with the time of `time.perf_counter`, in seconds, at which each moment was first
reached, and the peak memory in MiB as `memory`. All processes share this clock, so the process that
started this one can subtract its own start time. The command's modules are not imported early:
their functions are wrapped when the command itself imports them.
"""

import atexit
import functools
import importlib.abc
import importlib.machinery
import json
import re
import resource
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

IMPORTED, DATA, PROGRAMS, STEPS, TRAINED = "imported", "data", "programs", "steps", "trained"
MEMORY = "memory"
# The moments to record when a function is called or returns, by the module that calls it.
CALLED = {
    "mnist_jax.experiment": {"run": IMPORTED, "run_sweep": IMPORTED},
    "mnist_jax.evaluations.split": {"evaluate": IMPORTED},
}
RETURNED = {
    "mnist_jax.experiment": {"prepare_one": PROGRAMS},
    "mnist_jax.training.sweep": {"prepare_many": PROGRAMS},
    "mnist_jax.training.session": {"train": TRAINED},
    "mnist_jax.training.program": {"open_feed": DATA, "Program.advance": STEPS},
}


class Moments(importlib.abc.MetaPathFinder):
    """An import hook that wraps functions of the command's modules, to record their moments."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        """Returns the spec of a module that is to be watched, or None; `importlib` calls this."""
        if fullname not in CALLED and fullname not in RETURNED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        loader: Any = spec.loader if spec is not None else None
        if loader is None:
            return None
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._watch(module)

        loader.exec_module = exec_module
        return spec

    def _watch(self, module: ModuleType) -> None:
        for before, places in ((True, CALLED), (False, RETURNED)):
            for where, moment in places.get(module.__name__, {}).items():
                *owner, name = where.split(".")
                holder = functools.reduce(getattr, owner, module)
                setattr(holder, name, self._noting(getattr(holder, name), moment, before))

    def _noting(self, function: Callable, moment: str, before: bool) -> Callable:
        @functools.wraps(function)
        def noted(*arguments: Any, **keywords: Any) -> Any:
            if before:
                self.seconds.setdefault(moment, time.perf_counter())
            result = function(*arguments, **keywords)
            self.seconds.setdefault(moment, time.perf_counter())
            return result

        return noted


def peak_memory() -> float:
    """Returns the peak memory of this process in MiB.

    On Linux, `getrusage` also counts memory that the process held before it executed this program,
    so the value is read from /proc there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Runs the command; FILE comes first, then the command's module and arguments."""
    file, module = Path(sys.argv[1]), sys.argv[2]
    moments = Moments()
    sys.meta_path.insert(0, moments)

    def write() -> None:
        file.write_text(json.dumps(moments.seconds | {MEMORY: peak_memory()}))

    atexit.register(write)  # registered first, and therefore called last
    sys.argv = sys.argv[2:]
    sys.path[0] = str(Path.cwd())  # as `python -m` sets it
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
