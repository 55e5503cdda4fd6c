"""Feeds training batches to the compiled step, from arrays on the device or from the host.

Both feeds give the same examples in the same order and in the same chunks. They serve M networks
at a time, each in the order of its own seed. Only this module reads `data.placement`.
"""

import concurrent.futures
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mnist_jax import data
from mnist_jax.config import Config
from mnist_jax.data.order import permutation
from mnist_jax.errors import UserError

PLACEMENTS = ("device", "host")
HOST_BYTES = 16 << 20  # upper bound on the images of one chunk, if they come from the host


@dataclass(frozen=True)
class Chunk:
    """Consecutive steps of an epoch that are trained in one compiled call.

    B is the size of a batch, or, where several processes share it, of this one's share.
    """

    start: int  # first step, counted within the epoch
    stop: int  # one past the last step
    rows: Any  # arrays `[M, S, B, ...]` (networks, steps, batch); `fetch` takes one `[B, ...]`


@dataclass(frozen=True)
class _Plan:
    """The order of the training examples: a pure function of seed, epoch and configuration."""

    seeds: tuple[int, ...]  # one per network
    count: int  # number of examples
    batch_size: int
    chunk_steps: int  # steps per compiled call, at most an epoch
    share: slice  # of each batch: what the devices of this process train on

    @property
    def steps_per_epoch(self) -> int:
        return self.count // self.batch_size

    def chunks(self, epoch: int, start: int, end: int | None) -> Iterator[Chunk]:
        """Yields chunks of the examples' indices and of their positions in the batch, int32."""
        steps, batch = self.steps_per_epoch, self.batch_size
        orders = {
            seed: permutation(seed, epoch, self.count)[: steps * batch].reshape(steps, batch)
            for seed in dict.fromkeys(self.seeds)
        }
        for begin, stop in self.bounds(start, end):
            index = np.stack([orders[seed][begin:stop, self.share] for seed in self.seeds])
            positions = np.arange(batch, dtype=np.int32)[self.share]
            position = np.broadcast_to(positions, index.shape)
            yield Chunk(begin, stop, {"index": index, "position": position})

    def bounds(self, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
        """Returns the first and the last-plus-one step of each chunk from `start` to before `end`.

        By default to the end of the epoch. Both may lie within a chunk, because a run on another
        number of devices may have used chunks of another length. A single leftover step is merged
        into the neighbouring chunk: XLA compiles a single step without a loop, which rounds
        differently from the same step in one.
        """
        steps, length = self.steps_per_epoch if end is None else end, self.chunk_steps
        edges = [start, *(edge for edge in range(0, steps, length) if edge > start), steps]
        if length > 1 and len(edges) > 2 and edges[1] - start == 1:
            del edges[1]
        if length > 1 and len(edges) > 2 and steps - edges[-2] == 1:
            del edges[-2]
        return list(itertools.pairwise(edges)) if start < steps else []


class Feed:
    """A source of training batches; its subclasses take them from the device or from the host."""

    resident: Any = ()  # arrays that stay on the device

    def __init__(self, plan: _Plan, **row: tuple[tuple[int, ...], Any]) -> None:
        """Takes the plan, and by name the shape and dtype of one example's values in a chunk."""
        self.steps_per_epoch = plan.steps_per_epoch
        self._plan = plan
        self._row = row | {"position": ((), np.int32)}

    def fetch(self, resident: Any, row: Any) -> Any:
        """Returns the `Batch` for one row of `Chunk.rows`; it is traced into the compiled step."""
        raise NotImplementedError

    def chunks(self, epoch: int, start: int = 0, end: int | None = None) -> Iterator[Chunk]:
        """Yields the chunks of an epoch from its step `start` to before its step `end`."""
        return self._plan.chunks(epoch, start, end)

    def shapes(self, start: int = 0, end: int | None = None) -> dict[int, Any]:
        """Returns the shapes and dtypes of rows of whole batches, for each length of chunk.

        Args:
          start: the first step of the epoch that is still to be trained.
          end: one past the last of them; None: the end of the epoch.
        """
        networks, batch = len(self._plan.seeds), self._plan.batch_size
        return {
            length: {
                name: jax.ShapeDtypeStruct((networks, length, batch, *shape), dtype)
                for name, (shape, dtype) in self._row.items()
            }
            for length in sorted({stop - begin for begin, stop in self._plan.bounds(start, end)})
        }


class DeviceFeed(Feed):
    """Keeps the whole training split on the device as uint8; a chunk consists of indices."""

    def __init__(self, plan: _Plan, split: data.Split, replicate: Callable[[Any], Any]) -> None:
        super().__init__(plan, index=((), np.int32))
        self._image_shape = split.spec.image_shape
        # Flattened, because XLA:CPU copies whole rows of bytes but gathers images byte by byte.
        flat = split.images.reshape(len(split.images), -1)
        self.resident = replicate((flat, split.labels))

    def fetch(self, resident: Any, row: Any) -> Any:
        """Gathers the examples of a batch from the resident arrays."""
        images, labels = resident
        index = row["index"]
        rows = lax.optimization_barrier(jnp.take(images, index, axis=0, mode="clip"))
        return {
            "image": rows.reshape(*index.shape, *self._image_shape),
            "label": jnp.take(labels, index, axis=0, mode="clip"),
            "position": row["position"],
        }


class HostFeed(Feed):
    """Reads batches from tfds' data source, one chunk ahead of the one that is being trained on."""

    def __init__(self, plan: _Plan, source: Any, image_shape: tuple[int, ...]) -> None:
        super().__init__(plan, image=(image_shape, np.uint8), label=((), np.int32))
        self._source = source

    def fetch(self, resident: Any, row: Any) -> Any:
        """Returns the row as it is, because it is the batch already."""
        return row

    def chunks(self, epoch: int, start: int = 0, end: int | None = None) -> Iterator[Chunk]:
        """Yields chunks of images and labels, `[M, S, B, ...]`."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=1) as reader:
            pending = None
            for chunk in self._plan.chunks(epoch, start, end):
                ready, pending = pending, reader.submit(self._read, chunk)
                if ready is not None:
                    yield ready.result()
            if pending is not None:
                yield pending.result()

    def _read(self, chunk: Chunk) -> Chunk:
        """Reads the examples of a chunk, each only once even if several networks need it."""
        index = chunk.rows["index"]
        examples, places = np.unique(index, return_inverse=True)
        images, labels = self._source.fetch(examples)
        places = places.reshape(index.shape)
        rows = {"image": images[places], "label": labels[places]}
        return Chunk(chunk.start, chunk.stop, rows | {"position": chunk.rows["position"]})


def open_feed(
    config: Config,
    replicate: Callable[[Any], Any],
    seeds: Sequence[int] | None = None,
    most_steps: int | None = None,
    share: slice = slice(None),
) -> Feed:
    """Opens the feed that `data.placement` selects.

    Args:
      config: the configuration of the networks, which may differ in their seeds.
      replicate: puts the arrays that stay on the devices on each of them.
      seeds: the seeds of the M networks; by default only the configuration's own.
      most_steps: upper bound on the steps per chunk; None means an epoch.
      share: the part of each batch that the devices of this process train on.

    Raises:
      UserError: the placement is unknown, or the training split is smaller than a batch.
    """
    check(config)
    seeds = tuple(seeds or (config.seed,))
    name, split = config.data.name, config.data.train_split
    count, shape = data.count(name, split), data.spec(name).image_shape
    most = [count if most_steps is None else most_steps]
    if config.data.placement == "host":
        most.append(HOST_BYTES // (len(seeds) * config.batch_size * int(np.prod(shape))))
    steps = count // config.batch_size
    length = chunk_length(steps, config.chunk_steps or steps, min(most))
    plan = _Plan(seeds, count, config.batch_size, length, share)
    if config.data.placement == "host":
        return HostFeed(plan, data.source(name, split), shape)
    return DeviceFeed(plan, data.load(name, split), replicate)


def most_bytes(config: Config) -> int | None:
    """Returns how many bytes of a split to evaluate may be on the devices at a time; None: any."""
    return HOST_BYTES if config.data.placement == "host" else None


def chunk_length(steps: int, wanted: int, most: int) -> int:
    """Returns the number of steps per chunk: `wanted`, unless that exceeds `most`.

    In that case it is the largest length between `most // 2` and `most` that divides an epoch of
    `steps` (so that no second program is compiled for a remainder), or `most` if none does. `most`
    counts as at least 2, for the reason given in `_Plan.bounds`.
    """
    most = max(most, 2)
    if wanted <= most:
        return wanted
    return next((n for n in range(most, most // 2, -1) if steps % n == 0 and n > 1), most)


def check(config: Config) -> None:
    """Checks that there is a feed for a configuration.

    Raises:
      UserError: the placement is unknown, or the training split is smaller than a batch.
    """
    if config.data.placement not in PLACEMENTS:
        raise UserError(
            f"config.data.placement: {config.data.placement!r} is none of {', '.join(PLACEMENTS)}"
        )
    count = data.count(config.data.name, config.data.train_split)
    if count < config.batch_size:
        raise UserError(
            f"config.batch_size: {config.batch_size} is more than the {count} examples of "
            f"{config.data.train_split!r}"
        )
