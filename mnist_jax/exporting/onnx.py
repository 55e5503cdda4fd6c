"""Exports a network as ONNX, for onnxruntime and the many programs that read it.

See https://onnx.ai and https://github.com/enpasos/jax2onnx.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mnist_jax import imports
from mnist_jax.errors import UserError
from mnist_jax.exporting.trained import IMAGES, Trained

SUFFIX = ".onnx"


def content(trained: Trained) -> tuple[bytes, str]:
    """Returns the content of the file, and a remark; it takes any number of images at a time.

    As in `stablehlo`, the number is fixed if the network's own code needs to know it.

    Raises:
      UserError: jax2onnx is not installed, or lacks an operation.
    """
    jax2onnx = imports.extra("jax2onnx", "export")
    remark = ""
    try:
        model = _converted(jax2onnx, trained, "batch")
    except Exception:  # whatever the user's own code makes of a number that is not known
        remark = f"takes exactly {IMAGES} images at a time: its code needs to know their number"
        try:
            model = _converted(jax2onnx, trained, IMAGES)
        except Exception as error:
            text = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"jax2onnx cannot convert this network: {text[0]}") from error
    return model.SerializeToString(), remark


def _converted(jax2onnx: Any, trained: Trained, batch: str | int) -> Any:
    return jax2onnx.to_onnx(trained.classify, [(batch, *trained.image_shape)], model_name="network")


def reader(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function from images to probabilities that a file holds, run by onnxruntime."""
    session = imports.extra("onnxruntime", "export").InferenceSession(content)
    (given,) = session.get_inputs()
    return lambda images: session.run(None, {given.name: images})[0]
