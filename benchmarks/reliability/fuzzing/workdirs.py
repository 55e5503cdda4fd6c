"""Changed files of a workdir, read as the commands read them."""

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzzing import checkpoint_files
from benchmarks.reliability.fuzzing.guard import Guard
from benchmarks.reliability.fuzzing.mutations import generator, json_changed, json_text, mutated
from benchmarks.reliability.fuzzing.worker import Broken
from mnist_jax import compare, metrics
from mnist_jax.analysis.sweep.table import Comparison
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.training import (
    checkpoint,
    checkpoints,
    logs,
    network,
    own_code,
    sweepdir,
    verification,
    workdir,
)
from mnist_jax.training.checkpoint import DamagedError
from mnist_jax.training.clock import SweepClock

# A package in the workdir, which must never be imported.
PLANTED = "import pathlib\npathlib.Path(r'{mark}').write_text('run')\nraise SystemExit('planted')\n"


@dataclass
class Place:
    """A copy of a run or a sweep, and the folder beside it that nobody has a reason to open."""

    folder: Path  # what may be written to
    workdir: Path
    guard: Guard
    original: dict[Path, bytes]

    @classmethod
    def of(cls, folder: Path, samples: Path, name: str) -> "Place":
        """Copies one of the samples, with a module planted in it."""
        inside = folder / "inside"
        shutil.copytree(samples / name, inside / name)
        outside = folder / "outside"
        outside.mkdir()
        (outside / "x").write_text("{}")
        mark = folder / "mark"
        text = PLANTED.format(mark=mark)
        for path in (inside / name / "planted.py", inside / name / "populations" / "planted.py"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        paths = [path for path in (inside / name).rglob("*") if path.is_file()]
        original = {path: path.read_bytes() for path in paths}
        os.chdir(inside / name)  # as a user may, who looks around in it
        guard = Guard(inside, outside, (samples / "specks.py",))
        return cls(inside, inside / name, guard, original)

    def restore(self) -> None:
        """Makes the files as they were."""
        for path, content in self.original.items():
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)

    def tried(self, path: Path, content: bytes, reads: Callable[[], Any]) -> str:
        """Lets a file have another content, and reads the folder."""
        path.write_bytes(content)
        try:
            with self.guard.watching(), contextlib.redirect_stderr(Nowhere()):
                reads()
            outcome = "read"
        except (UserError, DamagedError):
            outcome = "refused"
        finally:
            path.write_bytes(self.original[path])
        if (self.folder.parent / "mark").exists():
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
    for name in ("code", "facts"):
        own_code.recorded(there) if name == "code" else own_code.facts(there)
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
    """Target: the metadata of a checkpoint; most with a seal that fits the changed content."""
    place = Place.of(folder, samples, "run")
    there = place.workdir / "checkpoints"
    path = there / "9" / checkpoint.METADATA
    whole = json.loads(place.original[path])
    shapes = checkpoint_files.template(path.parent)

    def reads() -> None:
        checkpoint._read_seal(path.parent)
        list(verification.verify(place.workdir))
        checkpoints.newest_sound(there, shapes, set_aside=False)

    def attempt(number: int) -> str:
        rng = generator("checkpoint", number)
        if rng.random() < 0.5:
            content = json_text(whole, rng)
            return place.tried(path, content, lambda: checkpoint._read_seal(path.parent))
        sealed = json_changed(whole["custom_metadata"], rng)
        if isinstance(sealed, dict):
            sealed.pop("seal", None)
            sealed = {**sealed, "seal": checkpoint._seal(sealed)}
        content = json.dumps({**whole, "custom_metadata": sealed}).encode()
        rarely = number % 10 == 0  # orbax takes long
        return place.tried(
            path, content, reads if rarely else lambda: checkpoint._read_seal(path.parent)
        )

    return attempt
