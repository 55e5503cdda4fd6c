"""Batches for training, from the device or from the host. `data.placement` is read here alone.

Both feeds give the same examples in the same order, in the same chunks, to the same compiled step,
for M networks at a time: each follows the order of its own seed.
"""

import concurrent.futures
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mnist_jax import data
from mnist_jax.config import Config
from mnist_jax.data.order import permutation
from mnist_jax.errors import UserError

PLACEMENTS = ("device", "host")
HOST_BYTES = 16 << 20  # images of one chunk, where they come from the host


@dataclass(frozen=True)
class Chunk:
    """Some steps of an epoch."""

    start: int  # step of the epoch at which it begins
    stop: int
    rows: Any  # what the feed's `fetch` takes, `[M, S, B, ...]`


class Feed(Protocol):
    """Where batches come from."""

    steps_per_epoch: int
    resident: Any  # arrays kept on the device

    def fetch(self, resident: Any, row: Any) -> Any:
        """The `Batch` of one row of one network; traced into the compiled step."""
        ...

    def chunks(self, epoch: int, start: int = 0) -> Iterator[Chunk]:
        """The chunks of an epoch, from step `start` of it on."""
        ...

    def shapes(self) -> dict[int, Any]:
        """Shapes and types of `Chunk.rows`, by number of steps."""
        ...


