"""Measures how long a command takes from SIGTERM to its end, and how much work a kill loses.

One folder is trained by a series of starts, each of which is signalled at a random moment.
"""

import random
import signal
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import readme
from benchmarks.reliability.killing import story
from benchmarks.reliability.killing.stand import Stand, prepared
from benchmarks.reliability.killing.story import Start
from benchmarks.reliability.killing.victim import RUN, Command, Kill
from benchmarks.reliability.row import Row
from mnist_jax import processors
from mnist_jax.training.stop import EXIT_STATUS

SEED = 10
BOUND = 15.0  # seconds from SIGTERM to the end, which README promises for the configurations
EPOCHS = 1000  # more than are trained here


@dataclass(frozen=True)
class Series:
    """Starts of a command in one folder."""

    command: Command
    starts: int
    epochs: int  # of a start, in one of which it gets the signal
    seconds: float  # from the begin of this epoch to the signal, at most
    devices: int = 1

    def run(self, stand: Stand, number: signal.Signals, dice: random.Random) -> list[Start]:
        """Starts the command again and again in an empty folder; each gets the signal."""
        stand.empty(self.command)
        phases = [
            ("training", dice.randint(1, self.epochs), dice.uniform(0, self.seconds))
            for _ in range(self.starts)
        ]
        devices = str(self.devices)
        return [
            stand.start(self.command, Kill(phase=its, number=number), JAX_NUM_CPU_DEVICES=devices)
            for its in phases
        ]


def _main(name: str, *words: str) -> Command:
    path = readme.ROOT / "configs" / name
    words = ("mnist_jax.main", f"--config={path}", f"--workdir={RUN}", *words)
    return Command(f"`configs/{name}`", words, report=False)


def _series(quick: bool) -> list[Series]:
    longer = f"--config.num_epochs={EPOCHS}"
    if quick:
        small = ("--config.data.train_split=train[:5000]", "--config.data.val_split=")
        return [Series(_main("mlp.py", longer, *small), 2, 2, 0.05)]
    path = readme.ROOT / "configs" / "sweeps" / "looped.py"
    words = ("mnist_jax.sweep", f"--config={path}", f"--workdir={RUN}")
    sweep = Command("`configs/sweeps/looped.py`", words, report=False)
    return [
        Series(_main("mlp.py", longer), 8, 6, 0.4),
        Series(_main("cnn.py", longer), 5, 2, 6.0),
        Series(sweep, 5, 5, 0.5, devices=processors.count()),
    ]


def measure(*, quick: bool) -> list[Row]:
    """Returns a row for SIGTERM and one for SIGKILL, at random moments of real configurations."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder).resolve()
        stand = Stand(where / "stand", where / "shared", **prepared())
        try:
            all_series = _series(quick)
            rows.append(_told(stand, all_series, bound=None if quick else BOUND))
            rows.append(_killed(stand, all_series))
        finally:
            stand.close()
    return rows


def _told(stand: Stand, all_series: Sequence[Series], bound: float | None) -> Row:
    """Sends SIGTERM, and measures the time until the end of the process."""
    dice, lost, texts, count = random.Random(SEED), [], [], 0
    for series in all_series:
        starts = series.run(stand, signal.SIGTERM, dice)
        times = [start.since_signal for start in starts if start.trial.status == EXIT_STATUS]
        count += len(times)
        name = series.command.name
        lost += [f"{name}: {text}" for text in _not_as_told(starts)]
        lost += [f"{name}: {s:.1f} s from SIGTERM to the end" for s in times if bound and s > bound]
        if times:
            middle = statistics.median(times)
            texts.append(f"{name} {middle:.2f} s in the median and {max(times):.2f} s at most")
    found = f"from SIGTERM to the end with status {EXIT_STATUS}: {', '.join(texts)}"
    found += f"; README promises {BOUND:.0f} s; the next start went on from the last step"
    return Row("SIGTERM at random moments of trainings", count, found, lost)


def _not_as_told(starts: Sequence[Start]) -> list[str]:
    """Returns a line for each start that did not save all, or ended with another status."""
    lost = [
        f"ended with status {start.trial.status}: {start.trial.errors[-300:]}"
        for start in starts
        if start.trial.status not in (0, EXIT_STATUS) and start.notes  # else it had not begun
    ]
    return lost + [
        f"{epochs:.2f} epochs ({seconds:.1f} s) were lost after SIGTERM"
        for epochs, seconds in story.lost_work(starts)
        if epochs
    ]


def _killed(stand: Stand, all_series: Sequence[Series]) -> Row:
    """Sends SIGKILL, and finds out how much has to be trained again."""
    dice, lost, texts, count = random.Random(SEED + 1), [], [], 0
    for series in all_series:
        starts = series.run(stand, signal.SIGKILL, dice)
        name = series.command.name
        lost += [f"{name}: {text}" for text in filter(None, (story.wrong(s.trial) for s in starts))]
        work = story.lost_work(starts)
        count += len(work)
        if work:
            texts.append(f"{name}: {story.summary(work)}")
    return Row("SIGKILL at random moments of trainings", count, "; ".join(texts), lost)
