"""The training state of one network: all that resuming needs, in one tree of arrays."""

from typing import Any, TypedDict

import jax
import jax.numpy as jnp

from mnist_jax.lifted import active
from mnist_jax.models import Tree
from mnist_jax.randomness import root_key, stream_key
from mnist_jax.training.task import Task

NO_STEP, SOME_STEP = -1, -2  # values of `bad_step`: no step, and one of the last chunk
Sums = dict[str, jax.Array]  # `count` [] int32, and one [] float32 per metric


class TrainState(TypedDict):
    """The training state of one network between two steps."""

    params: Tree
    variables: Tree  # of the model, not trained by gradients: batch statistics
    optimizer: Any  # optax's state
    average: Tree  # exponential average of `params` and `variables`; {} if none is configured
    step: jax.Array  # [] int32: steps done
    key: jax.Array  # [2] uint32: the seed's key
    sums: Sums  # over the training examples of the current epoch so far
    bad_step: jax.Array  # [] int32: first step that met NaN or infinity; or `NO_STEP`, `SOME_STEP`


def init_state(task: Task, seed: Any) -> TrainState:
    """Returns the state before the first step, a function of the task and the seed ([] uint32)."""
    key = root_key(seed)
    params, variables = task.model.init(stream_key(key, "init"))
    averaged = {"params": params, "variables": variables} if active(task.config.ema_decay) else {}
    return TrainState(
        params=params,
        variables=variables,
        optimizer=task.optimizer.init(params),
        average=jax.tree.map(jnp.copy, averaged),
        step=jnp.int32(0),
        key=key,
        sums=zero_sums(task),
        bad_step=jnp.int32(NO_STEP),
    )


def zero_sums(task: Task) -> Sums:
    """Returns the sums at the start of an epoch, all zero."""
    return {"count": jnp.int32(0)} | {metric.name: jnp.float32(0.0) for metric in task.metrics}


def evaluation_weights(state: TrainState) -> Tree:
    """Returns the `params` and `variables` to evaluate with: their averages, if there are any."""
    return state["average"] or {"params": state["params"], "variables": state["variables"]}


def count_parameters(params: Tree) -> int:
    """Returns the number of trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
