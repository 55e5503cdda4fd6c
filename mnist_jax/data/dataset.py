"""A split of a data set: in memory, or with random access to what tfds prepared."""

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
    name: str  # of the data set
    split: str

    @property
    def spec(self) -> Spec:
        """The shape of an image, and the classes."""
        return _spec(self.images, self.class_names)


def spec(name: str) -> Spec:
    """The shape of the images of the data set `name`, and its classes.

    Prepares the data set at its first use. Raises UserError as `load` does.
    """
    decoded = cache.decoded(catalog.find(name))
    images, _ = next(iter(decoded.arrays.values()))
    return _spec(images, decoded.class_names)


def check_splits(name: str, train_split: str, val_split: str) -> None:
    """Refuses splits that would train or choose on what is tested on, judged row by row.

    Raises UserError where the data set `name` has no `test` split, where training or validation
    hold a row of it, and where they share rows; and as `load` does.
    """
    separation.check(name, train_split, val_split, cache.decoded(catalog.find(name)).shards)


def load(name: str, split: str) -> Split:
    """The split that a tfds split string selects from the data set `name`; '' selects nothing.

    Prepares the data set at its first use. Raises UserError for an unknown name, a split that
    cannot be read, a label that names no class, damaged or missing files, and a folder that cannot
    be written.
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
    """Begins to read the data set `name` while the program goes on; `load` waits for it.

    Raises UserError for an unknown name.
    """
    cache.read_ahead(catalog.find(name))


def source(name: str, split: str) -> Records:
    """Random access to the same rows as `load`, read from tfds' files and decoded on request.

    Raises UserError as `load` does; damaged files are not prepared again.
    """
    from mnist_jax.data import builder, records  # these import tfds, which `load` can do without

    dataset = catalog.find(name)
    if not builder.folder(dataset).exists():
        with exclusive(dataset):
            builder.prepare(dataset)
    return records.Prepared(dataset).records(split)


def _spec(images: np.ndarray, class_names: tuple[str, ...]) -> Spec:
    height, width, channels = images.shape[1:]
    return Spec((height, width, channels), class_names)


def _check_labels(split: Split) -> None:
    classes = len(split.class_names)
    wrong = np.flatnonzero((split.labels < 0) | (split.labels >= classes))
    if len(wrong):
        raise UserError(
            f"{split.name}, split {split.split!r}: image {wrong[0]} has the label "
            f"{split.labels[wrong[0]]}, where there are {classes} classes, from 0 on. "
            "Choose a split whose images are labelled."
        )


def _joined(parts: list[tuple], decoded: cache.Decoded) -> tuple[np.ndarray, np.ndarray]:
    """The parts one after another; of no parts, arrays of no examples."""
    images, labels = next(iter(decoded.arrays.values()))
    images = np.concatenate([images[:0], *(part[0] for part in parts)])
    labels = np.concatenate([labels[:0], *(part[1] for part in parts)])
    images.flags.writeable = labels.flags.writeable = False
    return images, labels
