"""Something to train from start to end: one network, or a population of seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnist_jax import data
from mnist_jax.config import Config
from mnist_jax.training import population, run
from mnist_jax.training.inference import Inference
from mnist_jax.training.state import copied, evaluation_weights


@dataclass(frozen=True)
class Trained:
    """Something to train from start to end, as often as one likes."""

    begin: Callable[[], Any]  # a fresh state, on the device
    train: Callable[[Any], Any]  # to the end
    accuracy: Callable[[Any], float]
    images: int
    compile_seconds: float | None  # None: not known apart


def network(asked: Config) -> Trained:
    """As `main` trains it, without checkpoints, validation and report."""
    prepared = run.prepare(asked)

    def train(state: Any) -> Any:
        for epoch in range(asked.num_epochs):
            for chunk in prepared.feed.chunks(epoch):
                state = prepared.advance(state, chunk)
        return state

    def accuracy(state: Any) -> float:
        task = prepared.task
        test = Inference(task.model, task.loss, data.load(asked.data.name, "test"))
        predictions = test(*evaluation_weights(state))
        return float(predictions.correct.mean())

    images = asked.num_epochs * prepared.feed.steps_per_epoch * asked.batch_size
    return Trained(
        begin=lambda: prepared.place(copied(prepared.initial)),
        train=train,
        accuracy=accuracy,
        images=images,
        compile_seconds=prepared.compile_seconds,
    )


def many(configs: list[Config]) -> Trained:
    """As `sweep` trains them, in one program."""
    prepared = population.prepare(configs)
    first = configs[0]
    all_of_them = np.ones(len(configs), np.bool_)

    def train(states: Any) -> Any:
        for epoch in range(first.num_epochs):
            for chunk in prepared.chunks(epoch, 0):
                states = prepared.advance(states, chunk, all_of_them)
        return states

    def accuracy(states: Any) -> float:
        test = data.load(first.data.name, "test")
        return float(prepared.examiner(test)(states).accuracy.mean())

    each = first.num_epochs * prepared.steps_per_epoch * first.batch_size
    return Trained(
        begin=lambda: copied(prepared.initial),
        train=train,
        accuracy=accuracy,
        images=each * len(configs),
        compile_seconds=None,
    )
