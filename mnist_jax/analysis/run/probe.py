"""Looks into a trained network: what its layers compute for some images, and what moves its output.

Two programs are compiled, whatever the number of layers: one gives all that is shown of a few
images, the other what enters the last layer for every image of a split.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend.core import get_opaque_trace_state

from mnist_jax.analysis.network.calls import Part, intercepted
from mnist_jax.analysis.pca import principal
from mnist_jax.analysis.run.evaluation import Predictions
from mnist_jax.analysis.run.insight import CLASSES, WORST, Insight, Layer, Map, examples_of
from mnist_jax.compilation import optimized
from mnist_jax.data.rescale import rescale
from mnist_jax.models import Model, Tree, backend

BATCH = 125  # images at a time: on a CPU, their values then stay in its caches
MOST = 1 << 27  # bytes of the values for a map; of wider layers, it shows fewer images


def probe(model: Model, weights: Tree, predictions: Predictions) -> Insight:
    """Looks into a network at inference.

    Layers are seen where the network calls them outside of transformations of its own, such as a
    scan. The gradient of a predicted class' output by the pixels is the saliency of Simonyan,
    Vedaldi and Zisserman, Deep Inside Convolutional Networks, 2013, section 3.

    Args:
      model: the network.
      weights: its `params` and `variables`.
      predictions: its predictions for the images of a split.
    """
    weights = jax.device_put(weights)
    examples, worst = examples_of(predictions), predictions.worst[:WORST]
    classes = min(CLASSES, len(predictions.class_names))
    # However many there are, as many are computed, repeated ones or number 0: one program for all.
    shown = np.r_[np.resize(examples, classes), np.resize(worst, WORST)]
    look = jax.jit(_looking(model), compiler_options=optimized(0))
    with backend.plain():  # it takes less time to compile than to compute faster would save
        found = look(weights, predictions.images[shown], predictions.predicted[shown])
        gradients, seen = jax.device_get(found)  # a slice on a device is a program of its own
        map_ = _map(model, weights, predictions, seen)
    return Insight(
        first=_first(seen, model.image_shape),
        examples=examples,
        layers=_layers(seen, len(examples)),
        worst=worst,
        gradients=gradients[classes : classes + len(worst)],
        map=map_,
    )


# What is seen of a call


@jax.tree_util.register_dataclass
@dataclass
class _Seen:
    """Values that were seen in a call of a network with images `[B, H, W, C]`."""

    inputs: list[jax.Array] = field(default_factory=list)  # [B, ...] of each outermost layer
    outputs: list[jax.Array] = field(default_factory=list)  # [B, ...]
    names: tuple[str, ...] = field(default=(), metadata={"static": True})
    first: jax.Array | None = None  # the weights of the first layer that has some
    first_name: str = field(default="", metadata={"static": True})
    last: jax.Array | None = None  # [B, width]: what enters the last layer that has some
    last_name: str = field(default="", metadata={"static": True})

    def add(self, part: Part, given: jax.Array, outputs: jax.Array) -> None:
        """Adds a call of an outermost layer."""
        self.inputs.append(given)
        self.outputs.append(outputs)
        again = self.names.count(part.name)
        self.names += (f"{part.name} ({again + 1})" if again else part.name,)


def _call(model: Model, weights: Tree, images: jax.Array) -> tuple[jax.Array, _Seen]:
    """Returns the outputs `[B, K]` for images `[B, H, W, C]` in [0, 1], and what was seen."""
    seen = _Seen()
    here = get_opaque_trace_state("nnx")

    def around(part: Part, call: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        if get_opaque_trace_state("nnx") != here:  # values within a scan cannot leave it
            return call(*args, **kwargs)
        given = _array((args, kwargs), len(images))
        own = _weights(part.module)
        if own is not None and given is not None:
            seen.last, seen.last_name = given.reshape(len(images), -1), part.name
            if seen.first is None:
                seen.first, seen.first_name = own, part.name
        outputs = call(*args, **kwargs)
        result = _array(outputs, len(images))
        if part.depth == 0 and given is not None and result is not None:
            seen.add(part, given, result)
        return outputs

    module: Any = model.merge(weights["params"], weights["variables"])
    with intercepted(module, around):
        outputs = module(images.astype(model.dtype), train=False, keys=None)
    return outputs.astype(jnp.float32), seen


def _array(values: Any, count: int) -> jax.Array | None:
    """Returns the first array among values that has a row for each image, as float32."""
    for leaf in jax.tree.leaves(values):
        if isinstance(leaf, jax.Array) and leaf.ndim > 1 and len(leaf) == count:
            return leaf.astype(jnp.float32)
    return None


def _weights(module: nnx.Module) -> jax.Array | None:
    """Returns the first parameter of a layer itself that has two axes or more, as float32."""
    for value in vars(module).values():
        if isinstance(value, nnx.Param) and jnp.ndim(value[...]) > 1:
            return value[...].astype(jnp.float32)
    return None


# The two programs


def _looking(model: Model) -> Callable[..., tuple[jax.Array, _Seen]]:
    """Returns the function of images uint8 and classes `[B]` that gives gradients and layers."""

    def look(weights: Tree, images: jax.Array, classes: jax.Array) -> tuple[jax.Array, _Seen]:
        def score(images: jax.Array) -> tuple[jax.Array, _Seen]:
            outputs, seen = _call(model, weights, images)
            # Images do not influence each other, so the gradient of a sum is that of each.
            return jnp.take_along_axis(outputs, classes[:, None], axis=1).sum(), seen

        return jax.grad(score, has_aux=True)(rescale(images))

    return look


def _entering(model: Model) -> Callable[..., Any]:
    """Returns the function of images uint8 that gives what enters the last layer `[B, width]`."""
    return lambda weights, images: _call(model, weights, rescale(images))[1].last


# From arrays to an insight


def _first(seen: _Seen, image_shape: tuple[int, int, int]) -> Layer | None:
    """Returns the weights of the first layer as pictures `[n, h, w, c]`; None if they are none."""
    if seen.first is None:
        return None
    found = np.asarray(seen.first)
    if found.ndim == 2 and len(found) == math.prod(image_shape):
        found = found.reshape(*image_shape, -1)
    if found.ndim != 4 or found.shape[2] not in (1, image_shape[2]):
        return None
    return Layer(seen.first_name, found.transpose(3, 0, 1, 2))


def _layers(seen: _Seen, count: int) -> tuple[Layer, ...]:
    """Returns the layers that compute something, with their outputs for `count` images.

    Others, such as dropout at inference, only pass on or reshape what they receive.
    """
    calls = zip(seen.names, seen.inputs, seen.outputs, strict=True)
    arrays = [(name, np.asarray(x[:count]), np.asarray(y[:count])) for name, x, y in calls]
    return tuple(
        Layer(name, y) for name, x, y in arrays if not np.array_equal(x.ravel(), y.ravel())
    )


def _map(model: Model, weights: Tree, predictions: Predictions, seen: _Seen) -> Map | None:
    """Returns the map of a split."""
    if seen.last is None:
        return None
    width = seen.last.shape[1]
    step = math.ceil(len(predictions.labels) * width * 4 / MOST)
    examples = np.arange(0, len(predictions.labels), step)
    entering = jax.jit(_entering(model))
    values = np.empty((len(examples), width), np.float32)
    for start in range(0, len(examples), BATCH):
        rows = values[start : start + BATCH]
        # The last batch is as large as the others: it begins anew.
        images = predictions.images[np.resize(examples[start : start + BATCH], BATCH)]
        rows[:] = np.asarray(entering(weights, images))[: len(rows)]
    points, shares = principal(values)
    return Map(seen.last_name, width, examples, points, shares)
