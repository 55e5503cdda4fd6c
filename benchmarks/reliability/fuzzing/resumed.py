"""Runs and sweeps whose checkpoints are damaged, trained again by the command."""

import functools
import importlib
import itertools
import json
import os
import random
import shutil
import sys
import unittest.mock
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import forks
from benchmarks.reliability.fuzzing import checkpoint_files
from benchmarks.reliability.fuzzing.checkpoint_files import Damage, files
from benchmarks.reliability.fuzzing.samples import copied, without_pictures
from benchmarks.reliability.fuzzing.watch import ROOT, Tally
from benchmarks.reliability.fuzzing.worker import Broken
from benchmarks.reliability.progress import Progress
from mnist_jax.errors import UserError
from mnist_jax.training import checkpoint, session
from mnist_jax.training.checkpoints import Checkpoints, steps

CODE = "from benchmarks.reliability.fuzzing import resumed; resumed.command()"
TIMINGS = ("seconds", "images_per_second")
SECONDS = 120.0  # of a command
STEPS = 3  # of an epoch, after each of which a checkpoint is written
KEPT = (3, 2, 1)  # checkpoints, of which there are up to 3, as a kill leaves them
FOREIGN = ("another seed", "does not fit this network")  # why a checkpoint of others is refused

# Damages a folder; returns the steps of those that may not be sound then.
Change = Callable[[Path], set[int]]


@dataclass(frozen=True)
class Work:
    """A run or a sweep that is taken up again, and whose checkpoints are damaged."""

    sample: str  # its folder
    command: str
    config: str
    checkpoints: str  # in its folder
    results: tuple[str, ...]  # without which these checkpoints are taken up
    foreign: str  # a checkpoint of the same step of somebody else's


RUN = Work("run", "main", "config.py", "checkpoints", ("result.json",), "other/checkpoints/9")


def of_run(folder: Path, samples: Path, count: int) -> Tally:
    """Damages checkpoints of copies of a run, and lets `main` go on with it.

    Each file is cut, emptied, removed, torn and exchanged, of the newest checkpoint, the one before
    or both. Whole checkpoints are renamed and replaced by those of another run. The run keeps 3, 2
    or 1 of them.
    """
    return _tried([RUN], KEPT, folder, samples, count)


def of_sweep(folder: Path, samples: Path, count: int) -> Tally:
    """Damages checkpoints of the populations of a sweep alike, and lets `sweep` go on with it.

    A checkpoint of somebody else's is that of the other population.
    """
    names = sorted(f"populations/{its.name}" for its in (samples / "sweep/populations").iterdir())
    works = [
        Work(
            sample="sweep",
            command="sweep",
            config="members.py",
            checkpoints=f"{its}/checkpoints",
            results=("result.json", f"{its}/results.json"),
            foreign=f"sweep/{other}/checkpoints/6",
        )
        for its, other in itertools.permutations(names)
    ]
    return _tried(works, KEPT[:1], folder, samples, count)


def _tried(
    works: list[Work], kept: tuple[int, ...], folder: Path, samples: Path, count: int
) -> Tally:
    tally = Tally()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "TFDS_DATA_DIR": str(samples / "data"),
    }
    title = f"{works[0].command} after damage"
    progress = Progress(title, count)
    server = forks.Server(environment, timeout=SECONDS)
    each = zip(*(_cases(work, samples) for work in works), strict=False)
    cases = itertools.chain.from_iterable(zip(works, its, strict=True) for its in each)
    for number, (work, (what, change)) in enumerate(itertools.islice(cases, count)):
        keep, why = kept[number % len(kept)], ""
        try:
            case = Case(work, keep, change, folder / work.sample, samples)
            tally.outcomes[case.outcome(server)] += 1
        except Broken as error:
            why = str(error)
        except Exception as error:  # such as a hang, which ends the server
            why = f"{type(error).__name__}: {error}"
            server.close()
            server = forks.Server(environment, timeout=SECONDS)
        tally.tried += 1
        if why:
            tally.lost.append(f"{title} {number}, {what}, {keep} kept: {why}")
        progress.add(why and f"{what}: {why}")
    server.close()
    return tally.complete(title, count)


