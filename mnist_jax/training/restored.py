"""A trained run brought back from its checkpoints, on whatever devices there are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from mnist_jax import data, models
from mnist_jax.analysis.publish import publish
from mnist_jax.compilation import keep_programs
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.files import read_json
from mnist_jax.models import Model, Tree
from mnist_jax.training import checkpoint
from mnist_jax.training.inference import Inference
from mnist_jax.training.loss import find_loss
from mnist_jax.training.workdir import read_config


@dataclass(frozen=True)
class Restored:
    """A network with its weights."""

    config: Config
    model: Model
    params: Tree
    variables: Tree
    step: int
    rows: list[dict[str, Any]]  # of the epochs until then


def restore(workdir: Path, which: str = "latest") -> Restored:
    """The weights that a run is evaluated with; nothing in `workdir` is changed.

    Args:
      workdir: of the run.
      which: `latest` (a damaged one is passed over, with a warning), `best` or a step.

    Raises:
      UserError: no such run or checkpoint, or the one that was named is damaged.
    """
    config = read_config(workdir)
    model = models.build(config.model, config.dtype)
    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    name = "average" if config.ema_decay > 0.0 else "params"
    template = {name: params, "variables": variables}
    weights, record, step = _load(workdir / "checkpoints", which, template)
    return Restored(config, model, weights[name], weights["variables"], step, record["rows"])


def evaluate_checkpoint(workdir: Path, which: str, split: str) -> dict[str, Any]:
    """Evaluates a checkpoint on a split, writes what there is to see, and returns the figures.

    Raises:
      UserError: no such run, checkpoint or split.
    """
    keep_programs()
    run = restore(workdir, which)
    examples = data.load(run.config.data.name, split)
    if not len(examples.labels):
        raise UserError(f"--split={split}: there is no example in it")
    inference = Inference(run.model, find_loss(run.config.loss), examples)
    result = workdir / "result.json"
    return publish(
        workdir,
        inference(run.params, run.variables),
        config=run.config.to_dict(),
        model=run.model,
        history=run.rows,
        result=read_json(result) if result.exists() else None,
        checkpoint=run.step,
    )


def _load(folder: Path, which: str, template: Any) -> tuple[Any, dict[str, Any], int]:
    if which == "latest":
        found = checkpoint.newest_sound(folder, template, set_aside=False)
        if found is None:
            raise UserError(f"{folder}: there is no sound checkpoint")
        return found
    if which != "best" and not which.isdecimal():
        raise UserError(f"--checkpoint={which}: give latest, best or a step")
    step = checkpoint.best_step(folder) if which == "best" else int(which)
    if step not in checkpoint.steps(folder):
        there = ", ".join(map(str, checkpoint.steps(folder))) or "none"
        raise UserError(f"{folder}: there is no checkpoint {step}; there are: {there}")
    try:
        return *checkpoint.load(folder, step, template), step
    except checkpoint.DamagedError as error:
        raise UserError(f"checkpoint {folder / str(step)} is damaged: {error}") from error
