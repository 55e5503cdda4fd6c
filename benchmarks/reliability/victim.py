"""Commands that are killed and started again until they have ended by themselves."""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.reliability import bits, network
from benchmarks.reliability.trial import Bench, Disturbance, Operation, Trial

FOLLOWED = ("-m", "benchmarks.reliability.followed")
RUN = "run"  # the folder of the run or the sweep, in that of the bench
STARTS = 10  # at most, of a command that should end


@dataclass(frozen=True)
class Command:
    """A command that is killed."""

    name: str  # in messages
    words: tuple[str, ...]
    report: bool = True  # False: nothing is drawn, neither before the kill nor after it
    cold: bool = False  # True: prepares the data and compiles the programs for itself


MAIN = Command("main", ("mnist_jax.main", "--config=some.py", f"--workdir={RUN}"))
SWEEP = Command("sweep", ("mnist_jax.sweep", "--config=several.py", f"--workdir={RUN}"))
FIRST = Command(
    "the first main",
    ("mnist_jax.main", "--config=first.py", f"--workdir={RUN}"),
    report=False,
    cold=True,
)


@dataclass(frozen=True)
class Kill:
    """When a process is killed or told to stop: at an operation, in a phase, or after a while."""

    at: Disturbance | None = None
    phase: tuple[str, int, float] | None = None  # name, how often it has begun, seconds since then
    after: float | None = None  # seconds
    number: signal.Signals = signal.SIGKILL  # that is sent in the phase, or after some time
    fresh: bool = False  # the process is no fork: it imports everything for itself

    def __str__(self) -> str:
        if self.at is not None:
            return f"{self.at.act} at operation {self.at.at}"
        if self.phase is not None:
            name, number, seconds = self.phase
            return f"{seconds:.3f} s after the begin of {name} no. {number}"
        return f"after {self.after:.3f} s{' of a new process' if self.fresh else ''}"


@dataclass(frozen=True)
class Note:
    """What a command noted, as `followed` does."""

    at: float  # seconds
    begins: str = ""  # a phase
    ends: str = ""
    sends: str = ""  # a signal
    folder: str = ""  # of checkpoints
    step: int = -1  # that was reached there
    per_epoch: int = 0  # steps


@dataclass(frozen=True)
class Start:
    """One start of a command, from which it was killed or ended by itself."""

    trial: Trial
    notes: list[Note]
    folder: Path  # of the bench
    began: float  # by `time.perf_counter`
    ended: float

    @property
    def killed(self) -> bool:
        """True if it did not end by itself."""
        return self.trial.status == -signal.SIGKILL

    @property
    def since_signal(self) -> float:
        """Seconds to the end from the signal, if one was sent in a phase, else from the start."""
        sent = [note.at for note in self.notes if note.sends]
        return self.ended - (sent[0] if sent else self.began)

    @property
    def phase(self) -> str:
        """The phase that had begun last and not ended, or what comes before and between."""
        inside: list[str] = []
        for note in self.notes:
            if note.begins:
                inside.append(note.begins)
            elif note.ends in inside:
                inside.reverse()
                inside.remove(note.ends)
                inside.reverse()
        return inside[-1] if inside else "the rest"

    def durations(self) -> dict[tuple[str, int], float]:
        """Returns the seconds of each phase: its name, and its number from 1."""
        begun: dict[str, list[float]] = {}
        found: dict[tuple[str, int], float] = {}
        for note in self.notes:
            if note.begins:
                begun.setdefault(note.begins, []).append(note.at)
            elif note.ends:
                number = len(begun[note.ends])
                found[note.ends, number] = note.at - begun[note.ends][-1]
        return found


@dataclass(frozen=True)
class Story:
    """All starts of a command, and what is not as in a run that was left alone."""

    starts: list[Start]
    wrong: str = ""
    work: list[tuple[float, float]] = field(default_factory=list)  # lost: epochs and seconds

    @property
    def kills(self) -> int:
        """The number of starts that were killed."""
        return sum(start.killed for start in self.starts)


