"""Reduces what a step computes for the parts of a batch to what holds for the whole batch.

A part's function returns means over its examples (the gradient, batch statistics) and sums over
them (metrics). `Mean` makes one part of each device's examples and lets XLA add the parts, in
whatever order suits the number of devices. `Elastic` makes `SHARDS` parts of every batch and adds
them in one order, so that the bits do not depend on the number of devices. It follows the virtual
workers of EasyScale (Li et al., 2023, https://arxiv.org/abs/2208.14228).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax

SHARDS = 8  # parts of a batch in elastic mode; the number of devices divides it


class Reduction(Protocol):
    """Applies a function to the parts of a batch, and to the blocks of a split."""

    @property
    def model_axis(self) -> str | None:
        """The mapped axis over which batch normalisation takes its statistics, if any."""
        ...

    def over_batch(self, function: Callable[[Any], Any], batch: Any) -> tuple[Any, Any]:
        """Returns the means and sums over the global batch.

        Args:
          function: `batch -> (means, sums)`, two trees of arrays, for any part of the batch.
          batch: this device's part of the batch, with a `position` `[B]`.
        """
        ...

    def over_blocks(self, function: Callable[[Any], Any], blocks: Any) -> Any:
        """Returns the results of `function` for each of this device's blocks, stacked.

        Args:
          function: of the images and labels of one block.
          blocks: images `[n, BLOCK, ...]` and labels `[n, BLOCK]`.
        """
        ...


@dataclass(frozen=True)
class Mean:
    """Takes each device's examples as one part."""

    axis_name: str | None = None  # the mapped axis of devices; None: the step sees the whole batch
    packed: bool = False  # exchange one array per dtype, which is faster between processes

    @property
    def model_axis(self) -> str | None:
        """The axis of devices: statistics are those of the global batch."""
        return self.axis_name

    def over_batch(self, function: Callable[[Any], Any], batch: Any) -> tuple[Any, Any]:
        """Applies `function` once, and reduces over the devices."""
        means, sums = function(batch)
        if self.axis_name is None:
            return means, sums
        if not self.packed:
            return jax.tree.map(self._mean, means), lax.psum(sums, self.axis_name)
        both = jax.tree.map(lambda x: x[None], (means, sums))
        total = _unpacked(lax.psum(_packed(both), self.axis_name), both)
        of_means, sums = jax.tree.map(lambda x: x[0], total)
        count = lax.axis_size(self.axis_name)
        return jax.tree.map(lambda x, y: y / count if _is_real(x) else x, means, of_means), sums

    def over_blocks(self, function: Callable[[Any], Any], blocks: Any) -> Any:
        """Loops over the blocks."""
        return lax.map(function, blocks)

    def _mean(self, x: jax.Array) -> jax.Array:
        """Averages a real array, such as batch statistics, over devices; returns counters as is."""
        return lax.pmean(x, self.axis_name) if _is_real(x) else x


WHOLE_BATCH = Mean()


@dataclass(frozen=True)
class Elastic:
    """Takes `SHARDS` parts of each batch, and adds them in the order of the examples."""

    axis_name: str  # the mapped axis of devices

    model_axis = None  # statistics are those of each part

    def over_batch(self, function: Callable[[Any], Any], batch: Any) -> tuple[Any, Any]:
        """Applies `function` to one part after the other, and adds the parts of all devices."""
        each = SHARDS // lax.axis_size(self.axis_name)
        parts = jax.tree.map(lambda x: x.reshape(each, -1, *x.shape[1:]), batch)
        found = _each(function, parts, parts["position"])
        means, sums = self._gathered(found)
        # Without the barrier, the number of devices could decide what is fused with the additions.
        return lax.optimization_barrier(
            (jax.tree.map(_mean_in_order, means), jax.tree.map(_sum_in_order, sums))
        )

    def over_blocks(self, function: Callable[[Any], Any], blocks: Any) -> Any:
        """Applies `function` to one block after the other."""
        return _each(function, blocks, blocks[1])

    def _gathered(self, found: Any) -> Any:
        """Returns the parts of all devices, `[SHARDS, ...]`, from those of this one, `[n, ...]`."""
        if lax.axis_size(self.axis_name) == 1:
            return found
        # Packed, since processes exchange few long arrays faster than many short ones: two of them
        # need 8 ms for a step of configs/mlp.py instead of 31.
        packed = lax.all_gather(_packed(found), self.axis_name, tiled=True)
        return _unpacked(packed, found)


def _each(function: Callable[[Any], Any], parts: Any, indices: jax.Array) -> Any:
    """Applies a function to each part and stacks its results, like `lax.map`.

    XLA compiles a loop of one part without the loop, which rounds differently. So the number of
    parts is unknown when this is compiled: it is counted in `indices` `[n, B]`, none of which is
    negative. And there is room for two parts at least, lest XLA leave out the slicing.
    """
    count = len(indices)
    room = max(count, 2)
    parts = jax.tree.map(lambda x: jnp.resize(x, (room, *x.shape[1:])), parts)  # by repetition
    shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], parts))
    empty = jax.tree.map(lambda x: jnp.zeros((room, *x.shape), x.dtype), shapes)

    def body(i: jax.Array, found: Any) -> Any:
        part = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), parts)
        # The barriers keep the loop's other operations, whose shapes differ, out of the function.
        new = lax.optimization_barrier(function(lax.optimization_barrier(part)))
        return jax.tree.map(lambda x, y: lax.dynamic_update_index_in_dim(x, y, i, 0), found, new)

    found = lax.fori_loop(0, (indices[:, 0] >= 0).sum(), body, empty)
    return jax.tree.map(lambda x: x[:count], found)


def _sum_in_order(parts: jax.Array) -> jax.Array:
    """Adds the parts `[SHARDS, ...]` from the first to the last."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _mean_in_order(parts: jax.Array) -> jax.Array:
    """Averages the parts of a real array `[SHARDS, ...]`; returns the first of a counter."""
    return _sum_in_order(parts) / SHARDS if _is_real(parts) else parts[0]


def _packed(tree: Any) -> dict[str, jax.Array]:
    """Returns the values of arrays `[n, ...]` in one array `[n, values]` per dtype."""
    packed: dict[str, list[jax.Array]] = {}
    for leaf in jax.tree.leaves(tree):
        packed.setdefault(leaf.dtype.name, []).append(leaf.reshape(len(leaf), -1))
    return {name: jnp.concatenate(leaves, axis=1) for name, leaves in packed.items()}


def _unpacked(packed: dict[str, jax.Array], like: Any) -> Any:
    """Returns a tree of arrays `[m, ...]` from what `_packed` makes of it.

    Args:
      packed: arrays `[m, values]` by dtype.
      like: a tree of arrays of these dtypes and shapes, but for their first axis.
    """
    leaves, structure = jax.tree.flatten(like)
    stops = dict.fromkeys(packed, 0)
    found = []
    for leaf in leaves:
        name = leaf.dtype.name
        start = stops[name]
        stops[name] = start + leaf[0].size
        values = packed[name][:, start : stops[name]]
        found.append(values.reshape(len(values), *leaf.shape[1:]))
    return jax.tree.unflatten(structure, found)


def _is_real(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)
