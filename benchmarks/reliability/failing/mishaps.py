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
from signal import SIGABRT, SIGBUS, SIGKILL
from typing import Any

from benchmarks.reliability.failing import saved, scenes, scripts, verdict
from benchmarks.reliability.failing.ending import End, Ending
from benchmarks.reliability.failing.promise import Promise
from benchmarks.reliability.failing.scenes import COLD, RESUMED, TRAINING, Scene
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.trial import Trial


@dataclass(frozen=True)
class Mishap:
    """One thing that befalls a training at one moment."""

    row: str  # of the table
    name: str  # tells it from the others of its row
    play: Callable[[Stage, Any], End]
    scene: Scene = TRAINING  # what it befalls


ENDS = {"SIGTERM": 75, "SIGKILL": -SIGKILL}  # the status of a training that gets the signal
WITHOUT_STORAGE = 127  # as the C library ends a process without memory for thread-local data
ABORTS = {-SIGABRT: Ending.ABORTED}
FUTURE = 10 * 365 * 24 * 3600  # seconds


def taken_away(stage: Stage, plain: Any, *, how: str, moment: str, number: int) -> End:
    """Takes the folder of a training away, or part of it; judges as `verdict.play`."""
    stage.reset(TRAINING)
    shutil.rmtree(stage.workdir.parent / "elsewhere", ignore_errors=True)
    trial = _run(stage, scripts.TAKE, moment, number, how)
    if trial is None:
        return End(Ending.UNMET)
    if how == "file" and trial.status:
        stage.workdir.unlink(missing_ok=True)  # as its message asks for
    return verdict.judged(stage, TRAINING, trial, plain, Promise(taken=True))


def cache_taken(stage: Stage, plain: Any, *, how: str, moment: str, number: int) -> End:
    """Deletes, replaces or cuts off the cache of the data while it is mapped."""
    stage.reset(TRAINING)
    trial = _run(stage, scripts.CACHE, moment, number, how)
    if trial is None:
        return End(Ending.UNMET)
    # A read of a page that is gone.
    others = ABORTS | {-SIGBUS: Ending.ABORTED} if how == "cut" else {}
    return verdict.judged(stage, TRAINING, trial, plain, Promise(others=others))


def starved(
    stage: Stage,
    plain: Any,
    *,
    moment: str,
    number: int,
    mebibytes: int,
    scene: Scene = TRAINING,
) -> End:
    """Lets a training have that little more memory from a moment on."""
    stage.reset(scene)
    before = saved.saved(stage.workdir)
    trial = _run(stage, scripts.STARVE, moment, number, mebibytes)
    if trial is None:
        return End(Ending.UNMET)
    promise = Promise(names=False, others=ABORTS | {WITHOUT_STORAGE: Ending.ABORTED})
    end = verdict.judged(stage, scene, trial, plain, promise, before)
    return _unless_harmless(end)  # it had enough


def signalled(stage: Stage, plain: Any, *, signal: str, number: int) -> End:
    """Sends a signal while XLA compiles a program that no cache holds."""
    stage.reset(COLD)
    trial = _run(stage, scripts.SIGNAL, "compiling", number, signal)
    if trial is None:
        return End(Ending.UNMET)
    promise = Promise(harmless=True, others={ENDS[signal]: Ending.STOPPED})
    end = verdict.judged(stage, COLD, trial, plain, promise)
    return _unless_harmless(end)  # the signal came too late


def clock_back(stage: Stage, plain: Any, *, seconds: int, moment: str, number: int) -> End:
    """Sets the wall clock back at one moment."""
    stage.reset(TRAINING)
    trial = _run(stage, scripts.SET_BACK, moment, number, seconds)
    if trial is None:
        return End(Ending.UNMET)
    end = verdict.judged(stage, TRAINING, trial, plain, Promise(harmless=True))
    return end if end.wrong else End(end.ending, _negative(stage.workdir))


def from_the_future(stage: Stage, plain: Any) -> End:
    """Gives all files times that have not come yet."""
    stage.reset(TRAINING)
    then = time.time() + FUTURE
    paths = [*stage.workdir.rglob("*"), *stage.shared.rglob("*")]
    if not paths:
        raise LookupError("no file is there")
    for path in paths:
        os.utime(path, (then, then))
    trial = stage.run(*TRAINING.words)
    return verdict.judged(stage, TRAINING, trial, plain, Promise(harmless=True))


def damaged_program(stage: Stage, plain: Any, *, damage: str, name: str) -> End:
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


def _unless_harmless(end: End) -> End:
    return end._replace(ending=Ending.UNMET) if end.ending is Ending.HARMLESS else end


def _negative(workdir: Path) -> str:
    """Returns which times of a run are negative; empty if none is."""
    found = scenes.times(workdir)
    wrong = [f"{name} {value}" for name, value in found if value < 0]
    return f"negative: {', '.join(wrong)}" if wrong else ""


def _run(stage: Stage, script: str, moment: str, number: int, how: Any) -> Trial | None:
    """Runs a training that something befalls; returns None if it ended in order before that."""
    marker = stage.workdir.parent / scripts.HAPPENED
    marker.unlink(missing_ok=True)
    words = (moment, str(number), str(how), *TRAINING.words[2:])  # those of a resumed one, too
    trial = stage.run("-c", f"{scripts.AT}{script}{scripts.RUN}", *words)
    if marker.exists() and marker.stat().st_size:
        return trial
    if trial.status:
        raise RuntimeError(f"it ends with status {trial.status} before: {trial.errors[-300:]}")
    return None


def _all(row: str, play: Callable[..., End], *each: dict[str, Any]) -> list[Mishap]:
    return [
        Mishap(row, _name(its), partial(play, **its), its.get("scene", TRAINING)) for its in each
    ]


def _name(its: dict[str, Any]) -> str:
    words = {k: v.name if isinstance(v, Scene) else v for k, v in its.items()}
    return ", ".join(f"{k} {v}" for k, v in words.items())


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
RESUMING = [
    {"moment": "restoring", "number": 1},
    {"moment": "training", "number": 2},
    {"moment": "saving", "number": 1},
]
LITTLE = (0, 1, 2, 4, 8, 16, 32, 64)  # MiB
TAKEN = "the folder of a training is deleted, renamed or replaced by a file, or its checkpoints are"
MAPPED = "the cache of the data is deleted, replaced or cut off while it is mapped into memory"
CLOCK = (
    "the wall clock of Python is set back by a second, a minute, an hour or a day, at the start, "
    "in training, as a checkpoint is saved or an epoch is shown; or all files are of the future"
)
MEMORY = (
    "a training, new or resumed, whose memory does not suffice, from the start or from some moment "
    "on"
)
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
        *(at | {"mebibytes": size} for at in MOMENTS for size in LITTLE),
        *(at | {"mebibytes": size, "scene": RESUMED} for at in RESUMING for size in LITTLE),
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