class Case:
    """A copy of a run or a sweep with damaged checkpoints."""

    def __init__(self, work: Work, keep: int, change: Change, place: Path, samples: Path) -> None:
        """Copies it, lets it keep so many checkpoints, and damages them."""
        self._work, self._keep, self._samples = work, keep, samples
        self._place = copied(samples, work.sample, place)
        self._folder = place / work.checkpoints
        for name in work.results:
            (place / name).unlink()
        if keep != KEPT[0]:
            config = json.loads((place / "config.json").read_text())
            (place / "config.json").write_text(json.dumps({**config, "keep_latest": keep}))
        damaged = change(self._folder)
        self._there = {*steps(self._folder)}
        sound = samples / work.sample / work.checkpoints
        self._harmless = {step for step in damaged if _is_same(self._folder, sound, step)}
        self._damaged = damaged - self._harmless
        self._contents = {step: _contents(self._folder / str(step)) for step in self._there}

    def outcome(self, server: forks.Server) -> str:
        """Lets the command go on with it.

        Raises:
          Broken: it does not go on from the newest sound checkpoint to the same bits, or loses one.
        """
        overrides = [f"--config.keep_latest={self._keep}"] * (self._keep != KEPT[0])
        arguments = [f"--config={self._work.config}", f"--workdir={self._place}", *overrides]
        done = server.run(
            ["-c", CODE, self._work.command, *arguments],
            cwd=self._samples,
            environment=server.environment,
        )
        if "Traceback" in done.stderr:
            raise Broken(f"a traceback: {done.stderr.strip()[-200:]}")
        foreign = any(why in done.stderr for why in FOREIGN) and not self._damaged
        if done.returncode == 1 and foreign:
            self._check_contents(self._there)
            return "refused"
        if done.returncode:
            raise Broken(f"ended with status {done.returncode}: {done.stderr.strip()[-200:]}")
        return self._judged(done.stdout, done.stderr)

    def _judged(self, said: str, told: str) -> str:
        aside = {int(path.name.partition(".")[0]) for path in self._folder.glob("*.damaged*")}
        warned = {step for step in self._there if f"{step} is damaged" in told}
        if aside != warned or not aside <= self._damaged:
            raise Broken(f"told of {sorted(warned)}, set aside {sorted(aside)}")
        start = max(self._there - self._damaged, default=0)
        if start and f"resuming from step {start} " not in said:
            raise Broken(f"did not go on from step {start}")
        begun = self._newest(self._there - aside)
        if f"a writer began with {begun}\n" not in said:
            raise Broken(f"did not begin to write with {begun}")
        sound = _facts(self._samples / self._work.sample)
        if _facts(self._place) != sound:
            raise Broken("another network, or other rows")
        end = int(steps(self._samples / self._work.sample / self._work.checkpoints)[-1])
        left = self._newest({*begun, *range(start + STEPS, end + 1, STEPS)})
        if steps(self._folder) != left:
            raise Broken(f"{steps(self._folder)} are left, not {left}")
        self._check_contents({*left} & self._there - aside)
        names = ("set aside", aside), ("harmless", self._harmless), ("not met", self._damaged)
        return next((name for name, its in names if its), "sound")

    def _newest(self, among: set[int]) -> list[int]:
        """Returns the checkpoints that are kept."""
        return sorted(among)[-self._keep :]

    def _check_contents(self, among: set[int]) -> None:
        """Raises Broken unless these checkpoints are as they were."""
        for step in among:
            if _contents(self._folder / str(step)) != self._contents[step]:
                raise Broken(f"a file of checkpoint {step} was changed, or is gone")


