"""Derives random keys from the seed, a stream's name, the step and, where needed, the example.

No key is split and carried from step to step. So a run that is resumed, or that uses another number
of devices, draws the same random numbers.
"""

import zlib

import jax
import jax.numpy as jnp

from mnist_jax.settings import PRNG


def root_key(seed: int) -> jax.Array:
    """Returns the key of a seed as plain data, `[2]` uint32, which a checkpoint can hold.

    These are the data of `jax.random.key(seed, impl=PRNG)`, which the environment could change.
    """
    return jnp.stack([jnp.uint32(0), jnp.asarray(seed, jnp.uint32)])


def stream_key(root: jax.Array, stream: str, step: jax.Array | int = 0) -> jax.Array:
    """Returns the key of a named stream at a step; `root` is the `root_key`, `[2]` uint32."""
    key = jax.random.wrap_key_data(root, impl=PRNG)
    named = jax.random.fold_in(key, zlib.crc32(stream.encode()))
    return jax.random.fold_in(named, step)


def example_keys(root: jax.Array, stream: str, step: jax.Array, positions: jax.Array) -> jax.Array:
    """Returns one key per example, `[B]`; `positions` `[B]` int32 are those in the global batch."""
    key = stream_key(root, stream, step)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, positions.astype(jnp.uint32))
