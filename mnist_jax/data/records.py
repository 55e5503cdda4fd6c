"""Random access to the examples that tfds prepared.

Importing this module imports tfds.
"""

import dataclasses
import errno
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format, message
from tensorflow_datasets.proto import tf_example_pb2

from mnist_jax import starved
from mnist_jax.data import builder, features, png, seal, splits
from mnist_jax.data.catalog import Dataset
from mnist_jax.data.features import Fields
from mnist_jax.errors import UserError
from mnist_jax.files import reason

_PROTO: Any = tf_example_pb2  # its names are created on import, so a type checker knows none

UNREADABLE = (
    RuntimeError,
    ValueError,
    OSError,
    LookupError,
    zlib.error,
    message.Error,
    json_format.Error,
)
REFUSALS = tuple(  # as array_record's C++ says them
    os.strerror(code)
    for code in (errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE)
)


class DamagedRecords(UserError):
    """Raised if the data that tfds prepared cannot be read, or are not the expected data."""


def judged(folder: Path, error: BaseException) -> UserError:
    """Returns what to raise for an error that came as prepared data were read.

    Returns:
      DamagedRecords if files are missing or not as they were; another UserError if the system
      refuses to read them, or memory or threads do not suffice: they may be sound.
    """
    if lack := starved.shortage(error):
        return UserError(f"{folder} cannot be read: {starved.explained(lack)}")
    refused = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
    if refused or any(words in str(error) for words in REFUSALS):
        return UserError(
            f"the system refuses to read {folder}: {reason(error)}. The data may be sound, so they "
            f"were not touched. Check the disk and the permissions, then run the same command again"
        )
    return DamagedRecords(f"{folder} is damaged: {error}")


class Records:
    """The examples of a split, in tfds' order, decoded on request."""

    def __init__(self, source: Any, fields: Fields, folder: Path) -> None:
        self._folder = folder
        self._source = source  # a sequence of serialized examples with `__getitems__`
        self._fields = fields

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, indices: np.ndarray | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the images and labels of the rows `indices`.

        Returns:
          Images `[k, height, width, channels]` uint8 and labels `[k]` int32.

        Raises:
          IndexError: there is no such row.
          DamagedRecords: a row cannot be read.
          UserError: the system refuses to read it.
        """
        keys = np.asarray(indices, np.int64).tolist()
        fields = self._fields
        images = np.empty((len(keys), *fields.shape), np.uint8)
        labels = np.empty(len(keys), np.int32)
        if not keys:
            return images, labels
        if min(keys) < 0 or max(keys) >= len(self):
            raise IndexError(
                f"rows {min(keys)} to {max(keys)} are not all within the split of {len(self)} rows"
            )
        try:
            for row, example in enumerate(self._source.__getitems__(keys)):
                feature = _PROTO.Example.FromString(example).features.feature
                image = png.decode(feature[fields.image].bytes_list.value[0], fields.shape)
                images[row] = image.swapaxes(0, 1) if fields.transposed else image
                labels[row] = feature[fields.label].int64_list.value[0]
        except UNREADABLE as error:
            raise judged(self._folder, error) from error
        return images, labels


class Prepared:
    """A data set that tfds has prepared, with the class names and the orientation of `dataset`."""

    def __init__(self, dataset: Dataset, *, whole: bool = False) -> None:
        """Opens it.

        Args:
          dataset: the data set.
          whole: True to compare all bytes of its files with their digests first.

        Raises:
          DamagedRecords: the files or the description of the data set are damaged.
          UserError: the system refuses to read them.
        """
        self.folder = builder.folder(dataset)
        try:
            if problem := seal.damage(self.folder, whole=whole):
                raise DamagedRecords(f"{self.folder} is damaged: {problem}")
            self._builder: Any = builder.open_builder(dataset)
            info = self._builder.info
            self.shards = {name: list(split.shard_lengths) for name, split in info.splits.items()}
        except DamagedRecords:
            raise
        except UserError as error:
            if isinstance(error.__cause__, UNREADABLE):  # tfds could not read its description
                raise judged(self.folder, error.__cause__) from error
            raise
        except UNREADABLE as error:
            raise judged(self.folder, error) from error
        if not self.shards:
            raise DamagedRecords(f"{self.folder} is damaged: it names no splits")
        fields = features.fields(info)
        self.fields = dataclasses.replace(
            fields,
            class_names=dataset.class_names or fields.class_names,
            transposed=dataset.transposed,
        )

    def records(self, split: str) -> Records:
        """Opens a split, given by a tfds split string, for random access.

        Raises:
          DamagedRecords: its files are missing, or are not as they were.
          UserError: as `splits.resolve` does, or the system refuses to read a file.
        """
        raw = ()
        if splits.resolve(split, self.shards):
            try:
                raw = self._builder.as_data_source(
                    split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
                )
            except UNREADABLE as error:
                raise judged(self.folder, error) from error
        return Records(raw, self.fields, self.folder)
