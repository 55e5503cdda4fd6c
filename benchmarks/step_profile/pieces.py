"""The pieces of a step, as programs that execute more and more of it."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from benchmarks.step_profile.setting import Setting
from benchmarks.step_profile.timed import Timed, zeros
from mnist_jax.data.augment import enabled
from mnist_jax.data.feed import Feed
from mnist_jax.data.rescale import rescale
from mnist_jax.models import Model
from mnist_jax.models.layers import Dropout
from mnist_jax.training import step
from mnist_jax.training.state import TrainState
from mnist_jax.training.step import Batch, augmented, run_steps
from mnist_jax.training.task import Task

WHOLE = "optimizer and average"  # the last piece, whose program is a complete step

Piece = Callable[[TrainState, Batch], Any]


def pieces(setting: Setting) -> dict[str, Timed]:
    """Returns programs that execute more and more of a step, by the name of the piece each adds."""
    programs = {
        name: _timed(setting, _to_here(setting.feed, piece))
        for name, piece in _before_gradient(setting.task).items()
    }
    nothing = replace(setting.task, optimizer=optax.set_to_zero())
    stateless = {**setting.state, "optimizer": nothing.optimizer.init(setting.state["params"])}
    gradient = functools.partial(run_steps, nothing, setting.feed.fetch)
    whole = functools.partial(run_steps, setting.task, setting.feed.fetch)
    programs["gradient, sums, finiteness check"] = _timed(setting, gradient, stateless)
    programs[WHOLE] = _timed(setting, whole)
    return programs


def _timed(setting: Setting, program: Callable[..., Any], state: Any = None) -> Timed:
    arguments = state or setting.state, setting.feed.resident, setting.rows
    return Timed(program, setting.steps, *arguments)


def _to_here(feed: Feed, piece: Piece) -> Callable[..., Any]:
    """Returns a program of steps that stop after a piece, whose result the loop carries."""

    def program(state: TrainState, resident: Any, rows: Any) -> Any:
        def one(row: Any, number: Any) -> Any:
            at: Any = {**state, "step": number}  # so that each step has other random numbers
            return piece(at, lax.optimization_barrier(feed.fetch(resident, row)))

        steps = jnp.arange(len(jax.tree.leaves(rows)[0]))
        first = jax.tree.map(lambda x: x[0], (rows, steps))
        return lax.scan(lambda _, x: (one(*x), None), zeros(one, *first), (rows, steps))[0]

    return program


def _before_gradient(task: Task) -> dict[str, Piece]:
    """Returns functions that execute a step up to certain points before the gradient."""
    found: dict[str, Piece] = {
        "fetch the batch": lambda state, batch: batch,
        "images to floats": lambda state, batch: rescale(batch["image"]),
    }
    if enabled(task.config.augment):
        found["distortion"] = functools.partial(augmented, task)

    def forward(state: TrainState, batch: Batch) -> Any:
        inputs = augmented(task, state, batch)
        losses, _, variables = step.forward(task, state["params"], state, batch, *inputs)
        return losses, variables

    if _drops(task.model):
        found["forward and loss"] = _without_dropout(forward)
        found["dropout"] = forward
    else:
        found["forward and loss"] = forward
    return found


def _drops(model: Model) -> bool:
    module = nnx.eval_shape(lambda: model.module(**model.keywords, rngs=nnx.Rngs(0)))
    return any(isinstance(part, Dropout) for _, part in nnx.iter_modules(module))


def _without_dropout(forward: Piece) -> Piece:
    def piece(state: TrainState, batch: Batch) -> Any:
        with mock.patch.object(Dropout, "__call__", lambda self, x, *, train, keys=None: x):
            return forward(state, batch)

    return piece
