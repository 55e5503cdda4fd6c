"""Small networks, laid over some of the eight devices and trained in memory."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest

from mnist_jax.training import layout as layouts
from mnist_jax.training.console import Console
from mnist_jax.training.loop import train
from mnist_jax.training.position import TRAINING, Position
from mnist_jax.training.program import Program
from mnist_jax.training.state import evaluation_weights
from mnist_jax.training.stop import StopSignal

SMALL = {
    "num_epochs": 1,
    "batch_size": 32,
    "data": {"train_split": "train[:640]", "val_split": "train[640:900]"},
    "model": {"name": "mlp", "hidden": (16,), "dropout": 0.2},
    "optimizer": {"name": "adam", "learning_rate": 1e-2},
}
TIMINGS = ("seconds", "images_per_second")


@contextlib.contextmanager
def on_devices(count: int, width: int | None = None) -> Iterator[None]:
    """Whatever is laid out inside is laid over so many devices.

    Args:
      count: of devices.
      width: networks of a population that a device computes at a time, if given.
    """
    devices = jax.devices()[:count]
    many = functools.partial(layouts.for_members, devices=devices)

    def for_members(config, members):
        made = many(config, members)
        each = -(-members // len(made.devices))
        return made if width is None else dataclasses.replace(made, width=min(width, each))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layouts, "for_batch", functools.partial(layouts.for_batch, devices=devices))
        patch.setattr(layouts, "for_members", for_members)
        yield


def begin(program: Program) -> Position:
    """Where the networks of a program stand before the first step."""
    count = len(program.configs)
    ranked = {} if program.validate is None else evaluation_weights(program.shapes)
    best = jax.tree.map(lambda x: np.zeros((count, *x.shape[1:]), x.dtype), ranked)
    return Position(program.start(), best, [[] for _ in range(count)], [TRAINING] * count)


def trained(program: Program, save: Callable[[Position], None] = lambda at: None) -> Position:
    """Where they stand at their end."""
    at = begin(program)
    console = Console(program.config.num_epochs, program.steps_per_epoch)
    train(program, at, StopSignal(), save, console)
    return at


def state_of(program: Program, at: Position, member: int = 0):
    """The state of one network, on the host."""
    return jax.tree.map(lambda x: x[member], program.layout.members(at.state))


def untimed(rows):
    """Rows without what the clock says."""
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in rows]


def largest_difference(a, b) -> float:
    """Between the values of two trees of one structure."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(np.asarray(x) - np.asarray(y)).max()) for x, y in pairs)


def assert_same_bits(a, b) -> None:
    """Fails where any value of two trees differs."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)
