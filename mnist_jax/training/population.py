"""Many networks made ready to train in one compiled program."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mnist_jax import data
from mnist_jax.config import Config
from mnist_jax.data import Split
from mnist_jax.data.feed import Chunk, Feed, open_feed
from mnist_jax.training import lifting, parallel
from mnist_jax.training.inference import in_blocks, predict_blocks
from mnist_jax.training.state import TrainState, evaluation_weights, init_state
from mnist_jax.training.step import run_steps
from mnist_jax.training.task import Task, build
from mnist_jax.training.warm_start import warm_start


@dataclass(frozen=True)
class Lane:
    """How the program of one member comes by what it trains: numbers of its own, the rest alike."""

    config: Config
    feed: Feed

    def task(self, values: dict[str, Any]) -> Task:
        """The member with these numbers; they may be traced."""
        return build(lifting.replace(self.config, values), self.feed.steps_per_epoch)

    def start(self, values: dict[str, Any]) -> TrainState:
        """The state before the first step."""
        return init_state(self.task(values))

    def advance(self, state: TrainState, member: Any, resident: Any) -> TrainState:
        """A chunk of steps; a member that is not active stays as it is."""
        values, active, rows = member

        def train(state: TrainState) -> TrainState:
            return run_steps(self.task(values), self.feed.fetch, state, resident, rows)

        return lax.cond(active, train, lambda state: state, state)

    def examine(self, weights: Any, values: Any, blocks: Any) -> tuple[jax.Array, ...]:
        """`[n, BLOCK]` losses and whether right, and `[]` whether every output is finite."""
        task = self.task(values)
        params, variables = weights
        p, losses = predict_blocks(task.model, task.loss, params, variables, blocks)
        finite = jnp.isfinite(p).all() & jnp.isfinite(losses).all()
        return losses, p.argmax(axis=-1) == blocks[1], finite

    def learning_rate(self, values: dict[str, Any], step: jax.Array) -> Any:
        """At a step; `None` where the optimizer has its own."""
        rate = self.task(values).learning_rate
        return None if rate is None else jnp.asarray(rate(step), jnp.float32)


@dataclass(frozen=True)
class Score:
    """What each member made of a split."""

    loss: np.ndarray  # [M] float64, mean
    accuracy: np.ndarray  # [M] float64, fraction
    finite: np.ndarray  # [M] bool; where not, the other two mean nothing


@dataclass(frozen=True)
class Population:
    """Members that train together. Arrays hold P rows: the M members, and padding for devices."""

    configs: tuple[Config, ...]
    lane: Lane
    layout: parallel.MembersLayout
    values: dict[str, jax.Array]  # [P], by field
    initial: TrainState  # [P, ...]
    programs: dict[int, Callable[..., TrainState]]  # by number of steps
    rates: Callable[..., Any]
    validate: Callable[[TrainState], Score] | None  # None without a validation split
    compile_seconds: float

    @property
    def padding(self) -> int:
        """Rows behind the last member."""
        return -len(self.configs) % len(self.layout.devices)

    @property
    def steps_per_epoch(self) -> int:
        """Of each member."""
        return self.lane.feed.steps_per_epoch

    def chunks(self, epoch: int, start: int) -> Iterator[Chunk]:
        """The chunks of an epoch, `[P, S, B, ...]`: each member in its own order."""
        seeds = [config.seed for config in self.configs]
        feeds = [self.lane.feed.reseeded(seed).chunks(epoch, start) for seed in seeds]
        for each in zip(*feeds, strict=True):
            batches = jax.tree.map(lambda *x: self._padded(np.stack(x)), *[c.batches for c in each])
            yield Chunk(each[0].start, each[0].stop, batches)

    def advance(self, states: TrainState, chunk: Chunk, active: np.ndarray) -> TrainState:
        """`states` after a chunk of steps of the members `[M]` that are active; it is used up."""
        program = self.programs[chunk.stop - chunk.start]
        member = (self.values, self._padded(active, False), chunk.batches)
        placed = self.layout.place(member)
        return jax.block_until_ready(program(states, placed, self.lane.feed.resident))

    def learning_rates(self, step: int) -> list[float | None]:
        """Of each member at a step."""
        rates = self.rates(self.values, jnp.int32(step))
        return [None] * len(self.configs) if rates is None else np.asarray(rates).tolist()

    def examiner(self, split: Split) -> Callable[[TrainState], Score]:
        """A function that asks every member about every example of a split, once each."""
        blocks = jax.device_put(in_blocks(split), self.layout.replicated)
        weights = jax.eval_shape(evaluation_weights, self.initial)
        program = self.layout.compile(self.lane.examine, weights, self.values, blocks)
        members, examples = len(self.configs), len(split.labels)

        def examine(states: TrainState) -> Score:
            weights = self.layout.place(evaluation_weights(states))
            outputs = jax.device_get(program(weights, self.values, blocks))
            losses, right = (x[:members].reshape(members, -1)[:, :examples] for x in outputs[:2])
            if losses.shape != (members, examples):
                raise RuntimeError(f"{examples} examples were to be examined, not {losses.shape}")
            accuracy = right.sum(axis=1) / examples
            return Score(
                losses.sum(axis=1, dtype=np.float64) / examples, accuracy, outputs[2][:members]
            )

        return examine

    def members_of(self, states: Any) -> Any:
        """The rows of members, without the padding, on the host."""
        return jax.tree.map(lambda x: x[: len(self.configs)], jax.device_get(states))

    def place(self, states: Any) -> Any:
        """The inverse of `members_of`."""
        return self.layout.place(jax.tree.map(self._padded, states))

    def _padded(self, x: np.ndarray, *fill: Any) -> np.ndarray:
        more = fill[0] if fill else x[:1]
        return np.concatenate([x, np.broadcast_to(more, (self.padding, *x.shape[1:]))])


def prepare(configs: Sequence[Config]) -> Population:
    """Everything built and compiled, the states before the first step.

    Args:
      configs: of one population, as `lifting.populations` finds them.

    Raises:
      UserError: they ask for something that is not there.
    """
    first = configs[0]
    layout = parallel.members_layout(first, len(configs))
    lane = Lane(first, open_feed(first, layout.replicated))
    padding = [first] * (-len(configs) % len(layout.devices))
    values = layout.place(lifting.stacked([*configs, *padding]))

    started = time.perf_counter()
    initial = jax.jit(jax.vmap(lane.start), out_shardings=layout.by_member)(values)
    initial = layout.place(_warm(initial, first.init_from))
    population = Population(
        configs=tuple(configs),
        lane=lane,
        layout=layout,
        values=values,
        initial=initial,
        programs=_programs(lane, layout, initial, values),
        rates=jax.jit(jax.vmap(lane.learning_rate, in_axes=(0, None))),
        validate=None,
        compile_seconds=0.0,
    )
    held_out = data.load(first.data.name, first.data.val_split)
    validate = population.examiner(held_out) if first.data.val_split else None
    seconds = time.perf_counter() - started
    return dataclasses.replace(population, validate=validate, compile_seconds=seconds)


def _programs(
    lane: Lane, layout: parallel.MembersLayout, initial: TrainState, values: dict[str, jax.Array]
) -> dict[int, Callable[..., TrainState]]:
    count = len(values["seed"])
    active = jax.ShapeDtypeStruct((count,), np.bool_)

    def of_all(row: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *row.shape), row.dtype)

    return {
        length: layout.compile(
            lane.advance,
            initial,
            (values, active, jax.tree.map(of_all, shapes)),
            lane.feed.resident,
            donate=True,
        )
        for length, shapes in lane.feed.shapes().items()
    }


def _warm(initial: TrainState, init_from: str) -> TrainState:
    """All members from the same weights, those of the run in the workdir `init_from`."""
    if not init_from:
        return initial
    warm = warm_start(jax.tree.map(lambda x: x[0], initial), init_from)
    count = len(initial["step"])

    def alike(tree: Any) -> Any:
        return jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * count), tree)

    return {
        **initial,
        "params": alike(warm["params"]),
        "variables": alike(warm["variables"]),
        "average": alike(warm["average"]),
    }
