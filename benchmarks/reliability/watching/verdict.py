"""Judges whether what a training has and uses stays as it is."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.reliability.row import Row
from benchmarks.reliability.watching.samples import Sample
from benchmarks.reliability.watching.trend import slope

# Rows and what is leaked lie between objects that are soon freed: the allocators keep the gaps, and
# so take this many times as much.
WITH_GAPS = 2
# How much more the last tenth may need than the second one.
THREADS = 4  # a pool starts them as they are needed
TIME = 1.15
LEAST_TIME = 5.0  # CPU seconds of a tenth, below which its time says nothing
DISK, DISK_BYTES = 1.05, 1e6
QUIET = 0.2  # cores that other processes use; above it, wall time says nothing


@dataclass(frozen=True)
class Bound:
    """The bytes by which the memory of a training may grow."""

    of_row: float  # that a row takes, per epoch
    leaked: float = 0.0  # by TensorStore, per epoch
    more: float = 1_000  # per epoch, beside the two
    least: float = 4e6  # of all growth that is not expected; the allocator may take as many at once

    @property
    def expected(self) -> float:
        """Bytes per epoch of the rows and the leak, with the gaps between them."""
        return WITH_GAPS * (self.of_row + self.leaked)

    def exceeded(self, growth: float, epochs: float) -> bool:
        """True if memory that grows by so many bytes per epoch, for so many, grows too much."""
        return growth > self.expected + self.more and (growth - self.expected) * epochs > self.least

    def __str__(self) -> str:
        by_library = f" and {self.leaked:,.0f} leaked by TensorStore" if round(self.leaked) else ""
        return (
            f"at most {self.expected + self.more:,.0f}: {WITH_GAPS} x "
            f"({self.of_row:,.0f} of the row{by_library}) + {self.more:,}"
        )


def row(what: str, samples: Sequence[Sample], unit: str, bound: Bound) -> Row:
    """Judges what a training needs in the long run.

    Memory is judged by its slope in the second half, and the rest by comparing the second tenth
    with the last one. The first tenth is left out, in which programs are compiled and libraries
    imported.

    Args:
      what: was trained.
      samples: of the training.
      unit: one of what is counted in `samples`.
      bound: of its memory.

    Raises:
      RuntimeError: there are too few samples.
    """
    total = samples[-1].done
    early = [its for its in samples if 0.1 * total <= its.done <= 0.2 * total]
    late = [its for its in samples if 0.9 * total <= its.done < total]
    if min(len(early), len(late)) < 2:
        raise RuntimeError(f"{what}: too few samples, {len(early)} and {len(late)}")
    growth = slope(samples, lambda its: its.memory)
    handles = [min(its.handles for its in part) for part in (early, late)]
    threads = [min(its.threads for its in part) for part in (early, late)]
    disk = [statistics.median(its.disk for its in part) for part in (early, late)]
    times = [_per_epoch(part, lambda its: its.cpu) for part in (early, late)]
    walls = [_per_epoch(part, lambda its: its.seconds) for part in (early, late)]
    others = max(map(_others, (early, late)))
    slower = walls[1] > TIME * walls[0] and late[-1].seconds - late[0].seconds > LEAST_TIME
    wrong = {
        "memory": bound.exceeded(growth, total / 2),
        "open files": handles[1] > handles[0],
        "threads": threads[1] > threads[0] + THREADS,
        "CPU time": times[1] > TIME * times[0] and late[-1].cpu - late[0].cpu > LEAST_TIME,
        "wall time": others <= QUIET and slower,
        "disk": disk[1] > DISK * disk[0] + DISK_BYTES,
    }
    found = (
        f"{_of_memory(early, late, growth, unit)} ({bound}); from the second tenth to the last: "
        f"open files {handles[0]} to {handles[1]}, threads {threads[0]} to {threads[1]}, per "
        f"{unit} {1e3 * times[0]:.1f} to {1e3 * times[1]:.1f} ms of CPU time and "
        f"{1e3 * walls[0]:.1f} to {1e3 * walls[1]:.1f} ms of wall time"
        f"{'' if others <= QUIET else f' (not judged: others used {others:.1f} cores)'}, disk "
        f"{disk[0] / 1e6:.2f} to {disk[1] / 1e6:.2f} MB; {_of_rows(samples, unit)}"
    )
    lost = [f"{what}: {name} grows: {found}" for name, grows in wrong.items() if grows]
    return Row(what, total, found, lost)


def _of_memory(early: Sequence[Sample], late: Sequence[Sample], growth: float, unit: str) -> str:
    levels = [statistics.median(its.memory for its in part) / 1e6 for part in (early, late)]
    return (
        f"memory {levels[0]:.0f} MB in the second tenth and {levels[1]:.0f} MB in the last, a "
        f"slope of {growth:,.0f} bytes per {unit} in the second half"
    )


def _of_rows(samples: Sequence[Sample], unit: str) -> str:
    """Returns how much the files of rows grow, which is not judged."""
    files = slope(samples, lambda its: its.of_rows)
    metadata = slope(samples, lambda its: its.metadata, statistics.median)
    return (
        f"the rows, which are to grow, take {files:,.0f} bytes per {unit} in their files and "
        f"{metadata:,.0f} in the metadata of the checkpoints, each of which holds all of them"
    )


def _per_epoch(part: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    """Returns by how much a number grows per epoch."""
    return (of(part[-1]) - of(part[0])) / max(1, part[-1].done - part[0].done)


def _others(part: Sequence[Sample]) -> float:
    """Returns the mean number of cores that other processes used."""
    return (part[-1].others - part[0].others) / max(1e-9, part[-1].seconds - part[0].seconds)
