"""Trainings timed, one after the other, in a process that has the accelerator to itself."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from benchmarks import measured
from benchmarks.epochs import accuracy, train_epoch
from mnist_jax import config, models
from mnist_jax.training.program import Program, prepare_many, prepare_one


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
    yield {"members": None, **_timed(lambda: prepare_one(named), asked["repeats"])}
    for members in asked["members"]:
        configs = [dataclasses.replace(named, seed=named.seed + i) for i in range(members)]
        prepare = functools.partial(prepare_many, configs)
        yield {"members": members, **_timed(prepare, asked["repeats"])}


def _timed(prepare: Callable[[], Program], repeats: int) -> dict[str, Any]:
    started = time.perf_counter()
    program = prepare()
    prepared = time.perf_counter()
    initial = program.layout.members(program.start())  # to the host: a training uses its start up
    ready = time.perf_counter()
    seconds, state = [], initial
    for _ in range(1 + repeats):
        state = jax.block_until_ready(program.layout.place(initial))
        begun = time.perf_counter()
        for epoch in range(program.config.num_epochs):
            state = train_epoch(program, state, epoch)
        seconds.append(time.perf_counter() - begun)
    first, *later = seconds
    examples = program.config.num_epochs * program.steps_per_epoch * program.config.batch_size
    return {
        "first": first,
        "seconds": later,
        "ready": ready - started,
        "compile": program.compile_seconds + ready - prepared,
        "images": examples * len(program.configs),
        "accuracy": accuracy(program, state),
    }
