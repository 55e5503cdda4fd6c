"""Processes that train one network together, and are killed."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import readme
from benchmarks.reliability import trial
from benchmarks.reliability.killing import network, story
from benchmarks.reliability.killing.stand import FOLLOWED, prepared
from benchmarks.reliability.killing.story import Start
from benchmarks.reliability.killing.victim import RUN
from benchmarks.reliability.trial import Disturbance, Trial

PROCESSES = 2
LAUNCHER = readme.ROOT / "launch" / "local.py"
COMMAND = ("mnist_jax.main", "--config=together.py", f"--workdir={RUN}")
ALL = "all"  # processes, and the launcher
LONGEST = 200.0  # seconds that a start may take
AGAIN = 75  # the status of the launcher after which the same command goes on


@dataclass(frozen=True)
class Blow:
    """Which process is killed, and when."""

    whom: str  # the number of a process, or ALL
    operation: int = 0  # of that process, from 1 on
    after: float = 0.0  # seconds since the start, if at no operation

    def __str__(self) -> str:
        when = f"operation {self.operation}" if self.operation else f"{self.after:.2f} s"
        return f"{'all' if self.whom == ALL else f'process {self.whom}'} at {when}"


class Place:
    """A folder in which processes train together, are killed, and are started again."""

    def __init__(self, folder: Path, shared: Path) -> None:
        """Writes the configuration.

        Args:
          folder: the working folder of the processes.
          shared: the data, the programs and the notes.
        """
        network.write(folder)
        self.folder, self.run = folder, folder / RUN
        self._shared = shared
        self._library = trial.compiled(shared)

    def start(self, blow: Blow | None = None, count: int = PROCESSES) -> Start:
        """Starts the processes, and waits until all have ended.

        Args:
          blow: what happens to them; None: nothing.
          count: of processes; with one, there is no launcher.
        """
        log, notes = (self._shared / f"{self.folder.name}-{its}" for its in ("operations", "notes"))
        for path in self._shared.glob(f"{self.folder.name}-*"):
            path.unlink()
        launched = [str(LAUNCHER), f"--processes={count}", *FOLLOWED, "--", *COMMAND]
        words = launched if count > 1 else [*FOLLOWED, *COMMAND]
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            env=self._environment(log, notes, blow),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if blow is not None and blow.after:
            _kill_later(process, blow)
        output, errors = self._ended(process)
        done = Trial(process.returncode, output, errors, trial.operations(log))
        first = story.read_notes(Path(f"{notes}0" if count > 1 else notes))
        return Start(done, first, self.folder, began, time.perf_counter())

    def _ended(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        try:
            return process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            children = _children(process.pid)
            for number in [process.pid, *children]:
                os.kill(number, signal.SIGKILL)
            output, errors = process.communicate()
            return output, f"{errors}\nstill there after {LONGEST:.0f} s"

    def _environment(self, log: Path, notes: Path, blow: Blow | None) -> dict[str, str]:
        variables = trial.environment(self.folder, self._shared) | prepared()
        caches = [variables[name] for name in ("TFDS_DATA_DIR", "XDG_CACHE_HOME")]
        act = Disturbance(blow.operation, "kill") if blow and blow.operation else Disturbance()
        return {
            **variables,
            "FOLLOWED_NOTES": str(notes),
            "FOLLOWED_REPORT": "0",
            "LD_PRELOAD": str(self._library),
            "INTERPOSED_FOLDERS": ":".join([str(self.folder), *caches]),
            "INTERPOSED_LOG": str(log),
            "INTERPOSED_PROCESS": blow.whom if blow else ALL,
            **act.variables(),
        }


def _kill_later(process: subprocess.Popen[str], blow: Blow) -> None:
    """Kills processes of the launcher after some time, unless it has ended by then."""
    try:
        process.wait(blow.after)
        return
    except subprocess.TimeoutExpired:
        pass
    children = _children(process.pid)
    victims = [process.pid, *children] if blow.whom == ALL else children[int(blow.whom) :][:1]
    for number in victims:
        os.kill(number, signal.SIGKILL)


def _children(process: int) -> list[int]:
    """Returns the processes that another one has started, in this order."""
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(number) for number in path.read_text().split()] if path.exists() else []


def killed(start: Start) -> bool:
    """True if at least one of the processes was killed."""
    return start.trial.status != 0 and (
        start.trial.status == -signal.SIGKILL or "was killed by SIGKILL" in start.trial.errors
    )


def wrong(start: Start) -> str:
    """Returns what is wrong with how a start ended; nothing after a kill or a success."""
    its = start.trial
    if "still there after" in its.errors:
        return its.errors[-300:]
    if its.status not in (0, AGAIN, -signal.SIGKILL) or (its.status == AGAIN and not killed(start)):
        return f"ended with {its.status}: {(its.errors or its.output)[-300:]}"
    if "Traceback" in its.errors:
        return f"a traceback: {its.errors[-300:]}"
    if "checkpoint" in its.errors and "damaged" in its.errors:
        return f"a damaged checkpoint: {its.errors[:300]}"
    return ""
