"""Trains networks as a run does, but without validation, checkpoints and report."""

import numpy as np

from mnist_jax import data
from mnist_jax.training.program import Program
from mnist_jax.training.state import TrainState, evaluation_weights


def train_epoch(program: Program, state: TrainState, epoch: int) -> TrainState:
    """Trains all networks for an epoch, and returns their state when the device is done.

    The buffers of `state` are donated, so it must not be used afterwards.
    """
    active = np.ones(len(program.configs), np.bool_)
    for chunk in program.feed.chunks(epoch):
        state = program.advance(state, chunk, active)
    return state


def accuracy(program: Program, state: TrainState) -> float:
    """Returns the accuracy on the test split, averaged over the networks."""
    test = data.load(program.config.data.name, "test")
    outputs = program.examiner(test)(evaluation_weights(state))
    return float(outputs.values["accuracy"].mean(dtype=np.float64))
