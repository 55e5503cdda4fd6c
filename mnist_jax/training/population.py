"""Many networks made ready to train in one compiled program."""

import functools
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
from mnist_jax.training import lifting, optimizer, parallel
from mnist_jax.training.inference import in_blocks, predict_blocks
from mnist_jax.training.optimizer import Schedule
from mnist_jax.training.state import TrainState, evaluation_weights, init_state
from mnist_jax.training.step import run_steps
from mnist_jax.training.task import Task, build


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
        """`[n, BLOCK]` each: the loss, whether right, whether loss and outputs are finite."""
        task = self.task(values)
        params, variables = weights
        p, losses = predict_blocks(task.model, task.loss, params, variables, blocks)
        finite = jnp.isfinite(p).all(axis=-1) & jnp.isfinite(losses)
        return losses, p.argmax(axis=-1) == blocks[1], finite


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
    schedules: tuple[Schedule | None, ...]  # of each member; None: the optimizer has its own rate
    held_out: Split | None  # None without a validation split

    @functools.cached_property
    def validate(self) -> "Callable[[TrainState], Score] | None":
        """Asks every member about the validation split."""
        return None if self.held_out is None else self.examiner(self.held_out)

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
        member = (self.values, self._padded(active), chunk.batches)
        placed = self.layout.place(member)
        return jax.block_until_ready(program(states, placed, self.lane.feed.resident))

    def learning_rates(self, step: int) -> list[float | None]:
        """Of each member at a step; those of one schedule are asked once."""
        rates = {s: None if s is None else float(s(step)) for s in set(self.schedules)}
        return [rates[schedule] for schedule in self.schedules]

    def examiner(self, split: Split) -> Callable[[TrainState], Score]:
        """A function that asks every member about every example of a split, once each."""
        blocks = jax.device_put(in_blocks(split), self.layout.replicated)
        weights = jax.eval_shape(evaluation_weights, self.initial)
        program = self.layout.compile(self.lane.examine, weights, self.values, blocks)
        members, examples = len(self.configs), len(split.labels)

        def examine(states: TrainState) -> Score:
            weights = self.layout.place(evaluation_weights(states))
            outputs = jax.device_get(program(weights, self.values, blocks))
            outputs = [x[:members].reshape(members, -1)[:, :examples] for x in outputs]
            losses, right, finite = outputs
            if losses.shape != (members, examples):
                raise RuntimeError(f"{examples} examples were to be examined, not {losses.shape}")
            loss = losses.sum(axis=1, dtype=np.float64) / examples
            return Score(loss, right.sum(axis=1) / examples, finite.all(axis=1))

        return examine

    def members_of(self, states: Any) -> Any:
        """The rows of members, without the padding, on the host."""
        return jax.tree.map(lambda x: x[: len(self.configs)], jax.device_get(states))

    def place(self, states: Any) -> Any:
        """The inverse of `members_of`: padded, on the devices."""
        return self.layout.place(jax.tree.map(self._padded, states))

    def _padded(self, x: np.ndarray) -> np.ndarray:
        """`[M, ...]` as `[P, ...]`: behind the last member, the first one again."""
        more = -len(x) % len(self.layout.devices)
        return np.concatenate([x, np.broadcast_to(x[:1], (more, *x.shape[1:]))])


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
    initial = jax.jit(jax.vmap(lane.start), out_shardings=layout.by_member)(values)
    held_out = data.load(first.data.name, first.data.val_split) if first.data.val_split else None
    return Population(
        configs=tuple(configs),
        lane=lane,
        layout=layout,
        values=values,
        initial=initial,
        programs=_programs(lane, layout, initial, values),
        schedules=_schedules(configs, lane.feed.steps_per_epoch),
        held_out=held_out,
    )


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


def _schedules(configs: Sequence[Config], steps_per_epoch: int) -> tuple[Schedule | None, ...]:
    """Learning rates as plain functions: what a row tells is what the configuration says."""
    found: dict[str, Schedule | None] = {}
    for config in configs:
        said = repr((config.optimizer, config.schedule))
        if said not in found:
            found[said] = optimizer.build(config, steps_per_epoch)[1]
    return tuple(found[repr((c.optimizer, c.schedule))] for c in configs)