class Stand:
    """A bench with the small configurations, in which commands are killed and started again."""

    def __init__(self, folder: Path, shared: Path, **variables: str) -> None:
        """Starts the process of the bench.

        Args:
          folder: of the bench.
          shared: the data, the programs and the notes of all benches.
          variables: of the environment.
        """
        network.write(folder)
        self._notes = shared / f"notes-{folder.name}.jsonl"
        self.bench = Bench(folder, shared, **variables)
        self.run = folder / RUN
        self._cold = {name: str(folder / name) for name in ("TFDS_DATA_DIR", "XDG_CACHE_HOME")}

    def undisturbed(self, command: Command) -> tuple[Start, bits.Contents]:
        """Runs a command in an empty folder; returns how it went and what is there then.

        Raises:
          RuntimeError: it did not end with status 0.
        """
        self.empty(command)
        start = self.start(command)
        if start.trial.status:
            raise RuntimeError(f"{command.name} ended with {start.trial.status}: {start.trial}")
        return start, bits.contents(self.run)

    def story(self, command: Command, kills: Sequence[Kill], expected: Mapping[str, Any]) -> Story:
        """Runs a command in an empty folder, kills it, and starts it until it ends by itself.

        Args:
          command: the command.
          kills: of its first starts, in this order.
          expected: what is in its folder if it is left alone.
        """
        self.empty(command)
        starts = []
        for kill in [*kills, *[None] * STARTS]:
            starts.append(self.start(command, kill))
            if not starts[-1].killed:
                break
        lost = next(filter(None, (wrong(start.trial) for start in starts)), "")
        if not lost:
            lost = bits.differences(bits.contents(self.run), dict(expected))
        if not lost and bits.rows_differ(self.run):
            lost = "metrics.csv does not hold the rows of metrics.jsonl"
        if lost:
            lost = f"{command.name}, {', '.join(map(str, kills))}: {lost}"
        return Story(starts, lost, lost_work(starts))

    def start(self, command: Command, kill: Kill | None = None, **more: str) -> Start:
        """Runs a command in the folder as it is.

        Args:
          command: the command.
          kill: what happens to it; None: nothing.
          more: variables of the environment.
        """
        self._notes.unlink(missing_ok=True)
        variables = {"FOLLOWED_NOTES": str(self._notes)} | more
        if not command.report:
            variables["FOLLOWED_REPORT"] = "0"
        if command.cold:
            variables |= self._cold
        kill = kill or Kill()
        if kill.phase is not None:
            variables["FOLLOWED_SIGNAL"] = " ".join(map(str, [*kill.phase, kill.number.name]))
        sent = None if kill.after is None else (kill.number, kill.after)
        words = (*FOLLOWED, *command.words)
        began = time.perf_counter()
        if kill.fresh:
            trial = self._fresh(words, variables, kill.after)
        else:
            trial = self.bench.run(*words, disturbance=kill.at, sent=sent, **variables)
        notes = read_notes(self._notes)
        return Start(trial, notes, self.bench.folder, began, time.perf_counter())

    def _fresh(self, words: Sequence[str], variables: dict[str, str], after: float | None) -> Trial:
        """Runs `python WORDS` in a new process, and kills it after some seconds."""
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.bench.folder,
            env=self.bench.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
        output, errors = process.communicate()
        return Trial(process.returncode, output, errors, [])

    def empty(self, command: Command) -> None:
        """Removes what earlier commands have left that this one would find."""
        shutil.rmtree(self.run, ignore_errors=True)
        if command.cold:
            for folder in self._cold.values():
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Ends the process of the bench."""
        self.bench.close()


def prepared() -> dict[str, str]:
    """Returns the setting of the data's folder, if there is one, so that stands find them there."""
    return {name: os.environ[name] for name in ("TFDS_DATA_DIR",) if name in os.environ}


def read_notes(path: Path) -> list[Note]:
    """Reads what a command has noted; nothing if it was killed before that."""
    if not path.exists():
        return []
    return [Note(**json.loads(line)) for line in path.read_text().splitlines()]


def lost_work(starts: Sequence[Start]) -> list[tuple[float, float]]:
    """Returns for each end before the last how many epochs, and seconds, had to be trained again.

    A process that had not begun to train, and one whose network was finished, lost none.
    """
    found = []
    for i, start in enumerate(starts[:-1]):
        reached = [note for note in start.notes if note.folder]
        if not reached:
            found.append((0.0, 0.0))
            continue
        last = reached[-1]
        there = [n for later in starts[i + 1 :] for n in later.notes if n.folder == last.folder]
        if not there and starts[-1].trial.status:
            continue  # nothing was restored yet
        step = there[0].step if there else last.step  # else it was finished
        since = next(n.at for n in reached if n.folder == last.folder and n.step >= step)
        lost = last.step - step
        found.append((lost / last.per_epoch, start.ended - since if lost else 0.0))
    return found


def wrong(trial: Trial) -> str:
    """Returns what is wrong with an end that is neither a kill nor a success, or with a warning."""
    if trial.status not in (0, -signal.SIGKILL):
        return f"ended with {trial.status}: {(trial.errors or trial.output)[-300:]}"
    if "Traceback" in trial.errors:
        return f"a traceback: {trial.errors[-300:]}"
    if "checkpoint" in trial.errors and "damaged" in trial.errors:
        return f"a damaged checkpoint: {trial.errors[:300]}"
    return ""


def summary(work: Sequence[tuple[float, float]]) -> str:
    """Returns the largest and the median of what kills lost, in words."""
    epochs, seconds = zip(*work, strict=True)
    return (
        f"a kill lost at most {max(epochs):.2f} epochs of training ({max(seconds):.1f} s), "
        f"in the median {statistics.median(epochs):.2f} ({statistics.median(seconds):.2f} s)"
    )


def kind(operation: Operation, folder: Path) -> str:
    """Returns an operation without the numbers that differ between runs and repetitions."""
    path = os.path.relpath(operation.path, folder)
    return f"{operation.kind} {generalised(path)}"


def generalised(path: str) -> str:
    """Returns a path whose numbers, digests and random names are replaced."""
    path = re.sub(r"\.\d+-\d+\.tmp", ".PROCESS.tmp", path)
    path = re.sub(r"incomplete\.\w{6}_", "incomplete.RANDOM_", path)
    path = re.sub(r"[0-9a-f]{12,}", "DIGEST", path)
    return re.sub(r"\d+", "N", path)
