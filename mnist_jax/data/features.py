"""Finds the image and label features of a tfds data set, and encodes them without TensorFlow.

tfds itself encodes images with TensorFlow. The encoders that `encode_without_tensorflow` installs
instead accept the same values. Importing this module imports tfds.
"""

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.features import ClassLabel, FeaturesDict, Image

from mnist_jax.data import png
from mnist_jax.errors import UserError


@dataclass(frozen=True)
class Fields:
    """The names of the image and label features, the image shape and the class names.

    `transposed` is True if rows and columns of the stored images, which are square, are swapped.
    """

    image: str
    label: str
    shape: tuple[int, int, int]  # height, width, channels
    class_names: tuple[str, ...]
    transposed: bool = False


class BadExample(UserError):
    """Raised if an example does not match the declaration of its features."""

    def __str__(self) -> str:  # otherwise tfds adds text of its own before the message
        return str(self.args[0])


def fields(info: tfds.core.DatasetInfo) -> Fields:
    """Returns the image and label features of a data set.

    They are the two that tfds' `supervised_keys` names, or else those called `image` and `label`.

    Raises:
      UserError: they are not a uint8 image of fixed shape and a class label.
    """
    items = info.features.items() if isinstance(info.features, FeaturesDict) else ()
    features: dict[str, Any] = dict(items)
    keys: Any = info.supervised_keys or ("image", "label")
    if len(keys) == 2 and all(isinstance(key, str) and key in features for key in keys):
        image, label = (features[key] for key in keys)
        if _is_usable(image) and isinstance(label, ClassLabel) and label.num_classes:
            return Fields(keys[0], keys[1], tuple(image.shape), tuple(label.names))
    raise UserError(
        f"{info.name} cannot be used. Expected: an Image of fixed shape (height, width, channels) "
        "and dtype uint8, and a ClassLabel with a number of classes; supervised_keys must name "
        "them, or they must be called 'image' and 'label'. Found: supervised_keys "
        f"{info.supervised_keys}, features {' '.join(str(info.features).split())}"
    )


def encode_without_tensorflow(info: tfds.core.DatasetInfo) -> None:
    """Makes tfds encode the images and labels of a data set with NumPy and Pillow.

    Preparing the data set then raises BadExample for an example that does not match its features.

    Raises:
      UserError: as `fields` does.
    """
    found = fields(info)
    features: Any = info.features
    image, label = features[found.image], features[found.label]
    image.encode_example = functools.partial(_encode_image, image.encode_example, found)
    label.encode_example = functools.partial(_encode_label, label.encode_example, found)


def _is_usable(image: Any) -> bool:
    if not isinstance(image, Image) or image.np_dtype != np.uint8:
        return False
    shape: Any = image.shape
    return len(shape) == 3 and None not in shape and shape[-1] in png.MODES


def _encode_image(encode: Callable[[Any], bytes], found: Fields, value: Any) -> bytes:
    """Returns the content of an image file.

    Args:
      encode: tfds' own encoder, which needs TensorFlow only for arrays.
      found: the features of the data set.
      value: an array, a path, the content of an image file, or a Pillow image.

    Raises:
      BadExample: the value is not an image of the declared shape.
    """
    if isinstance(value, np.ndarray):
        if value.shape != found.shape or value.dtype != np.uint8:
            raise BadExample(
                f"the feature {found.image!r} must be a uint8 array of shape {found.shape}; "
                f"an example has a {value.dtype} array of shape {value.shape}"
            )
        return png.encode(value)
    try:
        content = encode(value)
        png.decode(content, found.shape)
    except (OSError, ValueError, AttributeError, SyntaxError, zlib.error) as error:
        shown = f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)
        raise BadExample(
            f"the feature {found.image!r} must be an image of shape {found.shape}, given as an "
            f"array, a path or the content of a file; an example has {shown}: {error}"
        ) from error
    return content


def _encode_label(encode: Callable[[Any], int], found: Fields, value: Any) -> int:
    try:
        return encode(value)
    except (LookupError, ValueError, TypeError) as error:
        raise BadExample(
            f"the feature {found.label!r} must be a class, given by number or by name; an example "
            f"has {value!r}. There are {len(found.class_names)} classes: "
            f"{', '.join(found.class_names)}"
        ) from error
