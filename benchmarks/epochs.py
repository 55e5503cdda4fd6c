"""Networks trained as in a run, but without its validation, checkpoints and report."""

import numpy as np

from mnist_jax import data
from mnist_jax.training.program import Program
from mnist_jax.training.state import TrainState, evaluation_weights


def train_epoch(program: Program, state: TrainState, epoch: int) -> TrainState:
    """The state of all networks after an epoch; returns when they are done. `state` is used up."""
    active = np.ones(len(program.configs), np.bool_)
    for chunk in program.feed.chunks(epoch):
        state = program.advance(state, chunk, active)
    return state


def accuracy(program: Program, state: TrainState) -> float:
    """The accuracy on the test split; of many networks the mean."""
    test = data.load(program.config.data.name, "test")
    outputs = program.examiner(test)(evaluation_weights(state))
    return float(outputs.values["accuracy"].mean(dtype=np.float64))
