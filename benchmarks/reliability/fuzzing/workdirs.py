"""Changed files of a workdir, read as the commands read them."""

import contextlib
import json
import os
import random
import shutil
import unittest.mock
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzzing.guard import Guard
from benchmarks.reliability.fuzzing.mutations import (
    OUTSIDE,
    generator,
    json_changed,
    json_text,
    mutated,
)
from benchmarks.reliability.fuzzing.worker import Broken, given
from mnist_jax import compare, metrics
from mnist_jax.analysis.sweep.table import Comparison
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.training import (
    checkpoint,
    logs,
    network,
    own_code,
    session,
    sweepdir,
    verification,
    workdir,
)
from mnist_jax.training.checkpoint import DamagedError
from mnist_jax.training.clock import Clock, SweepClock
from mnist_jax.training.console import Console
from mnist_jax.training.program import Program, prepare_one
from mnist_jax.training.restored import LATEST, restore
from mnist_jax.training.stop import StopSignal

# A package in the workdir, which must never be imported.
PLANTED = "import pathlib\npathlib.Path(r'{mark}').write_text('run')\nraise SystemExit('planted')\n"


@dataclass
class Place:
    """A copy of a run or a sweep, and a folder beside it to which names in its files may lead."""

    workdir: Path  # all that may be written to
    outside: Path
    guard: Guard
    original: dict[Path, bytes]

    @classmethod
    def of(cls, folder: Path, samples: Path, name: str) -> "Place":
        """Copies one of the samples, with a module planted in it."""
        there, outside = folder / name, folder / "outside"
        shutil.copytree(samples / name, there)
        outside.mkdir()
        (outside / "x").write_text("{}")
        text = PLANTED.format(mark=folder / "mark")
        for path in (there / "planted.py", there / "populations" / "planted.py"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        original = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
        os.chdir(there)  # as a user may, who looks around in it
        others = (samples / "data", *samples.glob("*.py"))
        guard = Guard(there, others, (samples / "specks.py",))
        return cls(there, outside, guard, original)

    def leading_out(self, content: bytes) -> bytes:
        """Returns a content in which names lead to the folder outside."""
        return content.replace(OUTSIDE.encode(), bytes(self.outside))

    def tried(self, path: Path, content: bytes, reads: Callable[[], Any]) -> str:
        """Lets a file have another content, and reads the folder."""
        given(path.name.encode(), content)
        path.write_bytes(self.leading_out(content))
        try:
            with (
                self.guard.watching(),
                contextlib.redirect_stdout(Nowhere()),
                contextlib.redirect_stderr(Nowhere()),
            ):
                reads()
            outcome = "read"
        except (UserError, DamagedError):
            outcome = "refused"
        finally:
            path.write_bytes(self.original[path])
        if (self.workdir.parent / "mark").exists():
            raise Broken("code in the workdir was run")
        return outcome


class Nowhere:
    """A stream that drops what is written to it."""

    def write(self, text: str) -> int:
        """Drops a text."""
        return len(text)

    def flush(self) -> None:
        """Does nothing."""


def other_content(original: bytes, rng: random.Random) -> bytes:
    """Returns another content for a file of JSON, JSON lines or anything else."""
    try:
        return json_text(json.loads(original), rng)
    except ValueError:
        pass
    lines = original.splitlines()
    try:
        values = [json.loads(line) for line in lines]
    except ValueError:
        return mutated(original, rng)
    kind = rng.random()
    if kind < 0.3 or not values:
        return mutated(original, rng)
    if kind < 0.5:
        at = rng.randrange(len(lines))
        changed = [*lines[:at], *rng.choice(([], [lines[at]] * 2)), *lines[at + 1 :]]
        return b"\n".join(changed) + b"\n"
    at = rng.randrange(len(values))
    lines[at] = json_text(values[at], rng) if kind < 0.7 else _line(values[at], rng)
    return b"\n".join(lines) + b"\n"


def _line(value: Any, rng: random.Random) -> bytes:
    return json.dumps(json_changed(value, rng)).encode()


def of_run(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: the files of a finished run, for all that reads one."""
    place = Place.of(folder, samples, "run")
    there = place.workdir
    config = workdir.read_config(there)
    rows = [json.loads(line) for line in (there / "metrics.jsonl").read_text().splitlines()]
    names = ("config.json", "result.json", "metrics.jsonl", "code.json")

    def attempt(number: int) -> str:
        rng = generator("run", number)
        path = there / rng.choice(names)
        content = other_content(place.original[path], rng)
        reads = rng.choice((_finds, _goes_on, _compares, _logs))
        return place.tried(path, content, lambda: reads(there, config, rows))

    return attempt


def _finds(there: Path, config: Config, rows: Any) -> None:
    del config, rows
    found = network.find(there)
    own_code.warn_of_changes(there, own_code.modules(found.config))
    own_code.recorded(there)
    own_code.facts(there)
    workdir.result(there)


def _goes_on(there: Path, config: Config, rows: Any) -> None:
    del rows
    workdir.finished(there, config, warn=True)
    own_code.refuse_changes(there, own_code.read([]))
    own_code.record(there, {})


def _compares(there: Path, config: Config, rows: Any) -> None:
    del config, rows
    run = compare._read(there)
    metrics.refuse_ambiguous(run["config"]["metrics"])
    Comparison([run])


def _logs(there: Path, config: Config, rows: Any) -> None:
    told: list[Any] = []
    with logs.RunLog(there, metrics.find(config.metrics), told.append) as log:
        log._board = None
        log.show([rows])
    written = [json.loads(line) for line in (there / "metrics.jsonl").read_text().splitlines()]
    if written != rows:
        raise Broken("a run that goes on does not write the rows of its checkpoint")
    shutil.rmtree(there / "tensorboard", ignore_errors=True)


def of_sweep(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: the files of a finished sweep, for all that reads one."""
    place = Place.of(folder, samples, "sweep")
    there = place.workdir
    plan = sweepdir.asked(there)
    members = sorted((there / "populations").glob("*/members.json"))
    files = [there / name for name in ("sweep.json", "sweep.jsonl", "clock.json", "result.json")]
    files += [*members, *(path.with_name("results.json") for path in members)] * 2

    def reads() -> None:
        merged = sweepdir.merged(there, plan)
        folders = sweepdir.populations(there)
        results = sweepdir.finished(folders)
        logs.epochs_written(there)
        SweepClock(there, 0.0).seconds()
        workdir.read_result(there, "members", int)
        if all(sweepdir.key(its) in results for its in merged):
            Comparison([results[sweepdir.key(its)] for its in merged])
        for name in ("best", "flat"):
            with contextlib.suppress(UserError):
                network.find(there, name, None if name == "best" else 0)

    def attempt(number: int) -> str:
        rng = generator("sweep", number)
        path = rng.choice(files)
        return place.tried(path, other_content(place.original[path], rng), reads)

    return attempt


def of_checkpoint(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: the metadata of a checkpoint; half of them with a seal that fits what was changed."""
    place = Place.of(folder, samples, "run")
    there = place.workdir / "checkpoints"
    path = there / "9" / checkpoint.METADATA
    whole = json.loads(place.original[path])
    program = prepare_one(workdir.read_config(place.workdir))
    with contextlib.redirect_stdout(Nowhere()):
        _is_trained(place.workdir, program)  # unwatched, as it asks git, once in a process
    readers = (_is_verified, _is_evaluated, lambda its: _is_trained(its, program))

    def attempt(number: int) -> str:
        rng = generator("checkpoint", number)
        if rng.random() < 0.5:
            content = json_text(whole, rng)
            return place.tried(path, content, lambda: checkpoint._read_seal(path.parent))
        sealed = _resealed(whole["custom_metadata"], rng, place)
        content = json.dumps({**whole, "custom_metadata": sealed}).encode()
        reads = rng.choice(readers)
        return place.tried(path, content, lambda: reads(place.workdir))

    return attempt


def _resealed(sealed: Any, rng: random.Random, place: Place) -> Any:
    """Returns what a checkpoint's metadata seal, changed, and sealed again."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        sealed = json_changed(sealed, rng)
    sealed = json.loads(place.leading_out(json.dumps(sealed).encode()))
    if not isinstance(sealed, dict):
        return sealed
    rest = {name: value for name, value in sealed.items() if name != "seal"}
    return {**rest, "seal": checkpoint._seal(rest)}


def _is_verified(there: Path) -> None:
    list(verification.verify(there))


def _is_evaluated(there: Path) -> None:
    """Restores the network as `evaluate` does."""
    restore(network.find(there), LATEST)


def _is_trained(there: Path, program: Program) -> None:
    """Goes on as `main` does, but for the training itself."""
    folder, aside = there / "checkpoints" / "9", there / "checkpoints" / "9.damaged"
    try:
        with (
            unittest.mock.patch.object(session, "train", return_value=None),
            session.trained(
                program,
                folder.parent,
                stop=StopSignal(),
                log=logs.NoLog(),
                console=Console(1, 1),
                clock=Clock(0.0),
                begin=lambda: None,
                after=lambda _: None,
            ),
        ):
            pass
    finally:
        if aside.exists():
            aside.rename(folder)
