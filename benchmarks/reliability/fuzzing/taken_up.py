"""Runs and sweeps of which any file is damaged, taken up again by the API.

A case is lost if what a user then gets differs from what the sound folder gives, without a message.
"""

import contextlib
import csv
import functools
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mnist_jax
from benchmarks.reliability.fuzzing.mutations import generator, mutated
from benchmarks.reliability.fuzzing.samples import without_pictures
from benchmarks.reliability.fuzzing.workdirs import other_content
from benchmarks.reliability.fuzzing.worker import Broken
from mnist_jax import compare
from mnist_jax.errors import UserError
from mnist_jax.training import checkpoints

TIMINGS = ("seconds", "images_per_second", "seconds_sd", "seconds_se")
RESULT = ("config", "parameters", "epochs", "code", "members", "architectures", "diverged")
# Written for people; what nothing reads back is not missed.
FOR_PEOPLE = ("metrics.csv", "report.html", "evaluation.json")
Change = dict[str, bytes | None]  # new contents by name in the folder; None: removed


@dataclass(frozen=True)
class Kind:
    """A folder that is taken up again, and how."""

    name: str  # of the sample
    begun: Callable[[Path], None]  # makes a finished one unfinished
    facts: Callable[[Path, Path], Any]  # takes it up; returns what a user gets


def run(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: each file of a run but those of its checkpoints, damaged.

    Half of the runs are finished; of the others, an epoch is still to be trained.
    """
    return _target(Kind("run", _begin_run, _facts_of_run), folder, samples)


def sweep(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: each file of a sweep but those of its checkpoints, damaged.

    Half of the sweeps are finished; of the others, a network is still to be trained.
    """
    return _target(Kind("sweep", _begin_sweep, _facts_of_sweep), folder, samples)


def _target(kind: Kind, folder: Path, samples: Path) -> Callable[[int], str]:
    os.chdir(samples)
    place = folder / kind.name
    _renew(kind, place, samples)
    expected = kind.facts(place, samples)
    own, other = _contents(place), _contents(samples / "other")
    changes = functools.cache(lambda upto: _changes(own, other, upto))

    def attempt(number: int) -> str:
        change, goes_on = changes(1 << (number // 2).bit_length())[number // 2], number % 2
        _renew(kind, place, samples)
        if goes_on:
            kind.begun(place)
        apply(place, change)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            try:
                found = kind.facts(place, samples)
            except UserError:
                return "refused"
        if found != expected:
            differ = [name for name in expected if found[name] != expected[name]]
            raise Broken(f"{_named(change)}, {goes_on=}: other values of {', '.join(differ)}")
        return _outcome(place, change, own, said.getvalue())

    return attempt


def _outcome(place: Path, change: Change, own: dict[str, bytes], said: str) -> str:
    names = [Path(name).name for name in change]
    if any(Path(name).name in said for name in change):
        return "told of, and mended"
    if all((place / name).exists() and (place / name).read_bytes() == own[name] for name in change):
        return "mended"
    return "of files for people" if {*names} <= {*FOR_PEOPLE} else "harmless"


def _named(change: Change) -> str:
    what = {name: "removed" if new is None else f"{len(new)} bytes" for name, new in change.items()}
    return ", ".join(f"{name} ({how})" for name, how in what.items())


def _renew(kind: Kind, place: Path, samples: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(samples / kind.name, place)
    for name in ("report.html", "evaluation.json"):  # as the samples are made without pictures
        if not (place / name).exists():
            (place / name).write_text('{"checkpoint": 9}')


def apply(folder: Path, change: Change) -> None:
    """Gives files of a folder their new contents."""
    for name, content in change.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)
        elif (folder / name).parent.exists():
            (folder / name).write_bytes(content)


def _contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in paths}
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if "checkpoints" not in path.parts and "tensorboard" not in path.parts
    }


def _changes(own: dict[str, bytes], other: dict[str, bytes], count: int) -> list[Change]:
    """Returns that many different changes of a folder: systematic ones, then random ones."""
    found: dict[Any, Change] = {}

    def add(change: Change) -> None:
        change = {name: new for name, new in change.items() if new != own[name]}
        if change:
            found.setdefault(tuple(sorted(change.items(), key=lambda its: its[0])), change)

    for name in own:
        add({name: None})
        add({name: b""})
        if name in other:
            add({name: other[name]})
        for second in own:
            add({name: own[second], second: own[name]})
    number = 0
    while len(found) < count:
        rng = generator("taken up", number)
        name = rng.choice([*own])
        change = other_content if rng.random() < 0.7 else mutated
        add({name: change(own[name], rng)})
        number += 1
    return [*found.values()]


# Runs


def _begin_run(folder: Path) -> None:
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "9")


def _facts_of_run(folder: Path, samples: Path) -> dict[str, Any]:
    with without_pictures(), contextlib.redirect_stdout(io.StringIO()):
        run = mnist_jax.train(str(samples / "config.py"), workdir=folder)
        compared = folder.with_name("compared")
        compare.compare_runs([folder, samples / "other"], compared)
        evaluation = mnist_jax.load(folder).evaluate()
    return {
        "result": _figures(run.result),
        "history": [_untimed(row) for row in run.history],
        "comparison": _table(compared / "sweep.csv"),
        "evaluation": json.dumps(evaluation, default=str),
    }


# Sweeps


def _begin_sweep(folder: Path) -> None:
    (folder / "result.json").unlink()
    population = min((folder / "populations").iterdir())
    (population / "results.json").unlink()
    shutil.rmtree(
        population / "checkpoints" / str(checkpoints.steps(population / "checkpoints")[-1])
    )


def _facts_of_sweep(folder: Path, samples: Path) -> dict[str, Any]:
    with without_pictures(), contextlib.redirect_stdout(io.StringIO()):
        sweep = mnist_jax.sweep(str(samples / "members.py"), workdir=folder)
        best = mnist_jax.load(folder, member="best")
        tables = {name: getattr(sweep, name).to_csv() for name in ("table", "summary")}
    return {
        "result": _figures(sweep.result),
        "history": sorted(json.dumps(_untimed(row)) for row in sweep.history),
        "best": (best.restored.step, [_untimed(row) for row in best.restored.rows]),
        **{name: _rows(text) for name, text in tables.items()},
    }


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    starts = ("test_", "val_", *RESULT)
    return {name: value for name, value in result.items() if name.startswith(starts)}


def _untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMINGS}


def _table(path: Path) -> list[dict[str, Any]]:
    return _rows(path.read_text())


def _rows(text: str) -> list[dict[str, Any]]:
    return [_untimed(row) for row in csv.DictReader(io.StringIO(text))]
