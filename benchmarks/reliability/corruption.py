"""Damages files of checkpoints, data and workdirs, and counts what is not noticed.

A case is lost unless the damage is detected, or harmless: what is read is then the same, bit by
bit. Files of which only some damages are tried are damaged in the same way in every run.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.reliability.fuzzing import bits, data_files, resumed, samples, watch
from benchmarks.reliability.fuzzing.watch import Tally
from benchmarks.reliability.row import Row

RESUMED = 150  # runs that go on after damage
CACHE = 2_000  # damages of the cache besides flipped bits
PREPARED, WORKDIR = 2_000, 1_000
STEP = 997  # of a quick run: one case in so many


def measure(*, quick: bool) -> list[Row]:
    """Returns a row for each kind of file."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve() / "samples"
        place.mkdir()
        if quick:
            samples.make(place)
        else:
            samples.made(place)
        return list(_rows(place, quick=quick))


def _rows(place: Path, *, quick: bool) -> Iterator[Row]:
    count = bits.count_of_bits(place)
    size = f"{count // 8:,} bytes"
    yield _row(
        f"every bit of the smallest checkpoint flipped ({size} in "
        f"{len(bits.files(bits.smallest(place)))} files: a network of 4 parameters with SGD)",
        _tried("bits:every_bit", place, count, STEP if quick else 0),
    )
    yield _row(
        "each file of a checkpoint cut at many lengths, emptied, removed, torn, zeroed in blocks, "
        "extended, and exchanged for each other file of it, of the one before and of another run",
        _tried("bits:every_damage", place, bits.count_of_damages(place), 101 if quick else 0),
    )
    with tempfile.TemporaryDirectory() as folder:
        its = resumed.tried(Path(folder).resolve(), place, 4 if quick else RESUMED)
    yield _row(
        "`main` run again after such damage of the newest checkpoint, of the two newest, after "
        "renaming and exchanging whole checkpoints, and with those of another run",
        its,
        "it went on from the newest sound one to the same arrays and rows, and the sound ones "
        "stayed as they were",
    )
    cache = data_files.bits_of_cache(place)
    yield _row(
        f"every bit of the cache of a data set flipped ({cache // 8:,} bytes), and other damage",
        _tried("data_files:cache", place, cache + CACHE, 997 if quick else 0),
    )
    yield _row(
        "files that tfds has prepared damaged, removed and exchanged, with the cache removed",
        _tried("data_files:prepared", place, PREPARED, 399 if quick else 0),
    )
    yield _row(
        "`config.json`, `result.json`, `metrics.jsonl`, `metrics.csv` and `code.json` of a run "
        "damaged; then the run goes on, and is loaded and evaluated",
        _tried("unfinished:damaged", place, WORKDIR, 249 if quick else 0),
    )


def _tried(target: str, place: Path, count: int, step: int) -> Tally:
    """Tries all cases in watched processes or, given a step, some of them in this process."""
    if not step:
        return watch.watched(target, place, count)
    with tempfile.TemporaryDirectory() as folder:
        return watch.here(target, Path(folder).resolve(), place, range(0, count, step))


def _row(what: str, its: Tally, more: str = "") -> Row:
    return Row(what, its.tried, "; ".join(filter(None, [its.said(), more])), its.lost)
