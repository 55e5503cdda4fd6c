"""Opens a split of a data set: in memory, or for random access to the files that tfds prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnist_jax.data import cache, catalog, separation, splits
from mnist_jax.data.lock import exclusive
from mnist_jax.data.spec import Spec
from mnist_jax.errors import UserError

if TYPE_CHECKING:
    from mnist_jax.data.records import Records


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of a split, in tfds' order; the arrays are read-only."""

    images: np.ndarray  # [n, height, width, channels] uint8
    labels: np.ndarray  # [n] int32
    class_names: tuple[str, ...]
    name: str  # name of the data set
    split: str  # the tfds split string

    @property
    def spec(self) -> Spec:
        """The image shape and the classes of the data set."""
        height, width, channels = self.images.shape[1:]
        return Spec((height, width, channels), self.class_names)


def spec(name: str) -> Spec:
    """Returns the image shape and the classes of the data set `name`.

    Prepares the data set on first use.

    Raises:
      UserError: as `load` does.
    """
    return load(name, "").spec


def check_splits(name: str, train_split: str, val_split: str) -> None:
    """Checks, row by row, that the training, validation and test splits do not overlap.

    Raises:
      UserError: the data set `name` has no `test` split, the training or validation split contains
        rows of it, or they share rows; also as `load` does.
    """
    separation.check(name, train_split, val_split, cache.decoded(catalog.find(name)).shards)


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
    parts = [tuple(array[start:stop] for array in decoded.arrays[key]) for key, start, stop in rows]
    images, labels = parts[0] if len(parts) == 1 else _joined(parts, decoded)
    found = Split(images, labels, decoded.class_names, dataset.name, split)
    _check_labels(found)
    return found


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
    if not builder.folder(dataset).exists():
        with exclusive(dataset):
            builder.prepare(dataset)
    return records.Prepared(dataset).records(split)


def _check_labels(split: Split) -> None:
    classes = len(split.class_names)
    wrong = np.flatnonzero((split.labels < 0) | (split.labels >= classes))
    if len(wrong):
        raise UserError(
            f"{split.name}, split {split.split!r}: image {wrong[0]} has the label "
            f"{split.labels[wrong[0]]}, but the labels of its {classes} classes run from 0 to "
            f"{classes - 1}. Choose a split whose images are labelled"
        )


def _joined(parts: list[tuple], decoded: cache.Decoded) -> tuple[np.ndarray, np.ndarray]:
    """Concatenates the parts; no parts give arrays with no examples."""
    images, labels = next(iter(decoded.arrays.values()))
    images = np.concatenate([images[:0], *(part[0] for part in parts)])
    labels = np.concatenate([labels[:0], *(part[1] for part in parts)])
    images.flags.writeable = labels.flags.writeable = False
    return images, labels
