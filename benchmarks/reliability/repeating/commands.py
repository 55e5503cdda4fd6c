"""Trains configurations, and returns what each training leaves."""

import functools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import readme
from benchmarks.reliability import forked
from benchmarks.reliability.left import Left, left

SHORT = (
    "num_epochs=2", "data.train_split=train[:1280]", "data.val_split=train[1280:1800]",
    "chunk_steps=4",
)  # fmt: skip
SWEEP = """
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for width in (8, 16):
        config = default()
        config.num_epochs, config.metrics = 2, ("brier",)
        config.data.train_split, config.data.val_split = "train[:1280]", "train[1280:1800]"
        config.model = dict(name="mlp", hidden=(width,), dropout=0.2)
        members[f"w{width}"] = config
    return Sweep(members, seeds=3)
"""
EVALUATION = "evaluation.json"  # a part of the report
BACKEND = "import jax; print(jax.default_backend())"
TIMEOUT = 900.0  # seconds that a command may take
SAID_EVERY = 30.0  # seconds


class Commands:
    """Runs commands, each into a folder of its own."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        """Prepares the folder.

        Args:
          folder: of all runs.
          quick: True to compute on the CPU, and in forks where they can have the environment;
            False for new processes.
        """
        self.folder = folder
        self.quick = quick
        self.count = 0
        self._said = time.monotonic()
        self.usual = functools.cache(self.main)  # by name, of the first training of each

    def main(
        self, name: str, *overrides: str, python: str = sys.executable, report: bool = True,
        **how: Any,
    ) -> Left:  # fmt: skip
        """Trains a short form of a configuration; returns what it leaves.

        Args:
          name: of a configuration in configs/.
          overrides: of its fields.
          python: that runs it.
          report: False to leave out the evaluation of the test split, the plots and the report.
          how: `cores` and variables of the environment, as `python` takes them.
        """
        workdir = self._new(f"main with configs/{name}.py")
        words = [f"--config={readme.ROOT / 'configs' / name}.py", f"--workdir={workdir}"]
        words += [f"--config.{override}" for override in (*SHORT, *overrides)]
        start = [] if report else ["benchmarks.unreported"]
        self.python(["-m", *start, "mnist_jax.main", *words], python=python, **how)
        return left(workdir)

    def again(self, name: str, *overrides: str, **how: Any) -> Left:
        """Trains a configuration once more; in the quick form, without its report."""
        return self.main(name, *overrides, report=not self.quick, **how)

    def expected(self, name: str) -> Left:
        """Returns what `again` leaves if nothing differs."""
        its = self.usual(name)
        if not self.quick:
            return its
        return {n: d for n, d in its.items() if n != EVALUATION and not n.endswith(".png")}

    def sweep(self, **how: Any) -> Left:
        """Trains a sweep of two architectures, three seeds each; returns what it leaves.

        Args:
          how: as `python` takes it.
        """
        workdir = self._new("a sweep")
        (self.folder / "small_sweep.py").write_text(SWEEP)
        words = ["--config=small_sweep.py", f"--workdir={workdir}"]
        self.python(["-m", "mnist_jax.sweep", *words], **how)
        return left(workdir)

    @functools.cached_property
    def backend(self) -> str:
        """The platform on which commands compute; another process asks for it."""
        return "cpu" if self.quick else self.python(["-c", BACKEND])

    def python(
        self, words: Sequence[str], *, python: str = sys.executable, cores: int = 0,
        **variables: str,
    ) -> str:  # fmt: skip
        """Runs `python WORDS` to its end; returns what it prints.

        Args:
          words: the arguments.
          python: the program.
          cores: how many it may use; 0: all.
          variables: of the environment.

        Raises:
          RuntimeError: it ended with another status than 0.
          TimeoutError: a fork took too long.
          subprocess.TimeoutExpired: a new process took too long.
        """
        if self.quick and not cores and python == sys.executable:
            its = forked.environment() | variables
            if forked.server().fits(its):
                return forked.succeeded([*words], cwd=self.folder).stdout.strip()
        return fresh([python, *words], cwd=self.folder, cores=cores, **variables)

    def _new(self, what: str) -> Path:
        self.count += 1
        if time.monotonic() - self._said > SAID_EVERY:
            self._said = time.monotonic()
            print(f"  command {self.count}: {what}", flush=True)
        return self.folder / f"run-{self.count}"


def fresh(words: Sequence[str], *, cwd: Path, cores: int = 0, **variables: str) -> str:
    """Runs a command in a new process to its end; returns what it prints.

    Raises:
      RuntimeError: it ended with another status than 0.
      subprocess.TimeoutExpired: it took too long.
    """
    paths = [str(readme.ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))} | variables
    pinned = ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))]
    done = subprocess.run(
        [*(pinned if cores else []), *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: status {done.returncode}\n{done.stderr}")
    return done.stdout.strip()
