"""Exports the weights of a network as safetensors, with its configuration beside them.

See https://huggingface.co/docs/safetensors.
"""

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax import data, imports, models
from mnist_jax.config import parse
from mnist_jax.exporting.formats import Prepared
from mnist_jax.exporting.trained import Trained
from mnist_jax.files import write_bytes
from mnist_jax.models.outputs import probabilities
from mnist_jax.training.checkpoint import path_name


def prepared(trained: Trained) -> Prepared:
    """Returns the weights of a network, with its configuration, as a file will hold them.

    The names of the arrays are paths such as `params/layers/output/kernel`; the metadata of the
    file hold the configuration and the names of the classes, as JSON.

    Raises:
      UserError: the package safetensors is missing.
    """
    safetensors = imports.extra("safetensors.numpy", "export")
    leaves, _ = jax.tree_util.tree_flatten_with_path(trained.restored.weights)
    arrays = {path_name(path): np.asarray(leaf) for path, leaf in leaves}
    content = _in_order(safetensors.save(arrays, metadata=trained.metadata))
    return Prepared(reader(content), lambda path: write_bytes(path, content))


def reader(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function from images to probabilities, from a network built anew."""
    safetensors = imports.extra("safetensors.numpy", "export")
    header, _ = _opened(content)
    config = parse(json.loads(header["__metadata__"]["config"]))
    model = models.build(config.model, data.spec(config.data.name), config.dtype)
    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    arrays = safetensors.load(content)
    weights = jax.tree_util.tree_map_with_path(
        lambda path, _: jnp.asarray(arrays[path_name(path)]),
        {"params": params, "variables": variables},
    )

    def run(images: np.ndarray) -> np.ndarray:
        outputs, _ = model.apply(
            weights["params"], weights["variables"], jnp.asarray(images), train=False
        )
        return np.asarray(probabilities(outputs, output_activation=model.output_activation))

    return run


def _opened(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Returns the header of a file, and what follows it."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def _in_order(content: bytes) -> bytes:
    """Returns a file with its metadata sorted, so that the same network gives the same bytes.

    The package writes them in another order each time.
    """
    header, arrays = _opened(content)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # the arrays are aligned
    return len(text).to_bytes(8, "little") + text + arrays
