"""Runs a network from the list of operations that a page holds, as the page does, but in NumPy."""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mnist_jax.exporting.operations import TO_EVEN

RENAMED = {  # operations that NumPy has under another name; it has the others, too
    "and": "logical_and", "eq": "equal", "ge": "greater_equal", "gt": "greater",
    "is_finite": "isfinite", "le": "less_equal", "lt": "less", "max": "maximum", "min": "minimum",
    "mul": "multiply", "ne": "not_equal", "neg": "negative", "not": "logical_not",
    "or": "logical_or", "pow": "power", "rem": "fmod", "sub": "subtract", "xor": "logical_xor",
}  # fmt: skip
REDUCED = {"max": "max", "min": "min", "sum": "sum", "prod": "prod", "and": "min", "or": "max"}
OUTSIDE = {"max": -np.inf, "min": np.inf, "sum": 0.0}  # what a window finds beside the image


def load(network: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function from images `[n, H, W, C]` to probabilities `[n, K]`.

    Args:
      network: as `Operations.to_json` returns it, for one image.
    """
    left, constants = np.frombuffer(base64.b64decode(network["values"]), "<f4"), []
    for shape in network["constants"]:
        constants.append(left[: np.prod(shape, dtype=int)].reshape(shape))
        left = left[constants[-1].size :]

    def one(image: np.ndarray) -> np.ndarray:
        values = [image.reshape(network["input"]), *constants]
        for step in network["steps"]:
            found = _computed(step, *[values[number] for number in step["inputs"]])
            values.append(np.asarray(found, np.float32).reshape(step["shape"]))
        return values[network["output"]][0]

    def run(images: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):  # what is not a number is no error in a page
            return np.stack([one(image) for image in images])

    return run


def _computed(step: Any, *inputs: np.ndarray) -> Any:
    name: str = step["op"]
    if name in OTHERS:
        return OTHERS[name](step, *inputs)
    if name.startswith("reduce_"):
        kind = name.removeprefix("reduce_").removeprefix("window_")
        reduce, axes = getattr(np, REDUCED[kind]), step.get("axes", range(-inputs[0].ndim, 0))
        found = inputs[0] if "axes" in step else _pools(step, inputs[0], OUTSIDE[kind])
        return reduce(found, axis=tuple(axes))
    return getattr(np, RENAMED.get(name, name))(*inputs)


def _kept(step: Any, x: np.ndarray) -> np.ndarray:
    """Returns numbers as the type of the result has them: whole, 0 or 1, or as they are."""
    return x != 0 if step["kind"] == "b" else np.trunc(x) if step["kind"] in "iu" else x


def _rounded(step: Any, x: np.ndarray) -> np.ndarray:
    if step["rounding_method"] == TO_EVEN:
        return np.rint(x)
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) < 0.5, whole, whole + np.sign(x))


def _cumulative(step: Any, x: np.ndarray) -> np.ndarray:
    axis = step["axis"]
    if step["reverse"]:
        return np.flip(np.flip(x, axis).cumsum(axis), axis)
    return x.cumsum(axis)


def _broadcast(step: Any, x: np.ndarray) -> np.ndarray:
    shape = [1] * len(step["shape"])
    for axis, length in zip(step["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = length
    return np.broadcast_to(x.reshape(shape), step["shape"])


def _slice(step: Any, x: np.ndarray) -> np.ndarray:
    start, by = np.array(step["start"], int), np.array(step["strides"], int)
    return x[tuple(map(slice, start, start + by * step["shape"], by))]


def _pad(x: np.ndarray, config: Any, filler: Any) -> np.ndarray:
    """Returns an array with numbers around and between its elements, or without its edges."""
    shape, to, of = [], [], []
    for length, (low, high, between) in zip(x.shape, config, strict=True):
        places = low + np.arange(length) * (between + 1)
        shape.append(low + high + (length - 1) * (between + 1) + 1)
        of.append(np.flatnonzero((places >= 0) & (places < shape[-1])))
        to.append(places[of[-1]])
    found = np.full(shape, filler, x.dtype)
    found[np.ix_(*to)] = x[np.ix_(*of)]
    return found


def _windows(x: np.ndarray, sizes: Any, strides: Any, apart: Any) -> np.ndarray:
    """Returns `[*places, *sizes]`: at each place a window, whose elements lie apart."""
    extent = [(n - 1) * by + 1 for n, by in zip(sizes, apart, strict=True)]
    every = tuple(slice(None, None, by) for by in (*strides, *apart))
    return sliding_window_view(x, extent)[every]


def _pools(step: Any, x: np.ndarray, filler: float) -> np.ndarray:
    padded = _pad(x, [(*pad, 0) for pad in step["padding"]], filler)
    return _windows(padded, step["window_dimensions"], step["window_strides"], [1] * x.ndim)


def _dot(step: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    left, right = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    for its, other in zip(*map(list.__add__, step["batch"], step["contract"]), strict=True):
        right[other] = left[its]
    shared, gone = ([left[axis] for axis in step[kind][0]] for kind in ("batch", "contract"))
    free = [axis for axis in left + right if axis not in shared + gone]
    return np.einsum(a, left, b, right, shared + free, optimize=True)


def _convolve(step: Any, image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    x, w = image.transpose(step["image"]), kernel.transpose(step["kernel"])
    pads = [(*pad, by - 1) for pad, by in zip(step["padding"], step["lhs_dilation"], strict=True)]
    padded = _pad(x, [(0, 0, 0), (0, 0, 0), *pads], 0.0)
    strides, apart = step["window_strides"], step["rhs_dilation"]
    x = _windows(padded, [1, 1, *w.shape[2:]], [1, 1, *strides], [1, 1, *apart])
    n, c, *places = x.shape[: w.ndim]
    x = x.reshape(n, step["groups"], -1, math.prod(places), w[0, 0].size)
    w = w.reshape(step["groups"], -1, c // step["groups"], w[0, 0].size)
    found = np.einsum("ngcpk,gock->ngop", x, w, optimize=True)
    return found.reshape(n, -1, *places).transpose(np.argsort(step["result"]))


OTHERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("expand_dims", "reshape", "squeeze"), lambda step, x: x),
    "argmax": lambda step, x: x.argmax(*step["axes"]),
    "argmin": lambda step, x: x.argmin(*step["axes"]),
    "broadcast_in_dim": _broadcast,
    "clamp": lambda step, low, x, high: np.minimum(np.maximum(x, low), high),
    "concatenate": lambda step, *inputs: np.concatenate(inputs, step["dimension"]),
    "conv_general_dilated": _convolve,
    "convert_element_type": _kept,
    "cumsum": _cumulative,
    "div": lambda step, a, b: _kept(step, a / b),
    "dot_general": _dot,
    "erf": lambda step, x: np.vectorize(math.erf)(x),
    "erfc": lambda step, x: np.vectorize(math.erfc)(x),
    "integer_pow": lambda step, x: x ** float(step["y"]),
    "logistic": lambda step, x: 1 / (1 + np.exp(-x)),
    "pad": lambda step, x, filler: _pad(x, step["padding_config"], filler),
    "rev": lambda step, x: np.flip(x, step["dimensions"]),
    "round": _rounded,
    "rsqrt": lambda step, x: 1 / np.sqrt(x),
    "select_n": lambda step, which, a, b: np.where(which, b, a),
    "slice": _slice,
    "transpose": lambda step, x: x.transpose(step["permutation"]),
}
