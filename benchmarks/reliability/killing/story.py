"""What commands did that were killed and started again, and what that cost."""

import itertools
import json
import os
import re
import signal
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.reliability.killing.followed import JOINING
from benchmarks.reliability.trial import Operation, Trial

MOST = 2.0  # epochs that a kill may lose: the one under way, and the one that is being saved


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
    process: int = 0  # of several, which noted it


@dataclass(frozen=True)
class Start:
    """One start of a command, from which it was killed or ended by itself."""

    trial: Trial
    notes: list[Note]
    folder: Path  # of the bench
    began: float  # by `time.perf_counter`
    ended: float
    newest: dict[str, int] = field(default_factory=dict)  # complete step by folder, after its end

    @property
    def killed(self) -> bool:
        """True if it did not end by itself."""
        return self.trial.status == -signal.SIGKILL

    @property
    def joined(self) -> list[Note]:
        """The notes of processes that they had joined the others."""
        return joined(self.notes)

    @property
    def since_signal(self) -> float:
        """Seconds to the end from the signal, if one was sent in a phase, else from the start."""
        sent = [note.at for note in self.notes if note.sends]
        return self.ended - (sent[0] if sent else self.began)

    @property
    def phases(self) -> set[str]:
        """The phases that had begun and not ended, or what comes before and between.

        A checkpoint is saved while the training goes on, so there may be two.
        """
        begun = Counter(note.begins for note in self.notes if note.begins)
        begun.subtract(note.ends for note in self.notes if note.ends)
        return {phase for phase, count in begun.items() if count > 0} or {"the rest"}

    def first_steps(self) -> dict[str, int]:
        """Returns the step at which each training began or went on, by folder of checkpoints."""
        reached = [note for note in self.notes if note.folder]
        return {str(self.folder / note.folder): note.step for note in reversed(reached)}

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
    missed: int = 0  # kills that were planned and came too late

    @property
    def kills(self) -> int:
        """The number of starts that were killed."""
        return sum(start.killed for start in self.starts)


def read_notes(path: Path, process: int = 0) -> list[Note]:
    """Reads what a command, or one of its processes, has noted; nothing if it was killed before."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [Note(**json.loads(line), process=process) for line in lines]


def joined(notes: Sequence[Note]) -> list[Note]:
    """Returns the notes of processes that they have joined the others."""
    return [note for note in notes if note.ends == JOINING]


def lost_work(starts: Sequence[Start]) -> list[tuple[float, float]]:
    """Returns for each end before the last how many epochs, and seconds, had to be trained again.

    A process that had not begun to train, and one whose network was finished, lost none. An end
    is left out if nobody has gone on yet with what was trained there.
    """
    found = [_lost(start, starts[i:]) for i, start in enumerate(starts[:-1], start=1)]
    return [its for its in found if its is not None]


def _lost(start: Start, later: Sequence[Start]) -> tuple[float, float] | None:
    """Returns the epochs and seconds that one end lost, in the process that lost most."""
    reached = [note for note in start.notes if note.folder]
    lost = [(0.0, 0.0)]
    for last in {note.process: note for note in reached}.values():
        there = [n for its in later for n in its.notes if n.folder == last.folder]
        if not there and later[-1].trial.status:
            return None  # nothing was restored yet
        step = there[0].step if there else last.step  # else it was finished
        since = next(n.at for n in reached if n.folder == last.folder and n.step >= step)
        steps = last.step - step
        lost.append((steps / last.per_epoch, start.ended - since if steps else 0.0))
    return max(lost)


def not_gone_on(starts: Sequence[Start], most: float = MOST) -> list[str]:
    """Returns for each start but the first what is wrong with where it began; empty if nothing is.

    It has to go on from the newest checkpoint that was complete when any before it had ended, and
    to say so. Training that starts anew would end with the same bits.

    Args:
      starts: in one folder, one after the other.
      most: epochs that the end of the start before may have lost.
    """
    newest: dict[str, int] = {}
    found = []
    for i, (before, start) in enumerate(itertools.pairwise(starts), start=1):
        for folder, step in before.newest.items():  # a start that is killed may have removed it
            newest[folder] = max(step, newest.get(folder, 0))
        lost, _ = _lost(before, starts[i:]) or (0.0, 0.0)
        too_much = f"{lost:.2f} epochs were lost at once" if lost > most else ""
        found.append(_not_from(newest, start) or too_much)
    return found


def _not_from(newest: Mapping[str, int], start: Start) -> str:
    said = re.findall(r"^resuming from step (\d+) ", start.trial.output, re.MULTILINE)
    printed = {its.folder for its in start.notes if its.process == 0}  # others print nothing
    talking = {str(start.folder / folder) for folder in printed if folder}
    for folder, step in start.first_steps().items():
        there = newest.get(folder, 0)
        if step < there:
            return f"began at step {step} although checkpoint {there} of {folder} was complete"
        if step and folder in talking and str(step) not in said:
            return f"went on from step {step} of {folder} without a word of it"
    return ""


def wrong(trial: Trial, *ends: int) -> str:
    """Returns what is wrong with how a command ended, or with its warnings; empty if nothing is.

    Args:
      trial: its end.
      ends: statuses that it may have; without any, those of a success and of a kill.
    """
    if trial.status not in (ends or (0, -signal.SIGKILL)):
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
    path = re.sub(r"\.mnist_jax-\d+-\d+\.tmp", ".PROCESS.tmp", path)
    path = re.sub(r"incomplete\.\w{6}_", "incomplete.RANDOM_", path)
    path = re.sub(r"^temporary/\w+", "temporary/RANDOM", path)
    path = re.sub(r"[0-9a-f]{12,}", "DIGEST", path)
    return re.sub(r"\d+", "N", path)
