"""Batches for training, from the device or from the host. `data.placement` is read here alone.

Both feeds give the same examples in the same order, in the same chunks, to the same compiled step.
"""

import concurrent.futures
import copy
import dataclasses
from collections.abc import Iterator
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

IMAGE_SHAPE = (28, 28, 1)
PLACEMENTS = ("device", "host")


@dataclass(frozen=True)
class Chunk:
    """Some steps of an epoch."""

    start: int  # step of the epoch at which it begins
    stop: int
    batches: Any  # what the feed's `fetch` takes, `[S, B, ...]`


class Feed(Protocol):
    """Where batches come from."""

    steps_per_epoch: int
    resident: Any  # arrays kept on the device

    def fetch(self, resident: Any, row: Any) -> Any:
        """The `Batch` of one row of a chunk; traced into the compiled step."""
        ...

    def chunks(self, epoch: int, start: int = 0) -> Iterator[Chunk]:
        """The chunks of an epoch, from step `start` of it on."""
        ...

    def shapes(self) -> dict[int, Any]:
        """Shapes and types of `Chunk.batches`, by number of steps."""
        ...

    def reseeded(self, seed: int) -> "Feed":
        """The feed of another seed, that shares what this one keeps on the device."""
        ...


@dataclass(frozen=True)
class _Plan:
    """Which example stands where: a pure function of the configuration."""

    seed: int
    count: int
    batch_size: int
    chunk_steps: int

    @property
    def steps_per_epoch(self) -> int:
        return self.count // self.batch_size

    def chunks(self, epoch: int, start: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """`(start, stop, index)`, with `index` `[stop - start, batch_size]` int32."""
        steps, batch = self.steps_per_epoch, self.batch_size
        order = permutation(self.seed, epoch, self.count)[: steps * batch].reshape(steps, batch)
        for begin, stop in self._bounds():
            if begin >= start:
                yield begin, stop, order[begin:stop]

    def _bounds(self) -> list[tuple[int, int]]:
        """Where each chunk begins and stops.

        A rest of one step joins the chunk before it: XLA compiles a single step as no loop, and
        rounds it otherwise than the same step within one.
        """
        steps = self.steps_per_epoch
        edges = list(range(0, steps, self.chunk_steps or steps))
        if len(edges) > 1 and edges[-1] == steps - 1 and self.chunk_steps > 1:
            edges.pop()
        return list(zip(edges, [*edges[1:], steps], strict=True))

    def positions(self, steps: int) -> np.ndarray:
        return np.tile(np.arange(self.batch_size, dtype=np.int32), (steps, 1))

    def shapes(self, **row: tuple[tuple[int, ...], Any]) -> dict[int, Any]:
        """From the shape of one example and its type, by name."""
        lengths = {stop - begin for begin, stop in self._bounds()}
        return {
            n: {
                name: jax.ShapeDtypeStruct((n, self.batch_size, *shape), dtype)
                for name, (shape, dtype) in row.items()
            }
            for n in sorted(lengths)
        }


class DeviceFeed:
    """The whole split on the device as uint8; a chunk is indices."""

    def __init__(self, config: Config, sharding: jax.sharding.Sharding) -> None:
        split = data.load(config.data.name, config.data.train_split)
        self._plan = _plan(config, len(split.labels))
        self.steps_per_epoch = self._plan.steps_per_epoch
        self._image_shape = split.images.shape[1:]
        # Flat: XLA:CPU copies rows of bytes whole, and gathers images of more axes byte by byte.
        flat = split.images.reshape(len(split.images), -1)
        self.resident = jax.device_put((flat, split.labels), sharding)

    def fetch(self, resident: Any, row: Any) -> Any:
        """Gathers the rows of a batch."""
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
        """Of the indices."""
        return self._plan.shapes(index=((), np.int32), position=((), np.int32))

    def reseeded(self, seed: int) -> Feed:
        """Other indices into the same images."""
        return _reseeded(self, seed)


class HostFeed:
    """Batches drawn from tfds' data source, the next chunk read while one is trained on."""

    def __init__(self, config: Config) -> None:
        self._source = data.source(config.data.name, config.data.train_split)
        self._plan = _plan(config, len(self._source))
        self.steps_per_epoch = self._plan.steps_per_epoch
        self.resident = ()

    def fetch(self, resident: Any, row: Any) -> Any:
        """The row is the batch."""
        return row

    def chunks(self, epoch: int, start: int = 0) -> Iterator[Chunk]:
        """Images and labels, `[S, B, ...]`."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=1) as reader:
            pending = None
            for plan in self._plan.chunks(epoch, start):
                ready, pending = pending, reader.submit(self._read, *plan)
                if ready is not None:
                    yield ready.result()
            if pending is not None:
                yield pending.result()

    def shapes(self) -> dict[int, Any]:
        """Of the images and labels."""
        image = (IMAGE_SHAPE, np.uint8)
        return self._plan.shapes(image=image, label=((), np.int32), position=((), np.int32))

    def reseeded(self, seed: int) -> Feed:
        """Other batches from the same files."""
        return _reseeded(self, seed)

    def _read(self, begin: int, stop: int, index: np.ndarray) -> Chunk:
        images, labels = self._source.fetch(index.reshape(-1))
        batches = {
            "image": images.reshape(*index.shape, *images.shape[1:]),
            "label": labels.reshape(index.shape),
            "position": self._plan.positions(stop - begin),
        }
        return Chunk(begin, stop, batches)


def open_feed(config: Config, sharding: jax.sharding.Sharding) -> Feed:
    """The feed that `data.placement` asks for; `sharding` is that of resident data.

    Raises:
      UserError: an unknown placement, or a split smaller than a batch.
    """
    check(config)
    return HostFeed(config) if config.data.placement == "host" else DeviceFeed(config, sharding)


def check(config: Config) -> None:
    """Raises UserError where there is no feed for a configuration; reads no image."""
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


def _reseeded(feed: Any, seed: int) -> Any:
    other = copy.copy(feed)
    other._plan = dataclasses.replace(feed._plan, seed=seed)
    return other


def _plan(config: Config, count: int) -> _Plan:
    return _Plan(config.seed, count, config.batch_size, config.chunk_steps)
