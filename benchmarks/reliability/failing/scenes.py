"""The short commands whose file operations fail, and what they leave behind when none does.

A network that is trained within a second on a small data set of a user's own, with everything that
a restart could lose: dropout, batch statistics, an average, a schedule, distortion.
"""

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.reliability import made_up
from benchmarks.reliability.left import untimed
from benchmarks.reliability.trial import Trial
from mnist_jax.training import checkpoint, checkpoints

EPOCHS, KEPT, STEPS = 3, 2, 10  # epochs, checkpoints that are kept, steps of an epoch
TIMES = ("seconds", "images_per_second", "train_seconds", "compile_seconds", "total_seconds")
WORKDIR = "run"
PROGRAMS = "cache"  # the folder of the compiled programs
EARLIER = "earlier checkpoints"  # among what is left
DATA = made_up.module("Digits", side=28, classes=10)
CONFIG = f"""
from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = {EPOCHS}
    config.keep_latest = {KEPT}
    config.batch_size = 50
    config.chunk_steps = 4
    config.data.name = "made_up:Digits"
    config.data.train_split = "train[:{50 * STEPS}]"
    config.data.val_split = "train[{50 * STEPS}:]"
    config.model = dict(
        name="cnn", features=(4,), kernel=(5,), dense=(8,), dropout=0.2, normalisation="batch"
    )
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
# Runs a command without its report, which takes longer than all the rest.
WITHOUT_REPORT = """
import runpy, sys
from mnist_jax import compare, experiment
experiment.publish = lambda *arguments, **keywords: {}
compare.compare = lambda *arguments, **keywords: None
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
SHORT = ("-c", WITHOUT_REPORT)
# Only a checkpoint is written, or read: a short command, of which every operation can fail with
# every error.
CHECKPOINT = f"""
import sys
from pathlib import Path
import numpy as np
from mnist_jax.errors import UserError
from mnist_jax.training.checkpoints import Checkpoints, newest_sound

state = {{"params": {{"a": np.arange(6.0).reshape(1, 6)}}, "best": {{"b": np.ones((2, 1))}}}}
folder = Path({WORKDIR!r}, "checkpoints")
try:
    if "save" in sys.argv:
        with Checkpoints(folder, keep_latest={KEPT}) as writer:
            for step in map(int, sys.argv[2:]):
                writer.save(state, step, {{"step": step}})
    found = newest_sound(folder, state, set_aside=True)
    print(found)
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
    left: Callable[[Path, Trial], Any] = field(default=lambda workdir, trial: run(workdir))


def run(workdir: Path) -> dict[str, Any]:
    """Returns all that a run leaves, but its times and its commit."""
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    with (workdir / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    return {
        **bits(workdir / "checkpoints"),
        "rows": [untimed(json.loads(row)) for row in rows],
        "table": [untimed(row) for row in table],
        "result": untimed(json.loads((workdir / "result.json").read_text())),
        "config": json.loads((workdir / "config.json").read_text()),
        **_evaluation(workdir),
    }


def sweep(workdir: Path, trial: Trial) -> dict[str, Any]:
    """Returns all that a sweep leaves, but its times and its commit."""
    del trial
    populations = sorted((workdir / "populations").iterdir())
    results = [json.loads((folder / "results.json").read_text()) for folder in populations]
    rows = [json.loads(row) for row in (workdir / "sweep.jsonl").read_text().splitlines()]
    return {
        "bits": [bits(folder / "checkpoints") for folder in populations],
        "results": [untimed(its) for its in results],
        "rows": [untimed(row) for row in rows],
        "result": untimed(json.loads((workdir / "result.json").read_text())),
        "members": json.loads((workdir / "sweep.json").read_text()),
    }


def printed(workdir: Path, trial: Trial) -> dict[str, Any]:
    """Returns what a command that changes nothing has printed, and a digest of each file."""
    files = sorted(path for path in workdir.rglob("*") if path.is_file())
    return {"output": trial.output} | {
        str(path.relative_to(workdir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def evaluated(workdir: Path, trial: Trial) -> dict[str, Any]:
    """Returns what a run and its evaluation hold, and what was printed."""
    return {**run(workdir), "output": trial.output}


def exported(workdir: Path, trial: Trial) -> dict[str, Any]:
    """Returns the exported weights, and what their file says of them, in whatever order."""
    del trial
    found = {}
    for path in workdir.glob("export/*.safetensors"):
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        found[path.name] = json.loads(content[8:end]), content[end:]
    return found


def bits(folder: Path) -> dict[str, Any]:
    """Returns step and digests of all checkpoints that are to be kept, which are checked."""
    *earlier, newest = [_digests(folder, step) for step in checkpoints.steps(folder)[-KEPT:]]
    return {"newest checkpoint": newest, EARLIER: earlier}


def _digests(folder: Path, step: int) -> dict[str, Any]:
    checkpoint.check(folder, step)
    text = (folder / str(step) / checkpoint.METADATA).read_text()
    return {"step": step, **json.loads(text)["custom_metadata"]["digests"]}


def times(workdir: Path) -> list[tuple[str, float]]:
    """Returns all times that a run has measured, by name."""
    rows = [json.loads(row) for row in (workdir / "metrics.jsonl").read_text().splitlines()]
    rows.append(json.loads((workdir / "result.json").read_text()))
    return [(name, row[name]) for row in rows for name in TIMES if name in row]


def _evaluation(workdir: Path) -> dict[str, Any]:
    path = workdir / "evaluation.json"
    if not path.exists():
        return {}
    plots = sorted(path.name for path in (workdir / "plots").iterdir())
    report = (workdir / "report.html").read_text().rstrip().endswith("</html>")
    return {"evaluation": json.loads(path.read_text()), "plots": plots, "report": report}


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
    left=lambda workdir, trial: bits(workdir / "checkpoints"),
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
SWEEPING = Scene("a sweep of two populations", SWEEP, left=sweep)
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
    left=exported,
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
