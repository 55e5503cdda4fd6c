"""Compiles the programs that train M >= 1 networks and apply them to the examples of a split."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax import data, models
from mnist_jax.compilation import optimized
from mnist_jax.config import Config
from mnist_jax.data import Spec, Split
from mnist_jax.data.feed import Chunk, Feed, most_bytes, open_feed
from mnist_jax.training import layout as layouts
from mnist_jax.training import memory, population, task
from mnist_jax.training.inference import Examiner, examine
from mnist_jax.training.layout import BatchLayout, Layout, MembersLayout
from mnist_jax.training.state import TrainState, evaluation_weights, init_state
from mnist_jax.training.step import run_steps
from mnist_jax.training.task import Task

# Maximum number of multiplications, estimated by `_work`, in a chunk of steps on one core. A stop
# signal takes effect after a chunk, so a chunk must not take longer than a few seconds.
WORK_AT_A_TIME = 2.5e11
CORES = 2  # that a single network can count on
CORES_OF_AN_ACCELERATOR = 100  # that do as much work as one, at most
# Multiplications per pixel that take as long as gathering, augmentation and activations.
WORK_OF_A_PIXEL = 500


@dataclass(frozen=True)
class Lane:
    """Computes one network's start, training steps and evaluation.

    A `Layout` compiles these functions for all networks of a `Program`.

    Their argument `numbers` holds the network's own values, by dotted field name, of the fields in
    which the networks differ. Inside a compiled program these values are tracers.
    """

    config: Config
    spec: Spec
    feed: Feed
    base: Task  # the task of `config`, for a network without numbers of its own

    def task(self, numbers: dict[str, Any]) -> Task:
        """Returns the network's task: that of the configuration with the network's own numbers."""
        if not numbers:
            return self.base
        own = population.replace(self.config, numbers)
        return task.build(own, self.spec, self.feed.steps_per_epoch, self.base.reduction)

    def start(self, seed: Any, numbers: dict[str, Any]) -> TrainState:
        """Returns the state before the first step."""
        return init_state(self.task(numbers), seed)

    def steps(self, state: TrainState, numbers: Any, rows: Any, resident: Any) -> TrainState:
        """Returns the state after a chunk of steps."""
        return run_steps(self.task(numbers), self.feed.fetch, state, resident, rows)

    def rate(self, numbers: dict[str, Any], step: Any) -> jax.Array:
        """Returns the learning rate at a step, by the network's schedule."""
        schedule = self.task(numbers).schedule
        assert schedule is not None
        return jnp.asarray(schedule(step), jnp.float32)

    def examine(self, weights: Any, numbers: Any, blocks: Any, *, p: bool) -> Any:
        """Applies the network to the examples in `blocks`; see `inference.examine`."""
        own = self.task(numbers)
        return examine(
            own.model, own.loss, own.metrics, weights, blocks, own.reduction.over_blocks, p=p
        )


@dataclass(frozen=True)
class Program:
    """M networks with their data and compiled programs, ready to train."""

    configs: tuple[Config, ...]  # one per network, M
    lane: Lane
    layout: Layout
    seeds: jax.Array  # [P] uint32
    numbers: dict[str, jax.Array]  # [P] values of each field in which the networks differ
    draw: Callable[..., TrainState]  # draws the initial states; compiled when first called
    shapes: TrainState  # the state's `jax.ShapeDtypeStruct`s, [P, ...]
    chunks: dict[int, Callable[..., TrainState]]  # compiled chunks by number of steps
    rates: Callable[..., jax.Array]  # [P] learning rates at a step; compiled when first called
    validate: Examiner | None  # None if there is no validation split
    bytes_needed: int  # memory per device
    compile_seconds: float

    @property
    def config(self) -> Config:
        """The first network's configuration; the others differ only in seed and `numbers`."""
        return self.configs[0]

    @property
    def task(self) -> Task:
        """The first network's task; the others differ only in `numbers`."""
        return self.lane.base

    @property
    def feed(self) -> Feed:
        """The source of the training batches."""
        return self.lane.feed

    @property
    def steps_per_epoch(self) -> int:
        """Number of training steps per epoch."""
        return self.lane.feed.steps_per_epoch

    @property
    def fits(self) -> bool:
        """True if the program fits well into the memory of the devices."""
        return self.bytes_needed <= memory.available(self.layout.own_devices)

    def start(self) -> TrainState:
        """Returns the networks' states before the first step, `[P, ...]`."""
        return self.layout.place(self.draw(self.seeds, self.numbers))

    def advance(self, state: TrainState, chunk: Chunk, active: np.ndarray) -> TrainState:
        """Returns the state after a chunk of steps of the active networks.

        Args:
          state: arrays `[P, ...]`; donated.
          chunk: the steps.
          active: `[M]` bool; the other networks stay unchanged.
        """
        program = self.chunks[chunk.stop - chunk.start]
        after = program(state, self.numbers, active, chunk.rows, self.feed.resident)
        return jax.block_until_ready(after)

    def make_ready(self, start: int, end: int | None = None) -> None:
        """Compiles the programs of an epoch that goes on at its step `start`, unless they exist.

        A run that resumes within a chunk starts with one of unusual length. A replay may also end
        within a chunk, before the step `end`.
        """
        for length, rows in self.feed.shapes(start, end).items():
            if length not in self.chunks:
                self.chunks[length], _ = self.compile(rows)

    def compile(self, rows: Any) -> tuple[Callable[..., TrainState], Any]:
        """Compiles the steps for rows of shapes `[M, S, B, ...]`; see `Layout.compile_steps`."""
        return self.layout.compile_steps(
            self.lane.steps, self.shapes, self.numbers, rows, self.feed.resident
        )

    def examiner(self, split: Split, *, p: bool = False) -> Examiner:
        """Returns an `Examiner` that applies all networks to every example of a split.

        Args:
          split: the examples.
          p: True to return the probabilities as well.
        """
        weights = jax.eval_shape(evaluation_weights, self.shapes)
        function = functools.partial(self.lane.examine, p=p)
        most = most_bytes(self.config)
        return Examiner(self.layout, function, weights, self.numbers, split, most)

    def learning_rates(self, step: int) -> list[float | None]:
        """Returns each network's learning rate at a step; `None` if the optimizer uses its own."""
        if self.task.schedule is None:
            return [None] * len(self.configs)
        rates = self.layout.members(self.rates(self.numbers, step))
        return [float(str(rate)) for rate in rates]  # 0.001, not 0.0010000000474974513


