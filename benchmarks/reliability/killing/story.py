"""What commands did that were killed and started again, and what that cost."""

import itertools
import json
import os
import re
import signal
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
    unfinished: int = 0  # folders of data that tfds has left behind

    @property
    def kills(self) -> int:
        """The number of starts that were killed."""
        return sum(start.killed for start in self.starts)


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


def not_gone_on(starts: Sequence[Start]) -> str:
    """Returns what is wrong with where starts began, or with what was lost; empty if nothing is.

    Each has to go on from the newest checkpoint that was complete when the one before had ended,
    and to say so. Training that starts anew would end with the same bits.
    """
    for before, start in itertools.pairwise(starts):
        said = re.findall(r"^resuming from step (\d+) ", start.trial.output, re.MULTILINE)
        for folder, step in start.first_steps().items():
            newest = before.newest.get(folder, 0)
            if step < newest:
                return f"began at step {step} although checkpoint {newest} of {folder} was complete"
            if step and str(step) not in said:
                return f"went on from step {step} of {folder} without a word of it"
    epochs = max((its for its, _ in lost_work(starts)), default=0.0)
    return f"{epochs:.2f} epochs were lost at once" if epochs > MOST else ""


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
    path = re.sub(r"\.mnist_jax-\d+-\d+\.tmp", ".PROCESS.tmp", path)
    path = re.sub(r"incomplete\.\w{6}_", "incomplete.RANDOM_", path)
    path = re.sub(r"^temporary/\w+", "temporary/RANDOM", path)
    path = re.sub(r"[0-9a-f]{12,}", "DIGEST", path)
    return re.sub(r"\d+", "N", path)
