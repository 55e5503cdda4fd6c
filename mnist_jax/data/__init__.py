"""The data: `load` a split into memory, or open a `source` with random access to it.

`spec` gives the shape of the images and the classes; `check_splits` refuses to train, or to choose,
on what is tested on.
"""

from mnist_jax.data.dataset import Split, check_splits, load, read_ahead, source, spec
from mnist_jax.data.spec import Spec

__all__ = ["Spec", "Split", "check_splits", "load", "read_ahead", "source", "spec"]
