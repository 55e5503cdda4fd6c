"""Random access to the examples that tfds prepared. Importing this module imports tfds."""

import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format, message
from tensorflow_datasets.core.features import ClassLabel, FeaturesDict, Image
from tensorflow_datasets.proto import tf_example_pb2

from mnist_jax.data import builder, png, splits
from mnist_jax.data.catalog import Dataset
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
    """The examples of a split, in tfds' order, decoded on request.

    `shape` is [height, width, channels] of an image.
    """

    def __init__(
        self, source: DataSource | None, shape: tuple[int, int, int], class_names: tuple[str, ...]
    ) -> None:
        self._source = source
        self.shape = shape
        self.class_names = class_names

    def __len__(self) -> int:
        return 0 if self._source is None else len(self._source)

    def fetch(self, indices: np.ndarray | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Images [k, height, width, channels] uint8 and labels [k] int32 of the rows `indices`.

        Raises IndexError for a row that is not there, DamagedRecords for one that cannot be read.
        """
        keys = np.asarray(indices, np.int64).tolist()
        images = np.empty((len(keys), *self.shape), np.uint8)
        labels = np.empty(len(keys), np.int32)
        if not keys:
            return images, labels
        if self._source is None or min(keys) < 0 or max(keys) >= len(self._source):
            raise IndexError(f"rows {min(keys)} to {max(keys)} of {len(self)}")
        try:
            for row, example in enumerate(self._source.__getitems__(keys)):
                images[row], labels[row] = _decode(example, self.shape)
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
        except DAMAGE as err:
            raise DamagedRecords(f"{self.folder} is damaged: {err}") from err
        if not self.shards:
            raise DamagedRecords(f"{self.folder} is damaged: it names no splits.")
        self.shape, self.class_names = _described(info)

    def records(self, split: str) -> Records:
        """Random access to a tfds split; raises UserError as `splits.resolve`."""
        raw = None
        if splits.resolve(split, self.shards):
            raw = self._builder.as_data_source(
                split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
            )
        return Records(raw, self.shape, self.class_names)


def _described(info: tfds.core.DatasetInfo) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """The shape of an image and the names of the classes."""
    features = info.features.items() if isinstance(info.features, FeaturesDict) else ()
    by_name: dict[str, Any] = dict(features)
    image, label = by_name.get("image"), by_name.get("label")
    shape: Any = image.shape if isinstance(image, Image) else (None,)
    if None in shape or not isinstance(label, ClassLabel):
        raise UserError(
            f"{info.name} cannot be used: its features must be an 'image' of fixed shape and a "
            f"'label' that is a class; they are {info.features}."
        )
    return tuple(shape), tuple(label.names)


def _decode(example: bytes, shape: tuple[int, int, int]) -> tuple[np.ndarray, int]:
    """Image and label of a serialized tf.train.Example."""
    feature = _PROTO.Example.FromString(example).features.feature
    image = png.decode(feature["image"].bytes_list.value[0], shape)
    return image, feature["label"].int64_list.value[0]
