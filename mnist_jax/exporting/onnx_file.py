"""Exports a network as an ONNX graph, which ONNX Runtime and other programs run.

See https://onnx.ai.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mnist_jax import imports
from mnist_jax.exporting import onnx_graph
from mnist_jax.exporting.formats import Prepared
from mnist_jax.exporting.operations import operations
from mnist_jax.exporting.plain import Classify, for_any_number
from mnist_jax.exporting.trained import Trained
from mnist_jax.files import write_bytes


def prepared(trained: Trained) -> Prepared:
    """Returns a network as a graph that takes any number of images at a time.

    Its input `images` is float32 `[batch, H, W, C]` in [0, 1], its output `probabilities` is
    `[batch, K]`.

    Raises:
      UserError: the package onnx or onnxruntime is missing, or the network cannot be exported.
    """

    def traced(function: Classify, images: jax.ShapeDtypeStruct) -> Any:
        found = operations(function, images.shape, onnx_graph.READER)
        return onnx_graph.model(found, trained.metadata)

    model = for_any_number(trained.classify, trained.image_shape, traced, trained.title)
    content = model.SerializeToString()
    return Prepared(reader(content), lambda path: write_bytes(path, content), trained.widened)


def reader(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function from images to probabilities in a file, run by ONNX Runtime."""
    runtime = imports.extra("onnxruntime", "export")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: session.run([onnx_graph.PROBABILITIES], {onnx_graph.IMAGES: images})[0]
