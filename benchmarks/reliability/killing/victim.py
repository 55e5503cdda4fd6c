"""What is killed, and when."""

import dataclasses
import signal
from dataclasses import dataclass

from benchmarks.reliability.trial import Disturbance

SOONER = 0.7  # of the seconds that were too many
RUN = "run"  # the folder of the run or the sweep, in that of the bench


@dataclass(frozen=True)
class Command:
    """A command that is killed."""

    name: str  # in messages
    words: tuple[str, ...]
    report: bool = True  # False: nothing is drawn, neither before the kill nor after it
    cold: bool = False  # True: prepares the data and compiles the programs for itself


MAIN = Command("`main`", ("mnist_jax.main", "--config=some.py", f"--workdir={RUN}"))
SWEEP = Command("`sweep`", ("mnist_jax.sweep", "--config=several.py", f"--workdir={RUN}"))
FIRST = Command(
    "the first `main`",
    ("mnist_jax.main", "--config=first.py", f"--workdir={RUN}"),
    report=False,
    cold=True,
)
SMALL = dataclasses.replace(FIRST, name="a small `main`", report=True, cold=False)
FEW = Command(
    "a small `sweep`", ("mnist_jax.sweep", "--config=few.py", f"--workdir={RUN}"), report=False
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
            one = len(self.at.kinds) == 1
            return f"{self.at.act} at {self.at.kinds[0] if one else 'operation'} {self.at.at}"
        if self.phase is not None:
            name, number, seconds = self.phase
            return f"{seconds:.3f} s after the begin of {name} no. {number}"
        return f"after {self.after:.3f} s{' of a new process' if self.fresh else ''}"

    def sooner(self) -> "Kill":
        """Returns a kill that comes a little sooner; this one came too late."""
        if self.at is not None:
            at = dataclasses.replace(self.at, at=max(1, self.at.at - 1))
            return dataclasses.replace(self, at=at)
        if self.phase is not None:
            name, number, seconds = self.phase
            return dataclasses.replace(self, phase=(name, number, SOONER * seconds))
        assert self.after is not None
        return dataclasses.replace(self, after=SOONER * self.after)
