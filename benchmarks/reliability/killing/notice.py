"""Measures how long a command takes from SIGTERM to its end, and how much work a kill loses.

One folder is trained by a series of starts, each of which is signalled at a random moment.
"""

import random
import signal
import statistics
import tempfile
from collections.abc import Callable, Sequence
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


def _series() -> list[Series]:
    longer = f"--config.num_epochs={EPOCHS}"
    path = readme.ROOT / "configs" / "sweeps" / "looped.py"
    words = ("mnist_jax.sweep", f"--config={path}", f"--workdir={RUN}")
    sweep = Command("`configs/sweeps/looped.py`", words, report=False)
    return [
        Series(_main("mlp.py", longer), 8, 6, 0.4),
        Series(_main("cnn.py", longer), 5, 2, 6.0),
        Series(sweep, 5, 5, 0.5, devices=processors.count()),
    ]


def measure() -> list[Row]:
    """Returns a row for SIGTERM and one for SIGKILL, at random moments of real configurations."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder).resolve()
        stand = Stand(where / "stand", where / "shared", **prepared())
        try:
            rows = [told(stand, _series(), BOUND), killed(stand, _series())]
        finally:
            stand.close()
    return rows


def _starts(
    stand: Stand, series: Series, number: signal.Signals, dice: random.Random, lost: list[str]
) -> list[Start]:
    """Runs a series; a hang or what cannot be read is lost, and the stand gets a new bench."""
    try:
        return series.run(stand, number, dice)
    except Exception as error:
        lost.append(f"{series.command.name}, {number.name}: {type(error).__name__}: {error}")
        stand.renew()
        return []


def told(stand: Stand, all_series: Sequence[Series], bound: float | None) -> Row:
    """Sends SIGTERM, and measures the time until the end of the process.

    Args:
      stand: where.
      all_series: what is told to stop.
      bound: seconds that this may take; None: any.
    """

    def wrong(start: Start) -> str:
        late = bound is not None and start.since_signal > bound
        said = f"{start.since_signal:.1f} s from SIGTERM to the end" if late else ""
        return story.wrong(start.trial, EXIT_STATUS) or said

    dice, lost, texts, count = random.Random(SEED), [], [], 0
    for series in all_series:
        starts = _starts(stand, series, signal.SIGTERM, dice, lost)
        times = [start.since_signal for start in starts if start.trial.status == EXIT_STATUS]
        count += len(times)
        name = series.command.name
        lost += [f"{name}: {text}" for text in _cases_lost(starts, wrong, most=0.0)]
        if times:
            middle = statistics.median(times)
            texts.append(f"{name} {middle:.2f} s in the median and {max(times):.2f} s at most")
    found = f"from SIGTERM to the end with status {EXIT_STATUS}: {', '.join(texts)}"
    found += f"; README promises {BOUND:.0f} s; the next start went on from the last step"
    return _row("SIGTERM at random moments of trainings", count, all_series, found, lost)


def killed(stand: Stand, all_series: Sequence[Series]) -> Row:
    """Sends SIGKILL, and finds out how much has to be trained again."""
    dice, lost, texts, count = random.Random(SEED + 1), [], [], 0
    for series in all_series:
        starts = _starts(stand, series, signal.SIGKILL, dice, lost)
        count += sum(start.killed for start in starts)
        name = series.command.name
        cases = _cases_lost(starts, lambda its: story.wrong(its.trial, -signal.SIGKILL))
        lost += [f"{name}: {text}" for text in cases]
        if work := story.lost_work(starts):
            texts.append(f"{name}: {story.summary(work)}")
    what = "SIGKILL at random moments of trainings"
    return _row(what, count, all_series, "; ".join(texts), lost)


def _cases_lost(
    starts: Sequence[Start], wrong: Callable[[Start], str], most: float = story.MOST
) -> list[str]:
    """Returns a line for each start that ended wrongly, or from which the next did not go on."""
    next_ones = [*story.not_gone_on(starts, most), ""]
    cases = [wrong(its) or after for its, after in zip(starts, next_ones, strict=False)]
    return [text for text in cases if text]


def _row(
    what: str, count: int, all_series: Sequence[Series], found: str, lost: Sequence[str]
) -> Row:
    """Returns a row; if nothing else is lost, it is that fewer signals than planned were met."""
    planned = sum(series.starts for series in all_series)
    met = f"{count} of {planned} planned signals met a training"
    return Row(what, count, f"{met}; {found}", [*lost] or [met] * (count < planned))
