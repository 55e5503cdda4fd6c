"""Random access to the examples that tfds prepared.

Importing this module imports tfds.
"""

import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format, message
from tensorflow_datasets.proto import tf_example_pb2

from mnist_jax.data import builder, features, png, splits
from mnist_jax.data.catalog import Dataset
from mnist_jax.data.features import Fields
from mnist_jax.errors import UserError

_PROTO: Any = tf_example_pb2  # its names are created on import, so a type checker knows none

DAMAGE = (
    RuntimeError,
    ValueError,
    OSError,
    LookupError,
    zlib.error,
    message.Error,
    json_format.Error,
)


class DamagedRecords(UserError):
    """Raised if the data that tfds prepared cannot be read, or are not the expected data."""


class DataSource(Protocol):
    """The interface of tfds' random access to serialized examples."""

    def __len__(self) -> int: ...

    def __getitems__(self, keys: Sequence[int], /) -> Sequence[bytes]: ...


class Records:
    """The examples of a split, in tfds' order, decoded on request."""

    def __init__(self, source: DataSource | None, fields: Fields) -> None:
        self._source = source
        self._fields = fields

    def __len__(self) -> int:
        return 0 if self._source is None else len(self._source)

    def fetch(self, indices: np.ndarray | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the images and labels of the rows `indices`.

        Returns:
          Images `[k, height, width, channels]` uint8 and labels `[k]` int32.

        Raises:
          IndexError: there is no such row.
          DamagedRecords: a row cannot be read.
        """
        keys = np.asarray(indices, np.int64).tolist()
        images = np.empty((len(keys), *self._fields.shape), np.uint8)
        labels = np.empty(len(keys), np.int32)
        if not keys:
            return images, labels
        if self._source is None or min(keys) < 0 or max(keys) >= len(self._source):
            raise IndexError(
                f"rows {min(keys)} to {max(keys)} are not all within the split of {len(self)} rows"
            )
        try:
            for row, example in enumerate(self._source.__getitems__(keys)):
                images[row], labels[row] = _decode(example, self._fields)
        except DAMAGE as error:
            raise DamagedRecords(f"examples prepared by tfds are damaged: {error}") from error
        return images, labels


class Prepared:
    """A data set that tfds has prepared.

    Raises:
      DamagedRecords: the description of the data set is damaged.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.folder = builder.folder(dataset)
        try:
            self._builder: Any = builder.open_builder(dataset)
            info = self._builder.info
            self.shards = {name: list(split.shard_lengths) for name, split in info.splits.items()}
        except UserError:
            raise
        except DAMAGE as error:
            raise DamagedRecords(f"{self.folder} is damaged: {error}") from error
        if not self.shards:
            raise DamagedRecords(f"{self.folder} is damaged: it names no splits")
        self.fields = features.fields(info)

    def records(self, split: str) -> Records:
        """Opens a split, given by a tfds split string, for random access.

        Raises:
          UserError: as `splits.resolve` does.
        """
        raw = None
        if splits.resolve(split, self.shards):
            raw = self._builder.as_data_source(
                split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
            )
        return Records(raw, self.fields)


def _decode(example: bytes, fields: Fields) -> tuple[np.ndarray, int]:
    """Returns the image and the label in a serialized tf.train.Example."""
    feature = _PROTO.Example.FromString(example).features.feature
    image = png.decode(feature[fields.image].bytes_list.value[0], fields.shape)
    return image, feature[fields.label].int64_list.value[0]
