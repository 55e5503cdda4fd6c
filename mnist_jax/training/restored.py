"""Restores a trained network from a checkpoint, on whatever devices are available."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mnist_jax import data, metrics, models
from mnist_jax.config import Config
from mnist_jax.data import Spec, Split
from mnist_jax.data.feed import most_bytes
from mnist_jax.errors import UserError
from mnist_jax.members import DIVERGED
from mnist_jax.metrics import Metric
from mnist_jax.models import Model, Tree
from mnist_jax.models.outputs import probabilities
from mnist_jax.training import checkpoint, checkpoints, memory, model_keywords, own_code
from mnist_jax.training import layout as layouts
from mnist_jax.training.inference import Examiner, Outputs, examine
from mnist_jax.training.logs import Row
from mnist_jax.training.loss import Loss, find_loss
from mnist_jax.training.network import Network
from mnist_jax.training.row_texts import rows_of

LATEST, BEST = "latest", "best"


@dataclass(frozen=True)
class Restored:
    """A trained network with its weights and its history."""

    config: Config
    spec: Spec
    model: Model
    loss: Loss
    metrics: tuple[Metric, ...]
    weights: Tree  # `params` and `variables` to evaluate with
    step: int
    rows: list[Row]  # one per epoch until `step`

    def examine(self, split: Split) -> Outputs:
        """Applies the network to each example of a split; includes probabilities, with M = 1."""
        layout = layouts.for_evaluation(self.config)
        weights = layout.place(jax.tree.map(lambda x: x[None], self.weights))

        def function(weights: Tree, numbers: Any, blocks: Any) -> Any:
            each = layout.reduction.over_blocks
            return examine(self.model, self.loss, self.metrics, weights, blocks, each, p=True)

        with memory.explained():
            examiner = Examiner(layout, function, weights, {}, split, most_bytes(self.config))
            memory.refuse(examiner.bytes_needed, layout.devices, "the network")
            return examiner(weights)

    @functools.cached_property
    def probabilities(self) -> Callable[[jax.Array], jax.Array]:
        """The compiled function from images `[B, H, W, C]` in [0, 1] to probabilities `[B, K]`."""
        weights = jax.device_put(self.weights)
        model = self.model

        @jax.jit
        def classified(images: jax.Array) -> jax.Array:
            outputs, _ = model.apply(weights["params"], weights["variables"], images, train=False)
            return probabilities(outputs, output_activation=model.output_activation)

        return classified


def restore(network: Network, which: str = LATEST) -> Restored:
    """Restores the weights that a network is evaluated with; changes nothing in its folder.

    Prints a warning if the user's code has changed since these weights were trained.

    Args:
      network: as returned by `network.find`.
      which: `latest` (damaged checkpoints are skipped, with a warning), `best` (the weights after
        the best epoch by `config.best`) or a step.

    Raises:
      UserError: the checkpoint is missing or damaged or another network's, there is no best epoch,
        or the network diverged.
    """
    own_code.warn_of_changes(network.workdir, own_code.modules(network.config))
    config = models.resolve(network.config)
    spec = data.spec(config.data.name)
    model = models.build(config.model, spec, config.dtype)
    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    weights = {"params": params, "variables": variables}
    template: dict[str, Any]
    if which == BEST:
        template = {"best": weights}
        _refuse_unranked(network, config)
    else:
        template = {"average": weights} if config.ema_decay > 0.0 else dict(weights)
    # What is read into the host's memory is then copied to the devices.
    memory.refuse(2 * memory.size(weights), memory.HOST, f"{network.title}: the network")
    memory.refuse(memory.size(weights), jax.devices(), f"{network.title}: the network")
    template["key"] = jax.ShapeDtypeStruct((2,), np.uint32)
    tree, record, step = _load(network, which, template)
    its_place = f"checkpoint {network.checkpoints / str(step)}"
    model_keywords.refuse_other(its_place, record, network.position, config)
    status, rows = record["status"][network.position], rows_of(record["rows"][network.position])
    if status.startswith(DIVERGED):
        raise UserError(f"{network.title} {status}: it has no weights")
    model_keywords.refuse_other_seed(its_place, tree.pop("key"), config)
    found = metrics.find(config.metrics)
    if which == BEST:
        epoch = metrics.best_epoch(rows, config.best, metrics.of_column(found, config.best))
        if epoch is None:
            raise _unranked(network, f"no epoch has a finite {config.best}")
        step, rows = rows[epoch]["step"], rows[: epoch + 1]
    its = tree.get("best") or tree.get("average") or tree
    return Restored(config, spec, model, find_loss(config.loss), found, its, step, rows)


def _load(network: Network, which: str, template: Any) -> tuple[Any, dict[str, Any], int]:
    folder = network.checkpoints
    if which in (LATEST, BEST):
        found = checkpoints.newest_sound(folder, template, set_aside=False, member=network.position)
        if found is None:
            raise UserError(f"{folder}: there is no sound checkpoint")
        return found
    if not which.isdecimal():
        raise UserError(f"--checkpoint={which}: give latest, best or a step")
    step = int(which)
    try:
        return *checkpoint.load(folder, step, template, network.position), step
    except checkpoint.DamagedError as error:
        there = checkpoints.steps(folder)
        if step in there:
            raise UserError(f"checkpoint {folder / str(step)} is damaged: {error}") from error
        listed = ", ".join(map(str, there)) or "none"
        raise UserError(f"{folder}: there is no checkpoint {step}; there are: {listed}") from error


def _refuse_unranked(network: Network, config: Config) -> None:
    if not config.data.val_split:
        raise _unranked(network, "it was trained without a validation split")


def _unranked(network: Network, why: str) -> UserError:
    return UserError(
        f"{network.title}: there is no best epoch, because {why}; use --checkpoint=latest"
    )
