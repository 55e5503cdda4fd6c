"""Runs whose newest checkpoints are damaged, trained again by the command."""

import itertools
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import forks
from benchmarks.reliability.fuzzing import checkpoint_files
from benchmarks.reliability.fuzzing.checkpoint_files import Damage, files
from benchmarks.reliability.fuzzing.watch import ROOT, Tally
from benchmarks.reliability.progress import Progress
from mnist_jax.training import checkpoint, checkpoints

# The command, without its plots and its report.
CODE = """
import sys
from benchmarks.reliability.fuzzing.samples import without_pictures
from mnist_jax.commands import main
sys.argv[0] = "main"
with without_pictures():
    main.command()
"""
TIMINGS = ("seconds", "images_per_second")
SECONDS = 120.0  # of a command


def tried(folder: Path, samples: Path, count: int) -> Tally:
    """Damages the newest checkpoint of a copy of a run, and lets `main` go on with it.

    Each file is cut, emptied, removed, torn and exchanged, and whole checkpoints are renamed and
    replaced by those of another run; in some cases, the checkpoint before is damaged as well.
    """
    tally = Tally()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "TFDS_DATA_DIR": str(samples / "data"),
    }
    sound = _facts(samples / "run")
    progress = Progress("main after damage", count)
    server = forks.Server(environment, timeout=SECONDS)
    for number, (what, change) in enumerate(itertools.islice(_cases(samples), count)):
        try:
            outcome, why = _tried(folder / "run", samples, change, sound, server)
        except Exception as error:  # such as a hang, which ends the server
            outcome, why = "", f"{type(error).__name__}: {error}"
            server.close()
            server = forks.Server(environment, timeout=SECONDS)
        tally.tried += 1
        if why:
            tally.lost.append(f"main after damage {number}, {what}: {why}")
        else:
            tally.outcomes[outcome] += 1
        progress.add(lost=bool(why))
    server.close()
    return tally


def _tried(
    run: Path, samples: Path, change: Any, sound: Any, server: forks.Server
) -> tuple[str, str]:
    """Damages a copy of the run and goes on with it; returns what `_judged` returns."""
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(samples / "run", run)
    (run / "result.json").unlink()
    damaged = change(run / "checkpoints")
    kept = _contents(run / "checkpoints", without=damaged)
    command = ["-c", CODE, "--config=config.py", f"--workdir={run}"]
    done = server.run(command, cwd=samples, environment=server.environment)
    return _judged(run, sound, kept, damaged, done)


def _judged(
    run: Path, sound: Any, kept: dict[int, dict[str, bytes]], damaged: set[int], done: Any
) -> tuple[str, str]:
    """Returns the outcome of a case, and what is wrong with it, if anything."""
    if "Traceback" in done.stderr:
        return "", f"a traceback: {done.stderr.strip()[-200:]}"
    if done.returncode == 1 and "another seed" in done.stderr and not damaged:
        return "refused", ""
    if done.returncode:
        return "", f"ended with status {done.returncode}: {done.stderr.strip()[-200:]}"
    if kept and f"resuming from step {max(kept)} " not in done.stdout:
        return "", f"did not go on from step {max(kept)}"
    folder = run / "checkpoints"
    told = {step for step in damaged if f"{step} is damaged" in done.stderr}
    aside = {int(path.name.partition(".")[0]) for path in folder.glob("*.damaged*")}
    if told != aside:
        return "", f"told of {sorted(told)}, set aside {sorted(aside)}"
    if _facts(run) != sound:
        return "", "another network, or other rows"
    for name, content in itertools.chain(*(its.items() for its in kept.values())):
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            return "", f"the sound checkpoint's {name} was changed, or is gone"
    return ("set aside" if aside else "harmless"), ""


def _facts(run: Path) -> Any:
    """Returns what must be the same: the arrays of the last checkpoint, and the rows."""
    folder = run / "checkpoints"
    step = checkpoints.steps(folder)[-1]
    checkpoint.check(folder, step)
    sealed = json.loads((folder / str(step) / checkpoint.METADATA).read_text())["custom_metadata"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return step, sealed["digests"], [_untimed(row) for row in rows]


def _untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMINGS}


def _contents(folder: Path, without: set[int]) -> dict[int, dict[str, bytes]]:
    """Returns the contents of the files of each sound checkpoint, by its step."""
    sound = [step for step in checkpoints.steps(folder) if step not in without]
    return {
        step: {
            str(path.relative_to(folder)): path.read_bytes() for path in files(folder / str(step))
        }
        for step in sound
    }


def _cases(samples: Path) -> Iterator[tuple[str, Any]]:
    """Yields each case's name and a function that damages a folder of checkpoints.

    The function returns the steps of the checkpoints that are not sound afterwards.
    """
    yield "checkpoint 9 renamed to 12", lambda folder: _moved(folder, "9", "12")
    yield "checkpoints 6 and 9 exchanged", _exchanged
    yield "checkpoint 9 of another run", lambda folder: _replaced(folder, samples, "9")
    yield "checkpoint 12 of another run", lambda folder: _replaced(folder, samples, "12")
    yield "an empty folder 12", lambda folder: (folder / "12").mkdir() or {12}
    others = checkpoint_files.others(samples)
    found = list(checkpoint_files.damages(samples / "run/checkpoints/9", others, lengths=4))
    random.Random(0).shuffle(found)
    for number, its in enumerate(found):
        both = number % 5 == 4
        name = f"file {its.file} {its.what}{', in 6 and 9' if both else ''}"
        steps = (6, 9) if both else (9,)
        yield name, lambda folder, its=its, steps=steps: _applied(folder, its, steps)


def _applied(folder: Path, damage: Damage, steps: tuple[int, ...]) -> set[int]:
    for step in steps:
        path = files(folder / str(step))[damage.file]
        if damage.content is None:
            path.unlink()
        else:
            path.write_bytes(damage.content)
    return set(steps)


def _moved(folder: Path, old: str, new: str) -> set[int]:
    (folder / old).rename(folder / new)
    return {int(new)}


def _exchanged(folder: Path) -> set[int]:
    (folder / "6").rename(folder / "x")
    _moved(folder, "9", "6")
    return _moved(folder, "x", "9") | {6}


def _replaced(folder: Path, samples: Path, name: str) -> set[int]:
    """Puts a checkpoint of another run there: damaged under another name, else refused."""
    shutil.rmtree(folder / "9")
    shutil.copytree(samples / "other" / "checkpoints" / "9", folder / name)
    return set() if name == "9" else {int(name)}
