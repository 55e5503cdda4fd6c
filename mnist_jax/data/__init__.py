"""The data: `load` a split into memory, or open a `source` with random access to it."""

from mnist_jax.data.dataset import Split, load, read_ahead, source

__all__ = ["Split", "load", "read_ahead", "source"]
