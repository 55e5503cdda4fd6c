"""A run made ready: everything that its configuration names, found, built and compiled."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from mnist_jax import data, models
from mnist_jax.config import Config
from mnist_jax.data.feed import Chunk, Feed, open_feed
from mnist_jax.training import parallel
from mnist_jax.training.inference import Inference
from mnist_jax.training.state import TrainState, evaluation_weights, init_state
from mnist_jax.training.step import run_steps
from mnist_jax.training.task import Task, build


@dataclass(frozen=True)
class Run:
    """What the loop works with. Nothing in it changes while it trains."""

    config: Config
    task: Task
    feed: Feed
    initial: TrainState
    validate: Inference | None  # None without a validation split
    layout: parallel.Layout
    programs: dict[int, Callable[..., TrainState]]  # by number of steps
    compile_seconds: float

    def advance(self, state: TrainState, chunk: Chunk) -> TrainState:
        """`state` after a chunk of steps; returns when they are done. `state` is used up."""
        program = self.programs[chunk.stop - chunk.start]
        return jax.block_until_ready(program(state, self.feed.resident, chunk.batches))

    def compile(self, shapes: Any) -> Callable[..., TrainState]:
        """A program for chunks of these shapes, `[S, B, ...]`."""
        steps = functools.partial(run_steps, self.task, self.feed.fetch)
        return self.layout.compile(steps, self.initial, self.feed.resident, shapes)

    def place(self, state: TrainState) -> TrainState:
        """`state` on all the devices; what is there already stays."""
        return jax.device_put(state, self.layout.replicated)


def prepare(config: Config) -> Run:
    """Everything built and compiled, the state before the first step.

    Raises:
      UserError: the configuration asks for something that is not there.
    """
    layout = parallel.layout(config)
    feed = open_feed(config, layout.replicated)
    task = build(config, feed.steps_per_epoch, layout.axis_name)
    held_out = data.load(config.data.name, config.data.val_split)
    models.check_outputs(task.model, len(held_out.class_names))
    validate = Inference(task.model, task.loss, held_out) if config.data.val_split else None

    started = time.perf_counter()
    initial = jax.jit(lambda: init_state(task))()
    initial = jax.device_put(initial, layout.replicated)
    steps = functools.partial(run_steps, task, feed.fetch)
    programs = {
        length: layout.compile(steps, initial, feed.resident, shapes)
        for length, shapes in feed.shapes().items()
    }
    if validate is not None:
        validate.compile(*evaluation_weights(initial))
    seconds = time.perf_counter() - started
    return Run(config, task, feed, initial, validate, layout, programs, seconds)
