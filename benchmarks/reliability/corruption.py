"""Damages files of checkpoints, data and workdirs, and counts what is not noticed.

A case is lost unless the damage is detected, or harmless: what is read is then the same, bit by
bit. Files of which only some damages are tried are damaged in the same way in every run.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.reliability.fuzzing import (
    checkpoint_files,
    data_files,
    promised,
    resumed,
    samples,
    watch,
)
from benchmarks.reliability.fuzzing.watch import Tally
from benchmarks.reliability.row import Row

RESUMED, RESUMED_SWEEPS = 150, 200  # that go on after damage
CACHE = 2_000  # damages of the cache besides flipped bits
PREPARED = 2_000
RUN, SWEEP = 1_000, 400
LEAST = 5_000  # cases of all kinds
UNNOTICED = (
    "results, histories, tables and evaluations were those of the sound one, or refused; what is "
    "written for people only (`metrics.csv`, `report.html`, `evaluation.json`) is not checked"
)
RESUMING = (
    "it went on from the newest one that still holds what was saved to the same arrays and rows, "
    "and the sound ones that it keeps stayed as they were"
)
STEP = 4001  # of a quick run: one case in so many


def measure(*, quick: bool) -> list[Row]:
    """Returns a row for each kind of file."""
    place = samples.shared(quick=quick)
    return promised.complete(list(_rows(place, quick=quick)), 0 if quick else LEAST)


def _rows(place: Path, *, quick: bool) -> Iterator[Row]:
    count = checkpoint_files.count_of_bits(place)
    size = f"{count // 8:,} bytes"
    smallest = checkpoint_files.files(checkpoint_files.smallest(place))
    yield _row(
        f"every bit of the smallest checkpoint flipped ({size} in "
        f"{len(smallest)} files: a network of 4 parameters with SGD)",
        _tried("checkpoint_files:every_bit", place, count, STEP if quick else 0),
    )
    yield _row(
        "each file of a checkpoint cut at many lengths, emptied, removed, torn, zeroed in blocks, "
        "extended, and exchanged for each other file of it, of the one before and of another run",
        _tried(
            "checkpoint_files:every_damage",
            place,
            checkpoint_files.count_of_damages(place),
            401 if quick else 0,
        ),
    )
    yield _row(
        "`main` run again after such damage of the newest checkpoint, the one before, or both, "
        "after renaming and exchanging whole checkpoints, and with those of another run; it keeps "
        "3, 2 or 1 of the 3 that are there",
        _resumed(resumed.of_run, place, 3 if quick else RESUMED),
        RESUMING,
    )
    yield _row(
        "`sweep` run again after such damage of the checkpoints of one of its populations",
        _resumed(resumed.of_sweep, place, 2 if quick else RESUMED_SWEEPS),
        RESUMING,
    )
    cache = data_files.bits_of_cache(place)
    yield _row(
        f"every bit of the cache of a data set flipped ({cache // 8:,} bytes), and other damage",
        _tried("data_files:cache", place, cache + CACHE, 1499 if quick else 0),
    )
    yield _row(
        "files that tfds has prepared damaged, removed and exchanged, with the cache removed",
        _tried("data_files:prepared", place, PREPARED, 399 if quick else 0),
    )
    yield _row(
        "each file of a run but its checkpoints damaged, removed, emptied, exchanged for others "
        "and for those of another run; then the run, finished or not, is trained, compared, loaded "
        "and evaluated",
        _tried("taken_up:run", place, RUN, 249 if quick else 0),
        UNNOTICED,
    )
    yield _row(
        "the same with every file of a sweep but its checkpoints",
        _tried("taken_up:sweep", place, SWEEP, 133 if quick else 0),
        UNNOTICED,
    )


def _resumed(tried: Callable[[Path, Path, int], Tally], place: Path, count: int) -> Tally:
    with tempfile.TemporaryDirectory() as folder:
        return tried(Path(folder).resolve(), place, count)


def _tried(target: str, place: Path, count: int, step: int) -> Tally:
    """Tries all cases in watched processes or, given a step, some of them in this process."""
    if not step:
        return watch.watched(target, place, count)
    with tempfile.TemporaryDirectory() as folder:
        return watch.here(target, Path(folder).resolve(), place, range(0, count, step))


def _row(what: str, its: Tally, more: str = "") -> Row:
    return Row(what, its.tried, "; ".join(filter(None, [its.said(), more])), its.lost)
