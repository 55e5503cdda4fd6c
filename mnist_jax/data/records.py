"""Random access to the examples that tfds prepared. Importing this module imports tfds."""

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

_PROTO: Any = tf_example_pb2  # its names are made while it is imported

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
    """What tfds prepared cannot be read back, or is not what it should be."""


class DataSource(Protocol):
    """tfds' random access to serialized examples."""

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
        """Images [k, height, width, channels] uint8 and labels [k] int32 of the rows `indices`.

        Raises IndexError for a row that is not there, DamagedRecords for one that cannot be read.
        """
        keys = np.asarray(indices, np.int64).tolist()
        images = np.empty((len(keys), *self._fields.shape), np.uint8)
        labels = np.empty(len(keys), np.int32)
        if not keys:
            return images, labels
        if self._source is None or min(keys) < 0 or max(keys) >= len(self._source):
            raise IndexError(f"rows {min(keys)} to {max(keys)} of {len(self)}")
        try:
            for row, example in enumerate(self._source.__getitems__(keys)):
                images[row], labels[row] = _decode(example, self._fields)
        except DAMAGE as err:
            raise DamagedRecords(f"Examples that tfds prepared are damaged: {err}") from err
        return images, labels


class Prepared:
    """A data set as tfds prepared it. Raises DamagedRecords where its description is damaged."""

    def __init__(self, dataset: Dataset) -> None:
        self.folder = builder.folder(dataset)
        try:
            self._builder: Any = builder.open_builder(dataset)
            info = self._builder.info
            self.shards = {name: list(split.shard_lengths) for name, split in info.splits.items()}
        except UserError:
            raise
        except DAMAGE as err:
            raise DamagedRecords(f"{self.folder} is damaged: {err}") from err
        if not self.shards:
            raise DamagedRecords(f"{self.folder} is damaged: it names no splits.")
        self.fields = features.fields(info)

    def records(self, split: str) -> Records:
        """Random access to a tfds split; raises UserError as `splits.resolve`."""
        raw = None
        if splits.resolve(split, self.shards):
            raw = self._builder.as_data_source(
                split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
            )
        return Records(raw, self.fields)


def _decode(example: bytes, fields: Fields) -> tuple[np.ndarray, int]:
    """Image and label of a serialized tf.train.Example."""
    feature = _PROTO.Example.FromString(example).features.feature
    image = png.decode(feature[fields.image].bytes_list.value[0], fields.shape)
    return image, feature[fields.label].int64_list.value[0]
