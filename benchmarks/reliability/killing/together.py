"""Processes that train together, and are killed."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
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
ALL = "all"  # processes, and the launcher
LONGEST = 200.0  # seconds that a start may take
POLL = 0.05
AGAIN = 75  # the status of the launcher after which the same command goes on
OURS = r"^(?:process (\d+): )?error: "  # begins a message of ours
KILLED, ABORTED = "was killed by SIGKILL", "was killed by SIGABRT"


@dataclass(frozen=True)
class Team:
    """What several processes do together."""

    name: str  # in messages
    words: tuple[str, ...]
    second: tuple[str, ...]  # operations of the second process that are counted
    elastic: bool = False  # True: a single process ends with the same bits


# Of one network, the first process writes what all hold; the second only looks for it and reads.
MAIN = Team(
    "`main`",
    ("mnist_jax.main", "--config=together.py", f"--workdir={RUN}"),
    trial.WRITING + trial.READING,
    elastic=True,
)
EPOCHS = ("--config.num_epochs=3", "--config.chunk_steps=3", "--config.batch_size=32")
SWEEP = Team(  # of which each process trains its share
    "`sweep`", ("mnist_jax.sweep", "--config=few.py", f"--workdir={RUN}", *EPOCHS), trial.WRITING
)


@dataclass(frozen=True)
class Blow:
    """Which process is killed, and when."""

    whom: str  # the number of a process, or ALL
    operation: int = 0  # of that process, from 1 on
    # If at no operation: seconds since the start; of one process since all have joined.
    after: float = 0.0

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
        return self._unexpected() or story.wrong(its, self._after_kill() if self.landed else 0)

    @property
    def aborted(self) -> int:
        """The number of processes that JAX aborted without a message of ours."""
        errors = self.start.trial.errors
        ours = {number or "0" for number in re.findall(OURS, errors, re.MULTILINE)}
        return sum(how == ABORTED and its not in ours for its, how in ends(errors).items())

    @property
    def ended(self) -> list[str]:
        """The processes that the launcher ended, as the one that was killed had not joined them.

        They wait for it longer than the launcher waits for them.
        """
        if not self.landed or self.blow is None or self.blow.whom == ALL:
            return []
        if self.blow.whom in {str(note.process) for note in self.start.joined}:
            return []
        how = ends(self.start.trial.errors)
        return [its for its in how if its != self.blow.whom and how[its] == KILLED]

    def _after_kill(self) -> int:
        assert self.blow is not None
        return -signal.SIGKILL if self.blow.whom == ALL else AGAIN

    def _unexpected(self) -> str:
        """Says which process has ended otherwise than by the blow, or by JAX because of it.

        JAX aborts a process whose coordinator, the first one, is gone. The launcher kills those
        that are still there a minute after the first has ended; see `ended`.
        """
        struck = self.blow.whom if self.blow and self.landed else ""
        for number, how in ends(self.start.trial.errors).items():
            if how == KILLED and number in (struck, *self.ended):
                continue
            if number != struck and how == KILLED and self.landed:
                return f"process {number} did not end by itself within {self.seconds:.0f} s"
            if number == struck or how != ABORTED or not self.landed:
                return f"process {number} {how}"
        return ""


class Place:
    """A folder in which processes train together, are killed, and are started again."""

    def __init__(self, folder: Path, shared: Path, team: Team) -> None:
        """Writes the configurations.

        Args:
          folder: the working folder of the processes.
          shared: the data, the programs and the notes.
          team: what they do.
        """
        network.write(folder)
        self._team = team
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
        launched = [str(LAUNCHER), f"--processes={count}", *FOLLOWED, "--"]
        words = [*(launched if count > 1 else FOLLOWED), *self._team.words]
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
        noted = [Path(f"{notes}{i}" if count > 1 else notes) for i in range(count)]
        sent = _kill_later(process, blow, noted) if blow is not None and blow.after else None
        output, errors = self._ended(process)
        ended, now = time.perf_counter(), time.time()
        done = Trial(process.returncode, output, errors, trial.operations(log))
        if done.disturbed is not None:
            sent = ended - (now - log.stat().st_mtime)  # its last line is of that operation
        all_notes = [its for i, path in enumerate(noted) for its in story.read_notes(path, i)]
        start = Start(done, all_notes, self.folder, began, ended, left.newest(self.run))
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
        second = whom == "1"  # whose operations are counted in the folder of the run alone
        kinds = self._team.second if second else trial.WRITING
        act = Disturbance(number, "kill" if number else "", kinds)
        folders = [self.run] if second else [self.folder, *caches]
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


def _kill_later(process: subprocess.Popen[str], blow: Blow, notes: Sequence[Path]) -> float | None:
    """Kills processes of the launcher after some time; returns when, or None if it has ended.

    All of them are its children and then itself, which is stopped so that it starts no others.
    """
    deadline = time.perf_counter() + LONGEST
    while blow.whom != ALL and not all(story.joined(story.read_notes(path)) for path in notes):
        if _has_ended(process, POLL) or time.perf_counter() > deadline:
            return None
    if _has_ended(process, blow.after):
        return None
    if blow.whom == ALL:
        os.kill(process.pid, signal.SIGSTOP)
    children = _children(process.pid)
    victims = [*children, process.pid] if blow.whom == ALL else children[int(blow.whom) :][:1]
    for number in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return time.perf_counter() if victims else None


def _has_ended(process: subprocess.Popen[str], seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


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
