"""Gives readers input of any kind, and counts what is neither read rightly nor refused.

A case is lost if it ends with a traceback, takes more than 10 seconds or more memory than the
bound, runs code from data, or reads or writes outside of the folder that its names belong to.
"""

import tempfile
from pathlib import Path

from benchmarks.reliability.fuzzing import promised, samples, watch
from benchmarks.reliability.fuzzing.watch import Tally
from benchmarks.reliability.row import Row

TARGETS = {  # what is tried: the target, its cases, and how many of them in a quick run
    "IDX files: headers, sizes, gzip streams and bombs": ("idx_files:reading", 140_000, 20),
    "pictures for `predict`: PNG, JPEG, GIF, BMP, TIFF and WebP of all modes, sizes that are not "
    "theirs, and bombs": ("picture_files:reading", 30_000, 25),
    "names of networks and classes, and operations, in the JSON of a page, which Python's parsers "
    "of HTML and of JSON read": ("pages:names", 5_000, 20),
    "`config.json`, `result.json`, `metrics.jsonl` and `code.json` of a run": (
        "workdirs:of_run",
        25_000,
        25,
    ),
    "`sweep.json`, `members.json`, `results.json`, `sweep.jsonl` and `clock.json` of a sweep": (
        "workdirs:of_sweep",
        15_000,
        25,
    ),
    "the metadata of a checkpoint, half of them with a seal that fits, which `verify`, `evaluate` "
    "or `main` then reads": ("workdirs:of_checkpoint", 15_000, 20),
    "configurations (hypothesis): any values for any fields": (
        "properties:configurations",
        20_000,
        100,
    ),
    "command lines of all commands (hypothesis): any arguments, in the folder of a finished run": (
        "properties:command_lines",
        10_000,
        0,  # they change the process that they run in
    ),
}
LEAST = 200_000  # cases of all kinds that differ


def measure(*, quick: bool) -> list[Row]:
    """Returns a row for each kind of input."""
    place = samples.shared(quick=quick)
    found = {
        what: _few(target, place, few) if quick else watch.watched(target, place, count)
        for what, (target, count, few) in TARGETS.items()
        if few or not quick
    }
    rows = [
        Row(what, its.tried, _found(its, bounded=not quick), its.lost)
        for what, its in found.items()
    ]
    distinct = sum(len(its.inputs) for its in found.values())
    return promised.complete(rows, 0 if quick else LEAST, distinct)


def _few(target: str, place: Path, count: int) -> Tally:
    with tempfile.TemporaryDirectory() as folder:
        return watch.here(target, Path(folder).resolve(), place, range(count))


def _found(its: Tally, *, bounded: bool) -> str:
    if not bounded:
        return its.said()
    return (
        f"{its.said()}; none took {watch.SECONDS:.0f} s or {watch.MEMORY >> 20:,} MiB (the largest "
        f"process {its.peak >> 20:,} MiB), {watch.rate(its)} a second"
    )
