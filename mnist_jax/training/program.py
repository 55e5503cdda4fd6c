"""The compiled programs that train and examine M >= 1 networks."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mnist_jax import data, models
from mnist_jax.config import Config
from mnist_jax.data import Spec, Split
from mnist_jax.data.feed import Chunk, Feed, open_feed
from mnist_jax.training import layout as layouts
from mnist_jax.training import memory, optimizer, population, task
from mnist_jax.training.inference import Examiner, examine
from mnist_jax.training.layout import Layout
from mnist_jax.training.optimizer import Schedule
from mnist_jax.training.state import TrainState, evaluation_weights, init_state
from mnist_jax.training.step import run_steps
from mnist_jax.training.task import Task

# A sweep that is told to stop does so after the call under way, so that a call must not take longer
# than some seconds: on a core, so many multiplications, as `_work` estimates them.
WORK_AT_A_TIME = 2.5e11
WORK_OF_A_PIXEL = 500  # of an image, for what is no product: gathering, distortion, activations


@dataclass(frozen=True)
class Lane:
    """One network of many, as the compiled programs see it: the configuration and its own numbers.

    `numbers` by field are those in which the networks differ; inside a program they are traced.
    """

    config: Config
    spec: Spec
    feed: Feed
    base: Task  # where no number differs

    def task(self, numbers: dict[str, Any]) -> Task:
        """The network's task."""
        if not numbers:
            return self.base
        own = population.replace(self.config, numbers)
        return task.build(own, self.spec, self.feed.steps_per_epoch, self.base.axis_name)

    def start(self, seed: Any, numbers: dict[str, Any]) -> TrainState:
        """The state before the first step."""
        return init_state(self.task(numbers), seed)

    def steps(self, state: TrainState, numbers: Any, rows: Any, resident: Any) -> TrainState:
        """The state after a chunk of steps."""
        return run_steps(self.task(numbers), self.feed.fetch, state, resident, rows)

    def examine(self, weights: Any, numbers: Any, blocks: Any, *, p: bool) -> Any:
        """What the network makes of the examples in `blocks`; see `inference.examine`."""
        own = self.task(numbers)
        return examine(own.model, own.loss, own.metrics, weights, blocks, p=p)


