"""Everything that a restart needs of one network, in one tree of arrays."""

from typing import Any, TypedDict

import jax
import jax.numpy as jnp

from mnist_jax.lifted import active
from mnist_jax.models import Tree
from mnist_jax.randomness import root_key, stream_key
from mnist_jax.training.task import Task

Sums = dict[str, jax.Array]  # `count` [] int32, and of each metric [] float32


class TrainState(TypedDict):
    """The state of a network after some step."""

    params: Tree
    variables: Tree  # of the network, not trained: batch statistics
    optimizer: Any  # optax's own
    average: Tree  # exponential average of `params` and `variables`; {} where none is configured
    step: jax.Array  # [] int32: steps done
    key: jax.Array  # [2] uint32: the seed's key
    sums: Sums  # over the training examples of the epoch under way
    bad_step: jax.Array  # [] int32: first step that left a number not finite; -1: none


def init_state(task: Task, seed: Any) -> TrainState:
    """The state before the first step: a pure function of the task and the seed, [] uint32."""
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
        bad_step=jnp.int32(-1),
    )


def zero_sums(task: Task) -> Sums:
    """Sums at the start of an epoch."""
    return {"count": jnp.int32(0)} | {metric.name: jnp.float32(0.0) for metric in task.metrics}


def evaluation_weights(state: TrainState) -> Tree:
    """The `params` and `variables` to evaluate with: their averages where there are any."""
    return state["average"] or {"params": state["params"], "variables": state["variables"]}


def count_parameters(params: Tree) -> int:
    """The number of trained values."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
