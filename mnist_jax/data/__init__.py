"""Data sets: `load` reads a split into memory, `source` opens it for random access.

`spec` returns the image shape and the classes of a data set, `ink` how handwriting lies in its
images, `count` the size of a split.
`check_splits` refuses training and validation splits that overlap each other or the test split.
"""

from mnist_jax.data.dataset import (
    Split,
    check_splits,
    count,
    ink,
    ink_of_digits,
    load,
    read_ahead,
    repeated,
    source,
    spec,
)
from mnist_jax.data.spec import DIGITS, Ink, Spec

__all__ = [
    "DIGITS",
    "Ink",
    "Spec",
    "Split",
    "check_splits",
    "count",
    "ink",
    "ink_of_digits",
    "load",
    "read_ahead",
    "repeated",
    "source",
    "spec",
]