@dataclass(frozen=True)
class Program:
    """M networks with their data and compiled programs, ready to train."""

    configs: tuple[Config, ...]  # M
    lane: Lane
    layout: Layout
    seeds: jax.Array  # [P] uint32
    numbers: dict[str, jax.Array]  # [P], by field: what the networks differ in
    draw: Callable[..., TrainState]  # first states; compiled at its first call, if there is one
    shapes: TrainState  # of the state: `jax.ShapeDtypeStruct`s [P, ...]
    chunks: dict[int, Callable[..., TrainState]]  # the compiled chunk, by number of steps
    schedules: tuple[Schedule | None, ...]  # of each network; None: the optimizer has its own rate
    validate: Examiner | None  # None without a validation split
    bytes_needed: int  # on each device
    compile_seconds: float

    @property
    def config(self) -> Config:
        """Of the first network: what is not a number or a seed is the same for all."""
        return self.configs[0]

    @property
    def task(self) -> Task:
        """What the networks have in common."""
        return self.lane.base

    @property
    def feed(self) -> Feed:
        """Where batches come from."""
        return self.lane.feed

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps in an epoch of each network."""
        return self.lane.feed.steps_per_epoch

    @property
    def fits(self) -> bool:
        """True if the devices have the memory for it."""
        return self.bytes_needed <= memory.available(self.layout.devices)

    def start(self) -> TrainState:
        """The state before the first step, `[P, ...]`."""
        return self.layout.place(self.draw(self.seeds, self.numbers))

    def advance(self, state: TrainState, chunk: Chunk, active: np.ndarray) -> TrainState:
        """`state` after a chunk of steps of the networks `[M]` that are active; it is used up."""
        program = self.chunks[chunk.stop - chunk.start]
        after = program(state, self.numbers, active, chunk.rows, self.feed.resident)
        return jax.block_until_ready(after)

    def make_ready(self, chunk: Chunk) -> float:
        """Compiles what a chunk of an unusual length needs; returns the seconds that it took.

        A run that is taken up within a chunk has such a one.
        """
        length, started = chunk.stop - chunk.start, time.perf_counter()
        if length in self.chunks:
            return 0.0
        self.chunks[length], _ = self.compile(jax.tree.map(_shape, chunk.rows))
        return time.perf_counter() - started

    def compile(self, rows: Any) -> tuple[Callable[..., TrainState], Any]:
        """A program for chunks of these shapes, `[M, S, B, ...]`; see `Layout.compile_steps`."""
        return self.layout.compile_steps(
            self.lane.steps, self.shapes, self.numbers, rows, self.feed.resident
        )

    def examiner(self, split: Split, *, p: bool = False) -> Examiner:
        """Asks every network about every example of a split; `p`: gives the probabilities, too."""
        weights = jax.eval_shape(evaluation_weights, self.shapes)
        function = functools.partial(self.lane.examine, p=p)
        return Examiner(self.layout, function, weights, self.numbers, split)

    def learning_rates(self, step: int) -> list[float | None]:
        """The learning rate of each network at a step; `None` where the optimizer has its own."""
        rates = {s: None if s is None else float(s(step)) for s in set(self.schedules)}
        return [rates[schedule] for schedule in self.schedules]


def prepare_one(config: Config) -> Program:
    """The programs of one network, whose batch is split over the devices.

    Raises:
      UserError: the configuration asks for something that is not there.
    """
    layout = layouts.for_batch(config)
    lane = _lane(config, layout, open_feed(config, layout.shared))
    task.check(lane.base)
    return _compiled([config], layout, lane)


def prepare_many(configs: Sequence[Config]) -> Program:
    """The programs of the networks of one population, which are divided among the devices.

    Args:
      configs: of networks that may train together, as `population.together` finds them.

    Raises:
      UserError: they ask for something that is not there.
    """
    first = configs[0]
    layout = layouts.for_members(first, len(configs))
    seeds = [config.seed for config in configs]
    most = int(WORK_AT_A_TIME / (_work(first) * layout.turns))
    feed = open_feed(first, layout.shared, seeds, most)
    return _compiled(configs, layout, _lane(first, layout, feed))


def _work(config: Config) -> float:
    """About how many multiplications a step of one network takes; too many for a convolution."""
    spec = data.spec(config.data.name)
    model = models.build(config.model, spec, config.dtype)
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    pixels = spec.image_shape[0] * spec.image_shape[1]
    kernels = sum(x.size * (pixels if x.ndim > 2 else 1) for x in jax.tree.leaves(params))
    return config.batch_size * (kernels + WORK_OF_A_PIXEL * pixels)


def _lane(config: Config, layout: Layout, feed: Feed) -> Lane:
    spec = data.spec(config.data.name)
    return Lane(
        config, spec, feed, task.build(config, spec, feed.steps_per_epoch, layout.axis_name)
    )


def _compiled(configs: Sequence[Config], layout: Layout, lane: Lane) -> Program:
    first, feed = configs[0], lane.feed
    started = time.perf_counter()
    seeds = layout.place(np.asarray([config.seed for config in configs], np.uint32))
    numbers = layout.place(population.stacked(configs))
    draw = jax.jit(jax.vmap(lane.start))
    shapes = jax.eval_shape(draw, seeds, numbers)
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
        schedules=_schedules(configs, feed.steps_per_epoch),
        validate=None,
        bytes_needed=max(memory.needed(raw) for _, raw in compiled.values()),
        compile_seconds=0.0,
    )
    validate = None
    if first.data.val_split:
        validate = program.examiner(data.load(first.data.name, first.data.val_split))
    examining = 0 if validate is None else validate.bytes_needed
    return dataclasses.replace(
        program,
        validate=validate,
        bytes_needed=max(program.bytes_needed, examining),
        compile_seconds=time.perf_counter() - started,
    )


def _shape(array: np.ndarray) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _schedules(configs: Sequence[Config], steps_per_epoch: int) -> tuple[Schedule | None, ...]:
    """Learning rates as plain functions: what a row tells is what the configuration says."""
    found: dict[str, Schedule | None] = {}
    for config in configs:
        said = repr((config.optimizer, config.schedule))
        if said not in found:
            found[said] = optimizer.build(config, steps_per_epoch)[1]
    return tuple(found[repr((c.optimizer, c.schedule))] for c in configs)
