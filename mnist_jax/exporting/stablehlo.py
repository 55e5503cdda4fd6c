"""Exports a network as StableHLO, a program that JAX runs anywhere without this project.

See https://docs.jax.dev/en/latest/export/export.html.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import export

from mnist_jax import imports
from mnist_jax.errors import UserError
from mnist_jax.exporting.trained import IMAGES, Trained
from mnist_jax.failures import describe

SUFFIX = ".stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")


def content(trained: Trained) -> tuple[bytes, str]:
    """Returns the content of the file, and a remark; it takes any number of images at a time.

    If the network's own code needs to know that number, the program takes exactly `IMAGES` images,
    and the remark says so.

    Raises:
      UserError: the package flatbuffers is missing, or the network cannot be exported.
    """
    imports.extra("flatbuffers", "export")
    function = jax.jit(trained.classify)
    (batch,) = export.symbolic_shape("batch")
    try:
        found, remark = _exported(function, (batch, *trained.image_shape)), ""
    except Exception:  # whatever the user's own code makes of a number that is not known
        try:
            found = _exported(function, (IMAGES, *trained.image_shape))
        except Exception as error:
            raise UserError(f"{trained.title} cannot be exported: {describe(error)}") from error
        remark = f"takes exactly {IMAGES} images at a time: its code needs to know their number"
    return bytes(found.serialize()), remark


def _exported(function: Any, shape: tuple) -> export.Exported:
    images = jax.ShapeDtypeStruct(shape, np.float32)
    return export.export(function, platforms=PLATFORMS)(images)


def reader(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function from images to probabilities that a file holds."""
    program = export.deserialize(bytearray(content))
    return lambda images: np.asarray(program.call(images))