def prepare_one(config: Config, layout: BatchLayout | None = None) -> Program:
    """Compiles the programs for one network, whose batch is split over the devices.

    Args:
      config: of the network.
      layout: by default, over all devices of all processes.

    Raises:
      UserError: a value of the configuration is unknown, unsupported or does not fit the others.
    """
    layout = layout or layouts.for_batch(config)
    steps = _most_steps(config, layout, CORES)
    feed = open_feed(config, layout.replicate, None, steps, layout.share(config.batch_size))
    lane = _lane(config, layout, feed)
    task.check(lane.base)
    return _compiled([config], layout, lane)


def prepare_many(configs: Sequence[Config], layout: MembersLayout | None = None) -> Program:
    """Compiles the programs for the networks of one population, divided among the devices.

    Args:
      configs: of networks that can train together, as grouped by `population.together`.
      layout: by default, over all devices of this process.

    Raises:
      UserError: a value of a configuration is unknown, unsupported or does not fit the others.
    """
    first = configs[0]
    layout = layout or layouts.for_members(first, len(configs))
    seeds = [config.seed for config in configs]
    feed = open_feed(first, layout.replicate, seeds, _most_steps(first, layout, 1) // layout.turns)
    return _compiled(configs, layout, _lane(first, layout, feed))


def _most_steps(config: Config, layout: Layout, cores: int) -> int:
    """Returns how many steps of a network a chunk may have, on a device of so many cores."""
    if layout.devices[0].platform != "cpu":
        cores = CORES_OF_AN_ACCELERATOR
    return int(cores * WORK_AT_A_TIME / _work(config))


def _work(config: Config) -> float:
    """Estimates the multiplications in a step of one network; overestimates convolutions."""
    spec = data.spec(config.data.name)
    model = models.build(config.model, spec, config.dtype)
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    pixels = spec.image_shape[0] * spec.image_shape[1]
    kernels = sum(x.size * (pixels if x.ndim > 2 else 1) for x in jax.tree.leaves(params))
    return config.batch_size * (kernels + WORK_OF_A_PIXEL * pixels)


def _lane(config: Config, layout: Layout, feed: Feed) -> Lane:
    spec = data.spec(config.data.name)
    return Lane(
        config, spec, feed, task.build(config, spec, feed.steps_per_epoch, layout.reduction)
    )


def _compiled(configs: Sequence[Config], layout: Layout, lane: Lane) -> Program:
    first, feed = configs[0], lane.feed
    started = time.perf_counter()
    seeds = layout.place(np.asarray([config.seed for config in configs], np.uint32))
    numbers = layout.place(population.stacked(configs))
    draw = jax.jit(jax.vmap(lane.start), compiler_options=optimized(1))
    rates = jax.vmap(lane.rate, in_axes=(0, None), axis_size=len(seeds))
    shapes = jax.eval_shape(draw, seeds, numbers)
    held, what = _held(layout, shapes), _what(configs)
    # Before anything is compiled: a step needs at least the state and the gradients.
    memory.refuse(_least(layout, shapes) + held, layout.own_devices, what)
    compiled = {
        length: layout.compile_steps(lane.steps, shapes, numbers, rows, feed.resident)
        for length, rows in feed.shapes().items()
    }
    program = Program(
        configs=tuple(configs),
        lane=lane,
        layout=layout,
        seeds=seeds,
        numbers=numbers,
        draw=draw,
        shapes=shapes,
        chunks={length: call for length, (call, _) in compiled.items()},
        rates=jax.jit(rates, compiler_options=optimized(1)),
        validate=None,
        bytes_needed=max(memory.needed(raw) for _, raw in compiled.values()),
        compile_seconds=0.0,
    )
    validate = None
    if first.data.val_split:
        validate = program.examiner(data.load(first.data.name, first.data.val_split))
    examining = 0 if validate is None else validate.bytes_needed
    most = max(program.bytes_needed, examining)
    memory.refuse(most + held, layout.own_devices, what)
    return dataclasses.replace(
        program,
        validate=validate,
        bytes_needed=most,
        compile_seconds=time.perf_counter() - started,
    )


def _least(layout: Layout, shapes: TrainState) -> int:
    """Returns the bytes that a device needs for the states and the gradients of its networks."""
    (networks,) = shapes["step"].shape
    its = max(1, networks // len(layout.devices))  # a single one is on every device
    return (memory.size(shapes) + memory.size(shapes["params"])) * its // networks


def _held(layout: Layout, shapes: TrainState) -> int:
    """Returns the bytes per device for copies of the weights: in a checkpoint, and of the best."""
    if layout.devices[0].platform != "cpu":
        return 0  # these are not on the devices
    copies = memory.size(shapes) + 3 * memory.size(evaluation_weights(shapes))
    return copies // len(layout.own_devices)


def _what(configs: Sequence[Config]) -> str:
    return "the network" if len(configs) == 1 else f"a population of {len(configs)} networks"