def command() -> None:
    """Runs the command that the arguments name, without its plots and its report.

    It tells which checkpoints there are once its writer has begun.
    """
    del sys.argv[0]
    module = importlib.import_module(f"mnist_jax.commands.{sys.argv[0]}")
    with without_pictures(), unittest.mock.patch.object(session, "Checkpoints", _Telling):
        module.command()


class _Telling(Checkpoints):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        print(f"a writer began with {steps(self.folder)}")


def _is_same(folder: Path, sound: Path, step: int) -> bool:
    """True if a checkpoint can be loaded, and holds what the sound one of its step holds."""
    if not (sound / str(step)).exists():
        return False
    try:
        shapes = checkpoint_files.template(sound / str(step))
        return checkpoint_files.read(folder, step, shapes) == _read(sound, step)
    except (checkpoint.DamagedError, UserError):
        return False


@functools.cache
def _read(sound: Path, step: int) -> Any:
    return checkpoint_files.read(sound, step, checkpoint_files.template(sound / str(step)))


def _facts(place: Path) -> Any:
    """Returns what must be the same: the arrays of the last checkpoints, and the rows."""
    found = []
    for folder in sorted(place.rglob("checkpoints")):
        step = steps(folder)[-1]
        checkpoint.check(folder, step)
        sealed = json.loads((folder / str(step) / checkpoint.METADATA).read_text())
        found.append((step, sealed["custom_metadata"]["digests"]))
    (path,) = place.glob("*.jsonl")
    rows = [_untimed(json.loads(line)) for line in path.read_text().splitlines()]
    return found, sorted(rows, key=lambda row: (row.get("architecture", ""), row.get("seed", 0)))


def _untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMINGS}


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in files(folder)}


def _cases(work: Work, samples: Path) -> Iterator[tuple[str, Change]]:
    """Yields each case's name and what damages its checkpoints."""
    sound = samples / work.sample / work.checkpoints
    foreign = samples / work.foreign
    old, new = steps(sound)[-2:]
    later = new + STEPS
    yield f"checkpoint {new} renamed to {later}", lambda its: _moved(its, str(new), str(later))
    yield f"checkpoints {old} and {new} exchanged", lambda its: _exchanged(its, str(old), str(new))
    yield f"checkpoint {new} of another one", lambda its: _replaced(its, foreign, new)
    yield f"checkpoint {later} of another one", lambda its: _replaced(its, foreign, later)
    yield f"an empty folder {later}", lambda its: (its / str(later)).mkdir() or {later}
    others = {"the checkpoint before": sound / str(old), "another one": foreign}
    found = list(checkpoint_files.damages(sound / str(new), others, lengths=4))
    random.Random(0).shuffle(found)
    for number, its in enumerate(found):
        which = [(new,), (new,), (new,), (old,), (old, new)][number % 5]
        name = f"file {its.file} of {' and '.join(map(str, which))} {its.what}"
        yield name, lambda folder, its=its, which=which: _applied(folder, its, which)


def _applied(folder: Path, damage: Damage, which: tuple[int, ...]) -> set[int]:
    for step in which:
        there = files(folder / str(step))
        path = there[min(damage.file, len(there) - 1)]  # an older one may have fewer
        if damage.content is None:
            path.unlink()
        else:
            path.write_bytes(damage.content)
    return {*which}


def _moved(folder: Path, old: str, new: str) -> set[int]:
    (folder / old).rename(folder / new)
    return {int(new)}


def _exchanged(folder: Path, old: str, new: str) -> set[int]:
    (folder / old).rename(folder / "x")
    return _moved(folder, new, old) | _moved(folder, "x", new)


def _replaced(folder: Path, foreign: Path, step: int) -> set[int]:
    """Puts a checkpoint of another one there: damaged under another name, else refused."""
    shutil.rmtree(folder / foreign.name)
    shutil.copytree(foreign, folder / str(step))
    return set() if foreign.name == str(step) else {step}
