"""What befalls a training besides an operation that fails: its folder, clock, memory and programs.

Each is a script that patches a function of the training, and then runs the command. So the moment
is the same at any speed.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGBUS, SIGKILL
from typing import Any

from benchmarks.reliability.failing import scenes, scripts, verdict
from benchmarks.reliability.failing.scenes import COLD, TRAINING, Scene
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.trial import Trial


@dataclass(frozen=True)
class Mishap:
    """One thing that befalls a training at one moment."""

    row: str  # of the table
    name: str  # tells it from the others of its row
    play: Callable[[Stage, Any], str]
    scene: Scene = TRAINING  # what it befalls


ENDS = {"SIGTERM": 75, "SIGKILL": -SIGKILL}  # the status of a training that gets the signal
FUTURE = 10 * 365 * 24 * 3600  # seconds


def taken_away(stage: Stage, plain: Any, *, how: str, moment: str, number: int) -> str:
    """Takes the folder of a training away, or part of it; judges as `verdict.play`."""
    stage.reset(TRAINING)
    shutil.rmtree(stage.workdir.parent / "elsewhere", ignore_errors=True)
    trial = _run(stage, scripts.TAKE, moment, number, how)
    if trial is None:
        return verdict.UNMET
    if wrong := verdict.ended_badly(trial):
        return wrong
    gone = (scenes.EARLIER,)  # which were taken away
    if trial.status == 0:
        wrong = verdict.compared(stage.workdir, TRAINING, trial, plain, ignored=gone)
        return wrong or verdict.HARMLESS
    if how == "file":
        stage.workdir.unlink(missing_ok=True)  # as its message asks for
    return verdict.goes_on(stage, TRAINING, plain, ignored=gone) or verdict.MESSAGE


def cache_taken(stage: Stage, plain: Any, *, how: str, moment: str, number: int) -> str:
    """Deletes, replaces or cuts off the cache of the data while it is mapped."""
    stage.reset(TRAINING)
    trial = _run(stage, scripts.CACHE, moment, number, how)
    if trial is None:
        return verdict.UNMET
    if how == "cut" and trial.status == -SIGBUS:  # what reads a page that is gone
        return verdict.goes_on(stage, TRAINING, plain) or verdict.ABORTED
    return verdict.judged(stage, TRAINING, trial, plain)


def starved(stage: Stage, plain: Any, *, moment: str, number: int, mebibytes: int) -> str:
    """Lets a training have that little more memory from a moment on."""
    stage.reset(TRAINING)
    trial = _run(stage, scripts.STARVE, moment, number, mebibytes)
    if trial is None:
        return verdict.UNMET
    if trial.status < 0:
        return verdict.goes_on(stage, TRAINING, plain) or verdict.ABORTED
    end = verdict.judged(stage, TRAINING, trial, plain, names_file=False)
    return verdict.UNMET if end == verdict.HARMLESS else end  # it had enough


def signalled(stage: Stage, plain: Any, *, signal: str, number: int) -> str:
    """Sends a signal while XLA compiles a program that no cache holds."""
    stage.reset(COLD)
    trial = _run(stage, scripts.SIGNAL, "compiling", number, signal)
    if trial is None:
        return verdict.UNMET
    if trial.status == 0:  # the signal came too late
        return verdict.compared(stage.workdir, COLD, trial, plain) or verdict.UNMET
    if trial.status != ENDS[signal] or "Traceback" in trial.errors:
        return f"it ends with status {trial.status}: {trial.errors[-300:]}"
    return verdict.goes_on(stage, COLD, plain) or verdict.STOPPED


def clock_back(stage: Stage, plain: Any, *, seconds: int, moment: str, number: int) -> str:
    """Sets the wall clock back at one moment."""
    stage.reset(TRAINING)
    trial = _run(stage, scripts.SET_BACK, moment, number, seconds)
    if trial is None:
        return verdict.UNMET
    end = verdict.judged(stage, TRAINING, trial, plain)
    if end == verdict.MESSAGE:  # a clock is no reason to end
        return f"it ends with status {trial.status}: {trial.errors[-200:]}"
    return (_negative(stage.workdir) or end) if end == verdict.HARMLESS else end


def from_the_future(stage: Stage, plain: Any) -> str:
    """Gives all files times that have not come yet."""
    stage.reset(TRAINING)
    then = time.time() + FUTURE
    paths = [*stage.workdir.rglob("*"), *stage.shared.rglob("*")]
    if not paths:
        raise LookupError("no file is there")
    for path in paths:
        os.utime(path, (then, then))
    return verdict.judged(stage, TRAINING, stage.run(*TRAINING.words), plain)


def damaged_program(stage: Stage, plain: Any, *, damage: str, name: str) -> str:
    """Damages the compiled programs of a name, or all of them; judges as `verdict.play`.

    Raises:
      LookupError: there is none of that name.
    """
    stage.reset(TRAINING)
    paths = sorted(stage.shared.glob(f"cache/mnist_jax/programs/{name}*-cache"))
    if not paths:
        raise LookupError(f"no program is called {name}")
    for path in paths:
        content = bytearray(path.read_bytes())
        at = len(content) * 2 // 3
        if damage == "flipped":
            content[at] ^= 4
        elif damage == "cut":
            del content[at:]
        elif damage == "empty":
            content.clear()
        else:
            content[at : at + 64] = bytes(64)
        path.write_bytes(content)
    return verdict.judged(stage, TRAINING, stage.run(*TRAINING.words), plain)


def _negative(workdir: Path) -> str:
    """Returns which times of a run are negative; empty if none is."""
    found = scenes.times(workdir)
    wrong = [f"{name} {value}" for name, value in found if value < 0]
    return f"negative: {', '.join(wrong)}" if wrong else ""


def _run(stage: Stage, script: str, moment: str, number: int, how: Any) -> Trial | None:
    """Runs a training that something befalls; returns None if it ended in order before that."""
    marker = stage.workdir.parent / scripts.HAPPENED
    marker.unlink(missing_ok=True)
    words = (moment, str(number), str(how), *TRAINING.words[2:])
    trial = stage.run("-c", f"{scripts.AT}{script}at(happen)\n{scenes.WITHOUT_REPORT}", *words)
    if marker.exists() and marker.stat().st_size:
        return trial
    if trial.status:
        raise RuntimeError(f"it ends with status {trial.status} before: {trial.errors[-300:]}")
    return None


def _all(row: str, play: Callable[..., str], *each: dict[str, Any]) -> list[Mishap]:
    return [
        Mishap(row, ", ".join(f"{k} {v}" for k, v in its.items()), partial(play, **its))
        for its in each
    ]


MOMENTS = [
    {"moment": moment, "number": number}
    for moment, number in (
        ("training", 2),
        ("training", 5),
        ("saving", 1),
        ("saving", 2),
        ("saving", 3),
        ("shown", 2),
        ("evaluating", 1),
        ("reporting", 1),
    )
]
TAKEN = "the folder of a training is deleted, renamed or replaced by a file, or its checkpoints are"
MAPPED = "the cache of the data is deleted, replaced or cut off while it is mapped into memory"
CLOCK = (
    "the wall clock of Python is set back by a second, a minute, an hour or a day, at the start, "
    "in training, as a checkpoint is saved or an epoch is shown; or all files are of the future"
)
MEMORY = "memory that does not suffice, from the start or from some moment on"
COMPILING = "SIGTERM or SIGKILL while programs are compiled"
PROGRAMS = "compiled programs that are damaged on the disk"
EVERY = [
    *_all(
        TAKEN,
        taken_away,
        *(
            {"how": how} | at
            for how in ("deleted", "renamed", "file", "checkpoints")
            for at in MOMENTS
        ),
    ),
    *_all(
        MAPPED,
        cache_taken,
        *({"how": how} | at for how in ("deleted", "replaced", "cut") for at in MOMENTS[1::3]),
    ),
    *_all(
        CLOCK,
        clock_back,
        *(
            at | {"seconds": seconds}
            for at in ({"moment": "start", "number": 1}, MOMENTS[1], MOMENTS[3], MOMENTS[5])
            for seconds in (1, 60, 3600, 86400)
        ),
    ),
    *_all(CLOCK, from_the_future, {}),
    *_all(
        MEMORY,
        starved,
        *(
            {"moment": "start", "number": 1, "mebibytes": size}
            for size in (0, *range(4, 64, 4), *range(64, 512, 16), *range(512, 3072, 256))
        ),
        *(at | {"mebibytes": size} for at in MOMENTS for size in (0, 1, 2, 4, 8, 16, 32, 64)),
    ),
    *_all(
        COMPILING,
        signalled,
        *({"signal": s, "number": n} for s in ("SIGTERM", "SIGKILL") for n in (1, 2, 3)),
    ),
    *_all(
        PROGRAMS,
        damaged_program,
        *({"damage": d, "name": "jit_"} for d in ("flipped", "cut", "empty", "zeros")),
        *(
            {"damage": d, "name": n}
            for d in ("flipped", "cut")
            for n in ("jit_steps", "jit_start", "jit_add", "jit_examine", "jit_stage")
        ),
    ),
]
FEW = [
    *_all(TAKEN, taken_away, {"how": "deleted"} | MOMENTS[1]),
    *_all(PROGRAMS, damaged_program, {"damage": "flipped", "name": "jit_add"}),
]
