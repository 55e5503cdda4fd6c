"""Exports a network as StableHLO, a program that JAX runs anywhere without this project.

See https://docs.jax.dev/en/latest/export/export.html.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax import export

from mnist_jax import imports
from mnist_jax.exporting.formats import Prepared
from mnist_jax.exporting.plain import Classify, for_any_number
from mnist_jax.exporting.trained import Trained
from mnist_jax.files import write_bytes

PLATFORMS = ("cpu", "cuda", "tpu")


def prepared(trained: Trained) -> Prepared:
    """Returns a network as a program that takes any number of images at a time.

    Raises:
      UserError: the package flatbuffers is missing, or the network cannot be exported.
    """
    imports.extra("flatbuffers", "export")
    found = for_any_number(trained.classify, trained.image_shape, _exported, trained.title)
    content = bytes(found.serialize())
    return Prepared(reader(content), lambda path: write_bytes(path, content))


def _exported(function: Classify, images: jax.ShapeDtypeStruct) -> export.Exported:
    return export.export(jax.jit(function), platforms=PLATFORMS)(images)


def reader(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function from images to probabilities that a file holds."""
    program = export.deserialize(bytearray(content))
    return lambda images: np.asarray(program.call(images))
