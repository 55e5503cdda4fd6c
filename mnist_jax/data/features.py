"""Which features of a tfds data set are the image and the label, and how they are written.

tfds itself encodes images by TensorFlow. What `encode_without_tensorflow` sets in its place takes
the same values. Importing this module imports tfds.
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
    """The names of the two features of an example, and what is known of them."""

    image: str
    label: str
    shape: tuple[int, int, int]  # height, width, channels
    class_names: tuple[str, ...]


class BadExample(UserError):
    """An example is not what its features say."""

    def __str__(self) -> str:  # tfds puts its own words before an error without one
        return str(self.args[0])


def fields(info: tfds.core.DatasetInfo) -> Fields:
    """The image and the label by tfds' `supervised_keys`, or else by the names `image`, `label`.

    Raises UserError where they are not an image of fixed shape and a class.
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
        "in uint8 and a ClassLabel with its number of classes, which supervised_keys names, or "
        f"which are called 'image' and 'label'. Found: supervised_keys {info.supervised_keys}, "
        f"features {' '.join(str(info.features).split())}"
    )


def encode_without_tensorflow(info: tfds.core.DatasetInfo) -> None:
    """Has tfds encode the image and the label of examples by NumPy and Pillow from here on.

    Raises UserError as `fields` does; preparation raises BadExample for what does not fit.
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
    """The content of an image file, from an array, a path, the content itself, or Pillow's image.

    `encode` is tfds' own, which needs TensorFlow for arrays alone.
    """
    if isinstance(value, np.ndarray):
        if value.shape != found.shape or value.dtype != np.uint8:
            raise BadExample(
                f"The feature {found.image!r} is to be {found.shape} uint8; "
                f"an example has an array {value.shape} {value.dtype}."
            )
        return png.encode(value)
    try:
        content = encode(value)
        png.decode(content, found.shape)
    except (OSError, ValueError, AttributeError, SyntaxError, zlib.error) as err:
        shown = f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)
        raise BadExample(
            f"The feature {found.image!r} is to be an image {found.shape}, as an array, a path or "
            f"the content of a file; an example has {shown}: {err}"
        ) from err
    return content


def _encode_label(encode: Callable[[Any], int], found: Fields, value: Any) -> int:
    try:
        return encode(value)
    except (LookupError, ValueError, TypeError) as err:
        raise BadExample(
            f"The feature {found.label!r} is to be a class, by number or by name; an example has "
            f"{value!r}. There are {len(found.class_names)} classes: "
            f"{', '.join(found.class_names)}."
        ) from err