@dataclass(frozen=True)
class _Plan:
    """The order of the training examples: a pure function of seed, epoch and configuration."""

    seeds: tuple[int, ...]  # of the M networks
    count: int  # examples
    batch_size: int
    chunk_steps: int  # in one call; at most an epoch

    @property
    def steps_per_epoch(self) -> int:
        return self.count // self.batch_size

    def chunks(self, epoch: int, start: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """`(start, stop, index)`, with `index` `[M, stop - start, batch_size]` int32."""
        steps, batch = self.steps_per_epoch, self.batch_size
        orders = {
            seed: permutation(seed, epoch, self.count)[: steps * batch].reshape(steps, batch)
            for seed in dict.fromkeys(self.seeds)
        }
        for begin, stop in self.bounds(start):
            yield begin, stop, np.stack([orders[seed][begin:stop] for seed in self.seeds])

    def bounds(self, start: int = 0) -> list[tuple[int, int]]:
        """Where each chunk from step `start` on begins and stops; none if no step is left.

        `start` may lie within a chunk: another number of devices had chunks of another length.
        A single step that is left over joins its neighbour: XLA compiles a single step as no loop,
        and rounds it otherwise than the same step within one.
        """
        steps, length = self.steps_per_epoch, self.chunk_steps
        edges = [start, *(edge for edge in range(0, steps, length) if edge > start), steps]
        if length > 1 and len(edges) > 2 and edges[1] - start == 1:
            del edges[1]
        if length > 1 and len(edges) > 2 and steps - edges[-2] == 1:
            del edges[-2]
        return list(itertools.pairwise(edges)) if start < steps else []

    def positions(self, steps: int) -> np.ndarray:
        """`[M, steps, batch_size]` int32: the place of each example in its batch."""
        shape = (len(self.seeds), steps, self.batch_size)
        return np.broadcast_to(np.arange(self.batch_size, dtype=np.int32), shape)

    def shapes(self, **row: tuple[tuple[int, ...], Any]) -> dict[int, Any]:
        """From the shape of one example and its type, by name."""
        lengths = {stop - begin for begin, stop in self.bounds()}
        return {
            n: {
                name: jax.ShapeDtypeStruct((len(self.seeds), n, self.batch_size, *shape), dtype)
                for name, (shape, dtype) in row.items()
            }
            for n in sorted(lengths)
        }


class DeviceFeed:
    """The whole split on the device as uint8; a chunk is indices."""

    def __init__(self, plan: _Plan, split: data.Split, sharding: jax.sharding.Sharding) -> None:
        self._plan = plan
        self.steps_per_epoch = plan.steps_per_epoch
        self._image_shape = split.spec.image_shape
        # Flat: XLA:CPU copies rows of bytes whole, and gathers images of more axes byte by byte.
        flat = split.images.reshape(len(split.images), -1)
        self.resident = jax.device_put((flat, split.labels), sharding)

    def fetch(self, resident: Any, row: Any) -> Any:
        """Gathers the examples of a batch."""
        images, labels = resident
        index = row["index"]
        rows = lax.optimization_barrier(jnp.take(images, index, axis=0, mode="clip"))
        return {
            "image": rows.reshape(*index.shape, *self._image_shape),
            "label": jnp.take(labels, index, axis=0, mode="clip"),
            "position": row["position"],
        }

    def chunks(self, epoch: int, start: int = 0) -> Iterator[Chunk]:
        """Indices only: the images are there already."""
        for begin, stop, index in self._plan.chunks(epoch, start):
            rows = {"index": index, "position": self._plan.positions(stop - begin)}
            yield Chunk(begin, stop, rows)

    def shapes(self) -> dict[int, Any]:
        """Shapes and types of the indices, by number of steps."""
        return self._plan.shapes(index=((), np.int32), position=((), np.int32))


class HostFeed:
    """Batches drawn from tfds' data source, the next chunk read while one is trained on."""

    def __init__(self, plan: _Plan, source: Any, image_shape: tuple[int, ...]) -> None:
        self._plan = plan
        self.steps_per_epoch = plan.steps_per_epoch
        self._source = source
        self._image_shape = image_shape
        self.resident = ()

    def fetch(self, resident: Any, row: Any) -> Any:
        """The row is the batch."""
        return row

    def chunks(self, epoch: int, start: int = 0) -> Iterator[Chunk]:
        """Images and labels, `[M, S, B, ...]`."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=1) as reader:
            pending = None
            for plan in self._plan.chunks(epoch, start):
                ready, pending = pending, reader.submit(self._read, *plan)
                if ready is not None:
                    yield ready.result()
            if pending is not None:
                yield pending.result()

    def shapes(self) -> dict[int, Any]:
        """Shapes and types of images and labels, by number of steps."""
        image = (self._image_shape, np.uint8)
        return self._plan.shapes(image=image, label=((), np.int32), position=((), np.int32))

    def _read(self, begin: int, stop: int, index: np.ndarray) -> Chunk:
        """Each example is read once, however many networks are to see it in this chunk."""
        examples, places = np.unique(index, return_inverse=True)
        images, labels = self._source.fetch(examples)
        places = places.reshape(index.shape)
        rows = {
            "image": images[places],
            "label": labels[places],
            "position": self._plan.positions(stop - begin),
        }
        return Chunk(begin, stop, rows)


def open_feed(
    config: Config,
    sharding: jax.sharding.Sharding,
    seeds: Sequence[int] | None = None,
    most_steps: int | None = None,
) -> Feed:
    """The feed that `data.placement` asks for.

    Args:
      config: of the networks, which may differ in their seeds.
      sharding: of resident data.
      seeds: of the M networks; by default the configuration's own.
      most_steps: in a chunk; `None`: no bound but an epoch.

    Raises:
      UserError: an unknown placement, or a split smaller than a batch.
    """
    check(config)
    seeds = tuple(seeds or (config.seed,))
    split = data.load(config.data.name, config.data.train_split)
    count, shape = len(split.labels), split.spec.image_shape
    most = [count if most_steps is None else most_steps]
    if config.data.placement == "host":
        most.append(HOST_BYTES // (len(seeds) * config.batch_size * int(np.prod(shape))))
    steps = count // config.batch_size
    length = chunk_length(steps, config.chunk_steps or steps, min(most))
    plan = _Plan(seeds, count, config.batch_size, length)
    if config.data.placement == "host":
        source = data.source(config.data.name, config.data.train_split)
        return HostFeed(plan, source, shape)
    return DeviceFeed(plan, split, sharding)


def chunk_length(steps: int, wanted: int, most: int) -> int:
    """The number of steps in a chunk: as many as wanted, where that is not more than may be.

    Among the lengths from half of `most` to `most`, one that divides an epoch of `steps` needs no
    second program for what is left over. At least two: see `_Plan.bounds`.
    """
    most = max(most, 2)
    if wanted <= most:
        return wanted
    return next((n for n in range(most, most // 2, -1) if steps % n == 0 and n > 1), most)


def check(config: Config) -> None:
    """Raises UserError where there is no feed for a configuration."""
    if config.data.placement not in PLACEMENTS:
        raise UserError(
            f"config.data.placement: {config.data.placement!r} is none of {', '.join(PLACEMENTS)}"
        )
    count = len(data.load(config.data.name, config.data.train_split).labels)
    if count < config.batch_size:
        raise UserError(
            f"config.batch_size: {config.batch_size} is more than the {count} examples of "
            f"{config.data.train_split!r}"
        )
