"""Processes that train one network together, and are killed."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import readme
from benchmarks.reliability import trial
from benchmarks.reliability.killing import left, network, story
from benchmarks.reliability.killing.stand import FOLLOWED
from benchmarks.reliability.killing.story import Start
from benchmarks.reliability.killing.victim import RUN
from benchmarks.reliability.trial import Disturbance, Trial

PROCESSES = 2
LAUNCHER = readme.ROOT / "launch" / "local.py"
COMMAND = ("mnist_jax.main", "--config=together.py", f"--workdir={RUN}")
ALL = "all"  # processes, and the launcher
LONGEST = 200.0  # seconds that a start may take
AGAIN = 75  # the status of the launcher after which the same command goes on
# What the second process does to files: the first one writes what all of them hold, so it only
# looks for checkpoints and reads. This is counted in the folder of the run alone.
LOOKING = trial.WRITING + trial.READING
KILLED, ABORTED = "was killed by SIGKILL", "was killed by SIGABRT"


@dataclass(frozen=True)
class Blow:
    """Which process is killed, and when."""

    whom: str  # the number of a process, or ALL
    operation: int = 0  # of that process, from 1 on
    after: float = 0.0  # seconds since the start, if at no operation

    def __str__(self) -> str:
        when = f"operation {self.operation}" if self.operation else f"{self.after:.2f} s"
        return f"{'all' if self.whom == ALL else f'process {self.whom}'} at {when}"


@dataclass(frozen=True)
class Bout:
    """A start of the processes, what was meant to happen to them, and what did."""

    start: Start
    blow: Blow | None = None
    landed: bool = False  # True: the blow met who it was meant for
    seconds: float = 0.0  # from there to the end of all

    @property
    def wrong(self) -> str:
        """What is wrong with how it ended; nothing after a success, or a kill that all noticed."""
        its = self.start.trial
        if "still there after" in its.errors:
            return its.errors[-300:]
        if found := self._unexpected():
            return found
        if its.status != (self._after_kill() if self.landed else 0):
            return f"ended with {its.status}: {(its.errors or its.output)[-300:]}"
        if "Traceback" in its.errors:
            return f"a traceback: {its.errors[-300:]}"
        if "checkpoint" in its.errors and "damaged" in its.errors:
            return f"a damaged checkpoint: {its.errors[:300]}"
        return ""

    def _after_kill(self) -> int:
        assert self.blow is not None
        return -signal.SIGKILL if self.blow.whom == ALL else AGAIN

    def _unexpected(self) -> str:
        """Says which process has ended otherwise than by the blow, or by JAX because of it.

        JAX aborts a process whose coordinator, the first one, is gone. The launcher kills those
        that are still there a minute after the first has ended.
        """
        struck = self.blow.whom if self.blow and self.landed else ""
        for number, how in ends(self.start.trial.errors).items():
            if number == struck and how == KILLED:
                continue
            if number != struck and how == KILLED and self.landed:
                return f"process {number} did not end by itself within {self.seconds:.0f} s"
            if number == struck or how != ABORTED or not self.landed:
                return f"process {number} {how}"
        return ""


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

    def start(self, blow: Blow | None = None, count: int = PROCESSES) -> Bout:
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
        sent = _kill_later(process, blow) if blow is not None and blow.after else None
        output, errors = self._ended(process)
        ended, now = time.perf_counter(), time.time()
        done = Trial(process.returncode, output, errors, trial.operations(log))
        if done.disturbed is not None:
            sent = ended - (now - log.stat().st_mtime)  # its last line is of that operation
        first = story.read_notes(Path(f"{notes}0" if count > 1 else notes))
        start = Start(done, first, self.folder, began, ended, left.newest(self.run))
        landed = blow is not None and sent is not None and _is_hit(blow, done)
        return Bout(start, blow, landed, ended - sent if landed and sent is not None else 0.0)

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
        variables = trial.environment(self.folder, self._shared)
        caches = [variables[name] for name in ("TFDS_DATA_DIR", "XDG_CACHE_HOME")]
        whom, number = (blow.whom, blow.operation) if blow else (ALL, 0)
        looks = whom == "1"
        kinds = LOOKING if looks else trial.WRITING
        act = Disturbance(number, "kill" if number else "", kinds)
        folders = [self.run] if looks else [self.folder, *caches]
        return {
            **variables,
            "FOLLOWED_NOTES": str(notes),
            "FOLLOWED_REPORT": "0",
            "LD_PRELOAD": str(self._library),
            "INTERPOSED_FOLDERS": ":".join(map(str, folders)),
            "INTERPOSED_LOG": str(log),
            "INTERPOSED_PROCESS": whom,
            **act.variables(),
        }


def _kill_later(process: subprocess.Popen[str], blow: Blow) -> float | None:
    """Kills processes of the launcher after some time; returns when, or None if it has ended.

    All of them are its children and then itself, which is stopped so that it starts no others.
    """
    try:
        process.wait(blow.after)
        return None
    except subprocess.TimeoutExpired:
        pass
    if blow.whom == ALL:
        os.kill(process.pid, signal.SIGSTOP)
    children = _children(process.pid)
    victims = [*children, process.pid] if blow.whom == ALL else children[int(blow.whom) :][:1]
    for number in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return time.perf_counter() if victims else None


def _children(process: int) -> list[int]:
    """Returns the processes that another one has started, in this order."""
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(number) for number in path.read_text().split()] if path.exists() else []


def _is_hit(blow: Blow, done: Trial) -> bool:
    """True if a blow met who it was meant for, as the launcher says if it is still there."""
    if blow.whom == ALL:
        return done.status == -signal.SIGKILL
    hit = ends(done.errors).get(blow.whom) == KILLED
    return hit and (done.disturbed is not None or not blow.operation)


def ends(errors: str) -> dict[str, str]:
    """Returns how processes have ended of which the launcher says that they failed."""
    found = re.findall(
        rf"^process (\d+) of {PROCESSES} (was killed by \w+|ended with status -?\d+)$",
        errors,
        re.MULTILINE,
    )
    return dict(found)
