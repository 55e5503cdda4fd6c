"""Gives readers input of any kind, and counts what is neither read rightly nor refused.

A case is lost if it ends with a traceback, takes more than 10 seconds or more memory than the
bound, runs code from data, or reads or writes outside of the folder that its names belong to.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.reliability.fuzzing import promised, properties, samples, watch
from benchmarks.reliability.fuzzing.watch import ROOT, Tally
from benchmarks.reliability.row import Row

TARGETS = {  # what is tried: the target, its cases, and one in how many in a quick run
    "IDX files: headers, sizes, gzip streams and bombs": ("idx_files:reading", 60_000, 3_000),
    "pictures for `predict`: PNG, JPEG, GIF, BMP, TIFF and WebP of all modes, sizes that are not "
    "theirs, and bombs": ("picture_files:reading", 25_000, 1_000),
    "names of networks and classes, and operations, in the JSON of a page": (
        "pages:names",
        15_000,
        750,
    ),
    "`config.json`, `result.json`, `metrics.jsonl` and `code.json` of a run": (
        "workdirs:of_run",
        50_000,
        2_000,
    ),
    "`sweep.json`, `members.json`, `results.json`, `sweep.jsonl` and `clock.json` of a sweep": (
        "workdirs:of_sweep",
        25_000,
        1_000,
    ),
    "the metadata of a checkpoint, half of them with a seal that fits": (
        "workdirs:of_checkpoint",
        40_000,
        2_000,
    ),
}
PROPERTIES = {
    "configurations (hypothesis): any values for any fields": ("configurations", 20_000, 100),
    "command lines of all commands (hypothesis): any arguments": ("command_lines", 10_000, 0),
}
LEAST = 200_000  # cases of all kinds


def measure(*, quick: bool) -> list[Row]:
    """Returns a row for each kind of input."""
    place = samples.shared(quick=quick)
    rows = [*_fuzzed(place, quick=quick), *_checked(quick=quick)]
    return promised.complete(rows, 0 if quick else LEAST)


def _fuzzed(place: Path, *, quick: bool) -> Iterator[Row]:
    for what, (target, count, step) in TARGETS.items():
        if quick:
            with tempfile.TemporaryDirectory() as folder:
                its = watch.here(target, Path(folder).resolve(), place, range(0, count, step))
        else:
            its = watch.watched(target, place, count)
        yield Row(what, its.tried, _found(its, bounded=not quick), its.lost)


def _found(its: Tally, *, bounded: bool) -> str:
    if not bounded:
        return its.said()
    return (
        f"{its.said()}; none took {watch.SECONDS:.0f} s or {watch.MEMORY >> 20:,} MiB (the largest "
        f"process {its.peak >> 20:,} MiB), {watch.rate(its)} a second"
    )


def _checked(*, quick: bool) -> Iterator[Row]:
    for what, (name, count, few) in PROPERTIES.items():
        if quick and few:
            outcomes, lost = properties.checked(name, few)
        elif quick:
            continue  # it changes the process that it runs in
        else:
            outcomes, lost = in_a_process(name, count)
        said = Tally(outcomes=outcomes).said()
        yield Row(what, sum(outcomes.values()), said, [f"{name}: {lost}"] if lost else [])


def in_a_process(name: str, count: int) -> tuple[Counter[str], str]:
    """Checks a property in a process of its own, as `properties.checked` does."""
    command = [sys.executable, "-m", "benchmarks.reliability.fuzzing.properties", name, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600)
    try:
        found = json.loads(done.stdout)
        return Counter(found["outcomes"]), found["lost"]
    except ValueError:
        return Counter(), f"ended with status {done.returncode}: {done.stderr[-300:]}"
