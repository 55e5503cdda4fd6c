"""Random keys as a pure function of (seed, stream name, step), and of the example where it matters.

Nothing is split and carried along, so a resumed run, or one on another number of devices, draws
what it would have drawn.
"""

import zlib

import jax
import jax.numpy as jnp


def root_key(seed: int) -> jax.Array:
    """The seed's key as plain data, `[2]` uint32, which any checkpoint can hold."""
    return jax.random.key_data(jax.random.key(seed))


def stream_key(root: jax.Array, stream: str, step: jax.Array | int = 0) -> jax.Array:
    """The key of a named stream at a step; `root` `[2]` uint32 is a `root_key`."""
    key = jax.random.wrap_key_data(root)
    named = jax.random.fold_in(key, zlib.crc32(stream.encode()))
    return jax.random.fold_in(named, step)


def example_keys(root: jax.Array, stream: str, step: jax.Array, positions: jax.Array) -> jax.Array:
    """A key for each example: `[B]`, from `positions` `[B]` int32 in the global batch."""
    key = stream_key(root, stream, step)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, positions.astype(jnp.uint32))
