"""Opens a split of a data set: in memory, or for random access to the files that tfds prepared."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnist_jax.data import cache, catalog, separation, splits
from mnist_jax.data.joined import Joined
from mnist_jax.data.lock import exclusive
from mnist_jax.data.spec import DIGITS, Ink, Spec
from mnist_jax.errors import UserError
from mnist_jax.presence import exists

if TYPE_CHECKING:
    from mnist_jax.data.records import Records


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of a split, in tfds' order; the arrays are read-only."""

    # [n, height, width, channels] uint8; views of the cache, so that what is not used is not in
    # memory: an array, or several if the split consists of several ranges
    stored: np.ndarray | Joined
    labels: np.ndarray  # [n] int32
    class_names: tuple[str, ...]
    name: str  # name of the data set
    split: str  # the tfds split string

    @functools.cached_property
    def images(self) -> np.ndarray:
        """The images `[n, height, width, channels]` uint8 as one array; copies several ranges."""
        if not isinstance(self.stored, Joined):
            return self.stored
        images = self.stored[:]
        images.flags.writeable = False
        return images

    @property
    def spec(self) -> Spec:
        """The image shape and the classes of the data set."""
        height, width, channels = self.stored.shape[1:]
        return Spec((height, width, channels), self.class_names)


def spec(name: str) -> Spec:
    """Returns the image shape and the classes of the data set `name`.

    Prepares the data set on first use.

    Raises:
      UserError: as `load` does.
    """
    return load(name, "").spec


def ink(name: str) -> Ink | None:
    """Returns how handwriting lies in the images of the data set `name`; None for other images.

    Raises:
      UserError: the name is unknown.
    """
    return catalog.find(name).ink


def ink_of_digits(name: str, class_names: Sequence[str]) -> Ink | None:
    """Returns how handwritten digits lie in the images of a data set; None if it has none.

    Args:
      name: of the data set.
      class_names: its classes.

    Raises:
      UserError: the name is unknown.
    """
    return ink(name) if tuple(class_names) == DIGITS else None


def check_splits(name: str, train_split: str, val_split: str) -> list[str]:
    """Checks, row by row, that the training, validation and test splits do not overlap.

    Returns:
      Warnings of rows that a split lists more than once.

    Raises:
      UserError: the data set `name` has no `test` split, the training or validation split contains
        rows of it, or they share rows; also as `load` does.
    """
    shards = cache.decoded(catalog.find(name)).shards
    separation.check(name, train_split, val_split, shards)
    asked = {"train_split": train_split, "val_split": val_split}
    found = [separation.repeated(f"config.data.{f}", split, shards) for f, split in asked.items()]
    return [warning for warning in found if warning]


def repeated(name: str, split: str) -> str:
    """Returns a warning if the split lists rows more than once, else an empty string.

    Raises:
      UserError: as `load` does.
    """
    return separation.repeated("split", split, cache.decoded(catalog.find(name)).shards)


def load(name: str, split: str) -> Split:
    """Returns the examples that a tfds split string selects from the data set `name`.

    Prepares the data set on first use.

    Args:
      name: a known data set, or the user's own tfds builder as 'package.module:Class'.
      split: a tfds split string such as 'train[:55000]'; '' selects nothing.

    Raises:
      UserError: the name is unknown, the split cannot be read, a label is not a class, files are
        damaged or missing, or the data directory is not writable.
    """
    dataset = catalog.find(name)
    decoded = cache.decoded(dataset)
    rows = splits.resolve(split, decoded.shards)
    images, labels = _parts(0, rows, decoded), _labels(rows, decoded)
    _check_labels(dataset.name, split, labels, len(decoded.class_names))
    stored = images[0] if len(images) == 1 else Joined(images)
    return Split(stored, labels, decoded.class_names, dataset.name, split)


def count(name: str, split: str) -> int:
    """Returns the number of examples that `load` returns, without reading their images.

    Raises:
      UserError: as `load` does.
    """
    dataset = catalog.find(name)
    decoded = cache.decoded(dataset)
    labels = _labels(splits.resolve(split, decoded.shards), decoded)
    _check_labels(dataset.name, split, labels, len(decoded.class_names))
    return len(labels)


def read_ahead(name: str) -> None:
    """Starts reading the data set `name` in a thread; `load` later waits for that to finish.

    Raises:
      UserError: the name is unknown.
    """
    cache.read_ahead(catalog.find(name))


def source(name: str, split: str) -> Records:
    """Opens the rows that `load` returns for random access in tfds' files, decoded on request.

    Damaged files are reported but, unlike in `load`, not prepared again.

    Raises:
      UserError: as `load` does.
    """
    from mnist_jax.data import builder, records  # only needed here, and they import tfds

    dataset = catalog.find(name)
    if not exists(builder.folder(dataset)):
        with exclusive(dataset):
            builder.prepare(dataset)
    return records.Prepared(dataset).records(split)


def _check_labels(name: str, split: str, labels: np.ndarray, classes: int) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise UserError(
            f"{name}, split {split!r}: image {wrong[0]} has the label {labels[wrong[0]]}, "
            f"but the labels of its {classes} classes run from 0 to "
            f"{classes - 1}. Choose a split whose images are labelled"
        )


def _parts(which: int, rows: list[splits.Rows], decoded: cache.Decoded) -> list[np.ndarray]:
    """Returns views of the images (`which` is 0) or labels (1) of the rows, at least one."""
    none = next(iter(decoded.arrays.values()))[which][:0]
    return [decoded.arrays[key][which][start:stop] for key, start, stop in rows] or [none]


def _labels(rows: list[splits.Rows], decoded: cache.Decoded) -> np.ndarray:
    labels = np.concatenate(_parts(1, rows, decoded))
    labels.flags.writeable = False
    return labels
