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
from typing import Any

from benchmarks.reliability.failing import scenes, verdict
from benchmarks.reliability.failing.scenes import COLD, TRAINING, WORKDIR, Scene
from benchmarks.reliability.failing.stage import Stage
from benchmarks.reliability.trial import Trial

# Calls `happen()` before the function that stands for a moment is called for the Nth time.
AT = """
import glob, os, resource, shutil, signal, sys, threading
import jax
from mnist_jax import experiment
from mnist_jax.training import checkpoint, console

MOMENTS = {
    "compiling": (jax.stages.Lowered, "compile"),
    "training": (console.Console, "update"),
    "saving": (checkpoint, "write"),
    "shown": (console.Console, "end_epoch"),
    "evaluating": (experiment, "_evaluate"),
    "reporting": (experiment, "_publish"),
}
moment, number, how = sys.argv[1:4]
del sys.argv[1:4]

def at(happen):
    if moment == "start":
        return happen()
    place, name = MOMENTS[moment]
    function, calls = getattr(place, name), []
    def patched(*arguments, **keywords):
        calls.append(name)
        if len(calls) == int(number):
            happen()
        return function(*arguments, **keywords)
    setattr(place, name, patched)
"""
TAKE = f"""
def happen():
    if how == "renamed":
        return os.rename({WORKDIR!r}, "elsewhere")
    shutil.rmtree({WORKDIR!r} + ("/checkpoints" if how == "checkpoints" else ""))
    if how == "file":
        open({WORKDIR!r}, "w").close()
"""
# Leaves that many MiB of address space.
STARVE = """
def happen():
    used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (int(how) << 20), resource.RLIM_INFINITY))
"""
# The signal comes within the call.
SIGNAL = """
def happen():
    threading.Timer(0.02, os.kill, (os.getpid(), getattr(signal, how))).start()
"""
CACHE = """
def happen():
    (path,) = glob.glob(os.environ["TFDS_DATA_DIR"] + "/mnist_jax/*.cache")
    if how == "deleted":
        os.unlink(path)
    elif how == "replaced":
        shutil.copy(path, path + ".other")
        os.replace(path + ".other", path)
    else:
        os.truncate(path, 4096)
"""


@dataclass(frozen=True)
class Mishap:
    """One thing that befalls a training at one moment."""

    row: str  # of the table
    name: str  # tells it from the others of its row
    play: Callable[[Stage, Any], str]
    scene: Scene = TRAINING  # what it befalls


FUTURE = 10 * 365 * 24 * 3600  # seconds


def taken_away(stage: Stage, plain: Any, *, how: str, moment: str, number: int) -> str:
    """Takes the folder of a training away, or part of it; judges as `verdict.play`."""
    stage.reset(TRAINING)
    shutil.rmtree(stage.workdir.parent / "elsewhere", ignore_errors=True)
    trial = _run(stage, TAKE, moment, number, how)
    if wrong := verdict.ended_badly(trial):
        return wrong
    if trial.status == 0:
        return verdict.compared(stage.workdir, TRAINING, trial, plain) or verdict.HARMLESS
    if how == "file":
        stage.workdir.unlink(missing_ok=True)  # as its message asks for
    return verdict.goes_on(stage, TRAINING, plain) or verdict.MESSAGE


def cache_taken(stage: Stage, plain: Any, *, how: str, moment: str, number: int) -> str:
    """Deletes, replaces or cuts off the cache of the data while it is mapped."""
    stage.reset(TRAINING)
    trial = _run(stage, CACHE, moment, number, how)
    if trial.status < 0:
        return verdict.goes_on(stage, TRAINING, plain) or verdict.ABORTED
    return verdict.judged(stage, TRAINING, trial, plain)


def starved(stage: Stage, plain: Any, *, moment: str, number: int, mebibytes: int) -> str:
    """Lets a training have that little more memory from a moment on."""
    stage.reset(TRAINING)
    try:
        trial = _run(stage, STARVE, moment, number, mebibytes)
    except TimeoutError:
        return "it hangs"
    if trial.status < 0 or trial.status > 128:
        return verdict.goes_on(stage, TRAINING, plain) or verdict.ABORTED
    return verdict.judged(stage, TRAINING, trial, plain, names_file=False)


def signalled(stage: Stage, plain: Any, *, signal: str, number: int) -> str:
    """Sends a signal while XLA compiles a program that no cache holds."""
    stage.reset(COLD)
    trial = _run(stage, SIGNAL, "compiling", number, signal)
    if trial.status not in (0, -9, verdict.STOPPED):
        return f"it ends with status {trial.status}: {trial.errors[-300:]}"
    return verdict.goes_on(stage, COLD, plain) or verdict.MESSAGE


def clock_back(stage: Stage, plain: Any, *, seconds: int) -> str:
    """Lets the wall clock fall behind by so many seconds at each reading."""
    stage.reset(TRAINING)
    trial = stage.run(*TRAINING.words, INTERPOSED_CLOCK=str(seconds))
    end = verdict.judged(stage, TRAINING, trial, plain)
    if end == verdict.MESSAGE:  # a clock is no reason to end
        return f"it ends with status {trial.status}: {trial.errors[-200:]}"
    return (_negative(stage.workdir) or end) if end == verdict.HARMLESS else end


def from_the_future(stage: Stage, plain: Any) -> str:
    """Gives all files times that have not come yet."""
    stage.reset(TRAINING)
    then = time.time() + FUTURE
    for path in [*stage.workdir.rglob("*"), *stage.shared.rglob("*")]:
        os.utime(path, (then, then))
    return verdict.judged(stage, TRAINING, stage.run(*TRAINING.words), plain)


def damaged_program(stage: Stage, plain: Any, *, damage: str, name: str) -> str:
    """Damages the compiled programs of a name, or all of them; judges as `verdict.play`."""
    stage.reset(TRAINING)
    for path in sorted(stage.shared.glob(f"cache/mnist_jax/programs/{name}*-cache")):
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


def _run(stage: Stage, script: str, moment: str, number: int, how: Any) -> Trial:
    words = (moment, str(number), str(how), *TRAINING.words[2:])
    return stage.run("-c", f"{AT}{script}at(happen)\n{scenes.WITHOUT_REPORT}", *words)


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
CLOCK = "the clock goes back at each reading; or all files are of the future"
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
    *_all(CLOCK, clock_back, *({"seconds": seconds} for seconds in (1, 60, 3600, 86400))),
    *_all(CLOCK, from_the_future, {}),
    *_all(
        MEMORY,
        starved,
        *(
            {"moment": "start", "number": 1, "mebibytes": size}
            for size in (0, *range(4, 64, 4), *range(64, 512, 16), *range(512, 4096, 128))
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
    *_all(CLOCK, clock_back, {"seconds": 3600}),
    *_all(MEMORY, starved, MOMENTS[3] | {"mebibytes": 0}),
    *_all(PROGRAMS, damaged_program, {"damage": "flipped", "name": "jit_"}),
]
