"""Initialises networks with the weights of a trained network, as `config.init_from` says."""

from typing import Any

import jax
import numpy as np

from mnist_jax import config as configuration
from mnist_jax.config import Config
from mnist_jax.errors import UserError, print_warning
from mnist_jax.files import local_path
from mnist_jax.members import DIVERGED
from mnist_jax.training import checkpoint, checkpoints, model_keywords, network
from mnist_jax.training.state import TrainState

PARTS = ("params", "variables")


def warm_start(state: TrainState, config: Config) -> TrainState:
    """Returns `state` with the weights that `config.init_from` names; unchanged if it is empty.

    These are the weights that the trained network is evaluated with: their exponential average, if
    it has one. Parts and layers that `config.init.leave_out` names keep their initial values.

    Args:
      state: of M networks, arrays `[M, ...]`; all start from the same weights.
      config: of these networks.

    Raises:
      UserError: there is no such network, or its arrays have other names or shapes.
    """
    if not config.init_from:
        return state
    try:
        folder = local_path(config.init_from, "its value")
        source = network.find(folder, config.init.member, config.init.seed)
    except UserError as error:
        raise UserError(f"config.init_from: {error}") from error
    found = _weights(source)
    _warn_of_differences(source, config)
    fresh = {"params": state["params"], "variables": state["variables"]}
    weights = _taken_over(fresh, found, config, source)
    changed: Any = weights | {"average": weights if state["average"] else {}}
    return {**state, **changed}  # pyright: ignore[reportReturnType]


def _weights(source: network.Network) -> dict[str, np.ndarray]:
    """Reads the newest sound checkpoint as arrays by names like `params/layers/output/kernel`."""
    averaged = source.config.ema_decay > 0.0
    parts = (*(("average",) if averaged else PARTS), "key")
    folder = source.checkpoints

    def read(step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return checkpoint.read(folder, step, parts, source.position)

    for step, found in checkpoints.newest_first(folder, read):
        if isinstance(found, checkpoint.DamagedError):
            checkpoints.warn_of_damage(folder, step, found)
            continue
        arrays, record = found
        place = f"config.init_from: checkpoint {folder / str(step)}"
        model_keywords.refuse_other(place, record, source.position, source.config)
        if record["status"][source.position].startswith(DIVERGED):
            break
        key = arrays.pop("key")
        model_keywords.refuse_other_seed(place, key, source.config)
        return {name.removeprefix("average/"): array for name, array in arrays.items()}
    raise UserError(
        f"config.init_from: there is no usable checkpoint of {source.title} in {folder}"
    )


def _taken_over(
    fresh: dict[str, Any], found: dict[str, np.ndarray], config: Config, source: network.Network
) -> dict[str, Any]:
    """Copies the weights found to M networks, except those that `config.init.leave_out` names."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(fresh)
    named = {checkpoint.path_name(path): leaf for path, leaf in leaves}
    out = config.init.leave_out
    left = [name for name in {*named, *found} if set(name.split("/")) & set(out)]
    known = {word for name in {*named, *found} for word in name.split("/")[:-1]}
    if unknown := set(out) - known:
        raise UserError(
            f"config.init.leave_out: neither network has {', '.join(sorted(unknown))}; they have "
            f"{', '.join(sorted(known))}"
        )
    checkpoint.refuse_differences(
        f"config.init_from: {source.title}",
        {name: array.shape for name, array in found.items() if name not in left},
        {name: leaf.shape[1:] for name, leaf in named.items() if name not in left},
    )
    if left:
        print(f"config.init.leave_out: not copied: {', '.join(sorted(left))}", flush=True)
    values = [
        leaf if name in left else np.broadcast_to(found[name], leaf.shape).astype(leaf.dtype)
        for name, leaf in named.items()
    ]
    return jax.tree_util.tree_unflatten(structure, values)


def _warn_of_differences(source: network.Network, config: Config) -> None:
    """Warns of differences that names and shapes of arrays do not show, such as the activation."""
    names = [its.model.name for its in (source.config, config)]
    keywords = [model_keywords.of(its) for its in (source.config, config)]
    values = [{"name": name, **its} for name, its in zip(names, keywords, strict=True)]
    lines = configuration.difference(*values)
    if lines:
        print_warning(
            f"config.init_from: the model of {source.title} is configured differently "
            f"(there -> here): model.{', model.'.join(lines)}",
        )
