"""The checkpoints of a run or a sweep: which a start has lost, and from which it has to go on."""

import re
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability.failing.scenes import EPOCHS, KEPT, STEPS
from benchmarks.reliability.killing.left import newest
from benchmarks.reliability.left import folders
from benchmarks.reliability.trial import Trial
from mnist_jax.errors import UserError
from mnist_jax.training import checkpoint, checkpoints


class Saved(NamedTuple):
    """What a folder holds before a start."""

    steps: dict[Path, list[int]]  # of all checkpoints of a run, or of each population
    due: list[int]  # from which the start has to go on


NOTHING = Saved({}, [])


def saved(workdir: Path) -> Saved:
    """Returns what the folder of a run or a sweep holds."""
    complete = {Path(path).parent: step for path, step in newest(workdir).items()}
    due = [step for folder, step in complete.items() if not _finished(folder)]
    return Saved(
        {folder: checkpoints.steps(folder / "checkpoints") for folder in folders(workdir)},
        sorted(due),
    )


def _finished(folder: Path) -> bool:
    return (folder / "result.json").exists() or (folder / "results.json").exists()


def lost(workdir: Path, trial: Trial, before: Saved, *, taken: bool = False) -> str:
    """Returns which checkpoint is missing, damaged or set aside after a start; empty if none is.

    Args:
      workdir: the folder of a run or a sweep.
      trial: the start.
      before: what the folder held before it.
      taken: True if checkpoints were taken away from it, so that they may be missing.
    """
    now = saved(workdir).steps
    for folder in before.steps.keys() | now.keys():
        there = now.get(folder, [])
        wrong = _damaged(folder / "checkpoints", there)
        if not wrong and not taken:
            its = {*before.steps.get(folder, [])} | _written(folder, workdir, trial)
            wrong = _missing(its, there)
        if wrong:
            return wrong
    return ""


def _damaged(folder: Path, steps: list[int]) -> str:
    if aside := [path.name for path in folder.glob("*damaged*")]:
        return f"checkpoints were set aside: {', '.join(aside)}"
    for step in steps:
        try:
            checkpoint.check(folder, step)
        except (checkpoint.DamagedError, UserError) as error:
            return f"checkpoint {step} is not sound: {error}"
    return ""


def _missing(steps: set[int], there: list[int]) -> str:
    for step in sorted(steps):
        if step not in there and step + KEPT * STEPS not in there:
            return f"checkpoint {step} is lost; there are {there}"
    return ""


def _written(folder: Path, workdir: Path, trial: Trial) -> set[int]:
    """Returns the steps whose checkpoints are on the disk, by what a start has shown or written."""
    if folder != workdir:  # a population, whose results are written after its checkpoint
        return {STEPS} if _finished(folder) else set()
    shown = sorted(map(int, re.findall(rf"^ +(\d+)/{EPOCHS} ", trial.output, re.MULTILINE)))
    # An epoch is shown once the checkpoint of the one before is on the disk.
    return {STEPS * epoch for epoch in shown[:-1]}


def not_gone_on(trial: Trial, before: Saved) -> str:
    """Returns what is wrong with where a start went on; empty if nothing is.

    Training from the start again would give the same bits.
    """
    said = sorted(map(int, re.findall(r"^resuming from step (\d+)", trial.output, re.MULTILINE)))
    return "" if said == before.due else f"it goes on from steps {said}, not from {before.due}"
