"""The short commands whose file operations fail, and what they leave behind when none does.

A network that is trained within a second on a small data set of a user's own, with everything that
a restart could lose: dropout, batch statistics, an average, a schedule, distortion.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.reliability import made_up
from benchmarks.reliability.killing.left import contents
from benchmarks.reliability.trial import Trial

EPOCHS, KEPT, STEPS = 3, 2, 10  # epochs, checkpoints that are kept, steps of an epoch
TIMES = ("seconds", "images_per_second", "train_seconds", "compile_seconds", "total_seconds")
WORKDIR = "run"
PROGRAMS = "cache"  # the folder of the compiled programs
EARLIER = f"checkpoints/{(EPOCHS - 1) * STEPS}"  # among what is left
DATA = made_up.module("Digits", side=28, classes=10)
CONFIG = f"""
from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = {EPOCHS}
    config.keep_latest = {KEPT}
    config.batch_size = 50
    config.chunk_steps = 5
    config.data.name = "made_up:Digits"
    config.data.train_split = "train[:{50 * STEPS}]"
    config.data.val_split = "train[{50 * STEPS}:]"
    config.model = dict(name="mlp", hidden=(8,), dropout=0.2, normalisation="batch")
    config.augment.rotation = 10.0
    config.optimizer = dict(name="adam")
    config.schedule = dict(name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=4e-3)
    config.ema_decay = 0.9
    return config
"""
MEMBERS = """
import tiny
from mnist_jax.members import Sweep


def get_sweep():
    members = {}
    for width in (4, 6):
        config = tiny.get_config()
        config.num_epochs = 1
        config.model = dict(name="mlp", hidden=(width,))
        members[f"width {width}"] = config
    return Sweep(members)
"""
SHORT = ("-m", "benchmarks.unreported")
# Only a checkpoint is written, or read: a short command, of which every operation can fail with
# every error.
CHECKPOINT = f"""
import sys
from pathlib import Path
import numpy as np
from benchmarks.reliability.records import record
from mnist_jax.errors import UserError
from mnist_jax.training.checkpoints import Checkpoints, newest_sound

state = {{"params": {{"a": np.arange(6.0).reshape(1, 6)}}, "best": {{"b": np.ones((1, 1))}}}}
folder = Path({WORKDIR!r}, "checkpoints")
try:
    found = newest_sound(folder, state, set_aside=True)
    if found:
        print(f"resuming from step {{found[2]}}", found)
    if "save" in sys.argv:
        with Checkpoints(folder, keep_latest={KEPT}) as writer:
            for step in map(int, sys.argv[2:]):
                if not found or step > found[2]:
                    writer.save(state, step, record(step))
except UserError as error:
    sys.exit(f"error: {{error}}")
"""


@dataclass(frozen=True)
class Scene:
    """A command on a folder in a certain state."""

    name: str  # for the table
    words: tuple[str, ...]  # the arguments of `python`
    before: tuple[str, ...] = ()  # the command that makes its folder; none: there is no folder
    without: tuple[str, ...] = ()  # what is then removed from it
    cold: tuple[str, ...] = ()  # what is not there yet: `data` that are prepared, compiled programs
    left: Callable[[Path, Trial], Any] = field(default=lambda workdir, trial: contents(workdir))


def printed(workdir: Path, trial: Trial) -> dict[str, Any]:
    """Returns what a command that changes nothing has printed, and a digest of each file."""
    files = sorted(path for path in workdir.rglob("*") if path.is_file())
    return {"output": trial.output} | {
        str(path.relative_to(workdir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def evaluated(workdir: Path, trial: Trial) -> dict[str, Any]:
    """Returns what a folder holds, and what was printed."""
    return {**contents(workdir), "output": trial.output}


def times(workdir: Path) -> list[tuple[str, float]]:
    """Returns all times that a run has measured, by name."""
    rows = [json.loads(row) for row in (workdir / "metrics.jsonl").read_text().splitlines()]
    rows.append(json.loads((workdir / "result.json").read_text()))
    return [(name, row[name]) for row in rows for name in TIMES if name in row]


def _main(*words: str) -> tuple[str, ...]:
    return ("mnist_jax.main", "--config=tiny.py", f"--workdir={WORKDIR}", *words)


TRAIN = (*SHORT, *_main())
REPORTED = ("-m", *_main())
SWEEP = (*SHORT, "mnist_jax.sweep", "--config=widths.py", f"--workdir={WORKDIR}")
OF_RUN = f"--workdir={WORKDIR}"

SAVED = ("-c", CHECKPOINT, "save", "10", "20")
SAVING = Scene(
    "a checkpoint that is written",
    ("-c", CHECKPOINT, "save", "30"),
    before=SAVED,
)
RESTORING = Scene(
    "a checkpoint that is read", ("-c", CHECKPOINT, "load"), before=SAVED, left=printed
)
TRAINING = Scene("a training", TRAIN)
PREPARING = Scene("a training that prepares its data", TRAIN, cold=("data",))
COLD = Scene("a first start, which compiles as well", TRAIN, cold=("data", PROGRAMS))
LAST = f"checkpoints/{EPOCHS * STEPS}"
RESUMED = Scene("a training that goes on", TRAIN, before=TRAIN, without=(LAST, "result.json"))
REPORT = Scene("the report of a training", REPORTED, before=TRAIN, without=("result.json",))
SWEEPING = Scene("a sweep of two populations", SWEEP)
EVALUATING = Scene(
    "`evaluate`",
    ("-m", "mnist_jax.evaluate", OF_RUN),
    before=REPORTED,
    without=("evaluation.json", "plots", "report.html"),
    left=evaluated,
)
PREDICTING = Scene(
    "`predict`",
    ("-m", "mnist_jax.predict", OF_RUN, "--test_image=3"),
    before=TRAIN,
    left=printed,
)
VERIFYING = Scene("`verify`", ("-m", "mnist_jax.verify", OF_RUN), before=TRAIN, left=printed)
EXPORTING = Scene(
    "`export`",
    ("-m", "mnist_jax.export", OF_RUN, "--format=safetensors"),
    before=TRAIN,
)
SCENES = (
    RESTORING,
    SAVING,
    TRAINING,
    PREPARING,
    COLD,
    RESUMED,
    REPORT,
    SWEEPING,
    EVALUATING,
    PREDICTING,
    VERIFYING,
    EXPORTING,
)
