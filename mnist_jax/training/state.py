"""Everything that a restart needs, in one tree of arrays."""

from typing import Any, TypedDict

import jax
import jax.numpy as jnp

from mnist_jax.lifted import active
from mnist_jax.models import Tree
from mnist_jax.randomness import root_key, stream_key
from mnist_jax.training.task import Task


class Sums(TypedDict):
    """Sums over the training examples of the epoch under way."""

    loss: jax.Array  # [] float32
    correct: jax.Array  # [] int32
    count: jax.Array  # [] int32


class TrainState(TypedDict):
    """The state of a run after some step."""

    params: Tree
    variables: Tree  # of the network, not trained: batch statistics
    optimizer: Any  # optax's own
    average: Tree  # exponential average of params; {} where none is configured
    step: jax.Array  # [] int32: steps done
    key: jax.Array  # [2] uint32: the seed's key
    sums: Sums
    bad_step: jax.Array  # [] int32: first step with a loss or gradient not finite; -1: none
    best_loss: jax.Array  # [] float32: lowest validation loss so far
    stale_epochs: jax.Array  # [] int32: epochs since


def init_state(task: Task) -> TrainState:
    """The state before the first step: a pure function of the configuration."""
    key = root_key(task.config.seed)
    params, variables = task.model.init(stream_key(key, "init"))
    return TrainState(
        params=params,
        variables=variables,
        optimizer=task.optimizer.init(params),
        average=jax.tree.map(jnp.copy, params) if active(task.config.ema_decay) else {},
        step=jnp.int32(0),
        key=key,
        sums=zero_sums(),
        bad_step=jnp.int32(-1),
        best_loss=jnp.float32(jnp.inf),
        stale_epochs=jnp.int32(0),
    )


@jax.jit  # else each shape would be a program of its own
def copied(state: TrainState) -> TrainState:
    """A copy, for a step to use up."""
    return jax.tree.map(jnp.copy, state)


def zero_sums() -> Sums:
    """Sums at the start of an epoch."""
    return Sums(loss=jnp.float32(0.0), correct=jnp.int32(0), count=jnp.int32(0))


def evaluation_weights(state: TrainState) -> tuple[Tree, Tree]:
    """`(params, variables)` to evaluate with: the averaged parameters where there are any."""
    return state["average"] or state["params"], state["variables"]


def count_parameters(params: Tree) -> int:
    """The number of trained values."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
