"""Trainings timed, one after the other, in a process that has the accelerator to itself."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from benchmarks import measured
from benchmarks.accelerator.trained import Trained, many, network
from mnist_jax import config, models
from mnist_jax.config import Config


def described() -> list[dict[str, Any]]:
    """What is measured on, one row; `platform` is JAX's name of it."""
    return [{**measured.conditions(), "platform": jax.default_backend()}]


def measure(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One network, then populations: `members first seconds ready compile images accuracy`.

    `seconds` are those of trainings after the first; `ready` those until the first can begin, with
    `compile`; `images` the examples of a training, of all members; `accuracy` on the test split.
    """
    named = models.resolve(config.load(asked["config"], asked["overrides"]))
    named = dataclasses.replace(named, dtype=asked["dtype"])
    yield {"members": None, **_timed(lambda: network(named), asked["repeats"])}
    for members in asked["members"]:
        configs = [dataclasses.replace(named, seed=named.seed + i) for i in range(members)]

        def make(configs: list[Config] = configs) -> Trained:
            return many(configs)

        yield {"members": members, **_timed(make, asked["repeats"])}


def _timed(make: Callable[[], Trained], repeats: int) -> dict[str, Any]:
    started = time.perf_counter()
    trained = make()
    ready = time.perf_counter() - started
    seconds, state = [], None
    for _ in range(1 + repeats):
        state = jax.block_until_ready(trained.begin())
        started = time.perf_counter()
        state = trained.train(state)
        seconds.append(time.perf_counter() - started)
    first, *later = seconds
    return {
        "first": first,
        "seconds": later,
        "ready": ready,
        "compile": trained.compile_seconds,
        "images": trained.images,
        "accuracy": trained.accuracy(state),
    }
