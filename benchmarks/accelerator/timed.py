"""Times trainings, one after the other, in a process that has the accelerator to itself."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from benchmarks import measured
from benchmarks.epochs import accuracy, train_epoch
from mnist_jax import config_file, models
from mnist_jax.training.program import Program, prepare_many, prepare_one


def described() -> list[dict[str, Any]]:
    """Returns the measuring conditions as one row; `platform` is JAX's name of the device kind."""
    return [{**measured.conditions(), "platform": jax.default_backend()}]


def measure(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Times one network, then populations, and yields one row of measurements for each.

    The keys of a row are:
      members: the size of the population, or None for one network trained as `main` does.
      first: the seconds of the first training.
      seconds: the seconds of each further training.
      ready: the seconds until the first training can begin, including `compile`.
      compile: the seconds of compilation.
      images: the examples of one training, over all members.
      accuracy: the test accuracy, averaged over the members.
    """
    named = models.resolve(config_file.load(asked["config"], asked["overrides"]))
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
    # On the host, because a training donates the buffers of its initial state.
    initial = program.layout.members(program.start())
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
