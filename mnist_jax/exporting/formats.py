"""The formats of files for other programs; each file is compared with its network first.

Imports nothing large: `--help` lists the formats.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_jax.errors import UserError
from mnist_jax.files import make_folder

if TYPE_CHECKING:  # importing JAX takes a second
    import numpy as np

    from mnist_jax.exporting.trained import Trained

IMAGES = 1000  # of the test split, with which a file is checked


@dataclass(frozen=True)
class Format:
    """A format of files: the name of the file, the module that writes it, and what it is.

    The module has a function `prepared(trained) -> Prepared`.
    """

    file: str
    module: str
    what: str  # for --help


FORMATS = {
    "stablehlo": Format(
        "model.stablehlo",
        "stablehlo",
        "a program that runs with JAX on a CPU, GPU or TPU (extra '.[export]')",
    ),
    "onnx": Format(
        "model.onnx",
        "onnx_file",
        "a graph for ONNX Runtime, in many languages, and others (extra '.[export]')",
    ),
    "safetensors": Format(
        "model.safetensors",
        "safetensors",
        "the weights by name, with the configuration (extra '.[export]')",
    ),
    "html": Format("page.html", "page", "a page on which one draws, and in which the network runs"),
}


@dataclass(frozen=True)
class Prepared:
    """A network as a file will hold it."""

    run: Callable[[np.ndarray], np.ndarray]  # images [n, H, W, C] in [0, 1] to probabilities [n, K]
    write: Callable[[Path], None]
    remark: str = ""  # on how the file can be used
    images: int = IMAGES  # largest number to check it with


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it compares with the network."""

    path: Path
    images: int  # number of test images
    difference: float  # largest, between probabilities
    others: int  # number of predictions that differ
    remark: str  # may be empty


def write(trained: Trained, kind: str, folder: Path) -> Exported:
    """Writes a network to a file of one of `FORMATS`, after checking it on test images.

    Args:
      trained: the network.
      kind: one of `FORMATS`.
      folder: created if it does not exist.

    Raises:
      UserError: a package is missing, the network cannot be exported, the file would give other
        probabilities, or it cannot be written.
    """
    from mnist_jax.exporting.operations import MissingOperationError

    its = FORMATS[kind]
    module = importlib.import_module(f"mnist_jax.exporting.{its.module}")
    try:
        prepared: Prepared = module.prepared(trained)
    except MissingOperationError as error:
        raise UserError(f"{error}; --format=stablehlo takes any operation of JAX") from error
    images = trained.images(prepared.images)
    difference, others = trained.check(prepared.run, images, f"--format={kind}")
    make_folder(folder)
    prepared.write(folder / its.file)
    return Exported(folder / its.file, len(images), difference, others, prepared.remark)


def listed() -> str:
    """Returns the formats with what they are, one per line."""
    return "\n".join(f"  {name:<12} {its.what}" for name, its in FORMATS.items())
