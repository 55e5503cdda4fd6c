"""What is exported: networks of each kind that the package has, and functions of each operation."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mnist_jax import data, models
from mnist_jax.config import parse
from mnist_jax.exporting.operations import Operations, operations
from mnist_jax.exporting.plain import Classify, classify
from mnist_jax.models.layers import ACTIVATIONS
from tests.datasets import MNIST

NETWORKS = {
    **{
        activation: {"name": "mlp", "hidden": (8,), "activation": activation}
        for activation in ACTIVATIONS
    },
    "batch": {"name": "mlp", "hidden": (8,), "normalisation": "batch"},
    "cnn": {"name": "cnn", "features": (4, 6), "kernel": (5, 3), "dense": (8,)},
    "mean": {"name": "cnn", "features": (3,), "pooling": "mean", "dense": ()},
    "pool first": {"name": "cnn", "features": (3,), "pool_first": True, "normalisation": "batch"},
    "stride": {"name": "cnn", "features": (3,), "stride": 2, "padding": "VALID", "dense": ()},
}


BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))  # which 0.5 more would round to 1


@functools.cache
def function(name: str) -> Classify:
    """The function from images to probabilities of one of `NETWORKS`."""
    its = models.build(models.resolve(parse({"model": NETWORKS[name]})).model, MNIST, "float32")
    params, variables = its.init(jax.random.key(0))
    return classify(its, {"params": params, "variables": variables})


def written(name: str) -> Operations:
    """The operations of the same function, for one image."""
    return operations(function(name), (1, 28, 28, 1))


def images() -> np.ndarray:
    """Twenty test images: `[20, 28, 28, 1]` in [0, 1]."""
    return data.load("mnist", "test").images[:20].astype(np.float32) / 255


@functools.cache
def expected(name: str) -> np.ndarray:
    """The probabilities that the network gives for these: `[20, 10]`."""
    return np.asarray(jax.jit(function(name))(images()))


def conv(x, shape, *, layout="NHWC", **options):
    """A convolution with made-up weights."""
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    spec = (layout, "HWIO" if len(shape) == 4 else "HIO", layout)
    given = {"window_strides": (1,) * (len(shape) - 2), "padding": "SAME"} | options
    return lax.conv_general_dilated(x, weights, dimension_numbers=spec, **given)


def pool(x, initial, reduce):
    """A pooling with strides, and with windows that reach over the edge."""
    pads = ((0, 0), (1, 0), (1, 1), (0, 0))
    return lax.reduce_window(x, initial, reduce, (1, 2, 3, 1), (1, 2, 1, 1), pads)


def whole(x):
    """Whole numbers."""
    return (9 * x).astype(jnp.int32)


def halves(x):
    """Halves, some of which are whole numbers."""
    return jnp.floor(6 * x) / 2


# Of numbers [n, 4, 6, 3], and of others in the order of their last axis.
FUNCTIONS: dict[str, Callable[..., jax.Array]] = {
    "abs": lambda x, y: jnp.abs(x),
    "add": lambda x, y: x + y,
    "and": lambda x, y: jnp.where((x > 0) & (y > 0), x, y),
    "argmax": lambda x, y: jnp.argmax(x, axis=2),
    "argmin": lambda x, y: jnp.argmin(x, axis=3).astype(jnp.float32),
    "broadcast a column": lambda x, y: x + jnp.arange(4.0).reshape(1, 4, 1, 1),
    "broadcast what is added up": lambda x, y: (
        x - jnp.broadcast_to(x.sum(axis=2, keepdims=True), x.shape)
    ),
    "ceil": lambda x, y: jnp.ceil(x),
    "clamp": lambda x, y: lax.clamp(-1.0, x, 0.5),
    "concatenate": lambda x, y: jnp.concatenate([x, y > 0, x], axis=2),
    "cumsum": lambda x, y: jnp.cumsum(x, axis=2),
    "cumsum, backwards": lambda x, y: lax.cumsum(x, axis=1, reverse=True),
    "conv": lambda x, y: conv(x, (3, 2, 3, 5), window_strides=(2, 1)),
    "conv, channels first": lambda x, y: conv(x, (2, 2, 4, 5), layout="NCHW", padding="VALID"),
    "conv, cut edges": lambda x, y: conv(x, (1, 3, 3, 2), padding=((0, -1), (2, -1))),
    "conv, dilated": lambda x, y: conv(x, (2, 3, 3, 2), rhs_dilation=(3, 2)),
    "conv, groups": lambda x, y: conv(x, (3, 3, 1, 6), feature_group_count=3),
    "conv, images third": lambda x, y: conv(
        x.transpose(1, 2, 0, 3), (3, 3, 3, 2), layout="HWNC"
    ).transpose(2, 0, 1, 3),
    "conv, one axis": lambda x, y: conv(
        lax.index_in_dim(x, 0, 3, keepdims=False), (3, 6, 2), layout="NHC"
    ),
    "conv, transposed": lambda x, y: conv(
        x, (3, 3, 3, 2), lhs_dilation=(2, 3), padding=((1, 2), (2, 0))
    ),
    "cos": lambda x, y: jnp.cos(x),
    "div": lambda x, y: x / y,
    "div, whole": lambda x, y: lax.div(whole(x), jnp.full_like(whole(y), 4)),
    "dot, columns": lambda x, y: jnp.einsum("nhwc,hwk->nkc", x, jnp.ones((4, 6, 2)) / 3),
    "dot, last axis": lambda x, y: x @ jnp.arange(12.0).reshape(3, 4),
    "dot, of each image": lambda x, y: jnp.einsum("nhwc,nhvc->nhwv", x, y),
    "eq": lambda x, y: (whole(x) == whole(y)).astype(jnp.float32),
    "erf": lambda x, y: lax.erf(x),
    "erfc": lambda x, y: lax.erfc(3 * x),
    "exp": lambda x, y: jnp.exp(x),
    "exp2": lambda x, y: jnp.exp2(x),
    "expm1": lambda x, y: jnp.expm1(x),
    "expm1 near 0": lambda x, y: jnp.expm1(1e-5 * x) * 1e5,
    "floor": lambda x, y: jnp.floor(x),
    "ge": lambda x, y: jnp.where(x >= y, x, 2 * y),
    "gelu, exact": lambda x, y: jax.nn.gelu(x, approximate=False),
    "integer_pow": lambda x, y: x**3 + y**-2,
    "is_finite": lambda x, y: jnp.where(jnp.isfinite(x / jnp.floor(jnp.abs(y))), x, y),
    "le": lambda x, y: jnp.where(x <= y, x, 2 * y),
    "log": lambda x, y: jnp.log(jnp.abs(x)),
    "log1p": lambda x, y: jnp.log1p(jnp.abs(x) - 0.5),
    "log1p near 0": lambda x, y: jnp.log1p(1e-5 * x) * 1e5,
    "logistic": lambda x, y: jax.nn.sigmoid(x),
    "lt": lambda x, y: jnp.where(x < y, x, 2 * y),
    "max": lambda x, y: jnp.maximum(x, y),
    "min": lambda x, y: jnp.minimum(x, y),
    "mul": lambda x, y: x * y,
    "ne": lambda x, y: jnp.where(whole(x) != whole(y), x, 7.0),
    "neg": lambda x, y: -x,
    "not": lambda x, y: jnp.where(~(x > 0), x, y),
    "or": lambda x, y: jnp.where((x > 0) | (y > 0), x, y),
    "pad": lambda x, y: lax.pad(x, 0.5, ((0, 0, 0), (1, -1, 2), (-2, 3, 0), (0, 1, 1))),
    "pow": lambda x, y: lax.pow(jnp.abs(x), y),
    "reduce_and": lambda x, y: jnp.all(x > -1.5, axis=2),
    "reduce_max": lambda x, y: x.max(axis=(1, 3)),
    "reduce_min": lambda x, y: x.min(axis=2),
    "reduce_or": lambda x, y: jnp.any(x > 1.5, axis=2),
    "reduce_prod": lambda x, y: x.prod(axis=3),
    "reduce_sum": lambda x, y: x.sum(axis=(1, 2)),
    "reduce_window_max": lambda x, y: pool(x, -jnp.inf, lax.max),
    "reduce_window_min": lambda x, y: pool(x, jnp.inf, lax.min),
    "reduce_window_sum": lambda x, y: pool(x, 0.0, lax.add),
    "rem": lambda x, y: lax.rem(x, y),
    "reshape": lambda x, y: x.reshape(-1, 8, 9),
    "reshape, in another order": lambda x, y: lax.reshape(
        x, (x.shape[0], 6, 12), dimensions=(0, 2, 3, 1)
    ),
    "reshape, images in parts": lambda x, y: (
        x.reshape(-1, 18) @ jnp.ones((18, 2)) + jnp.ones((1, 2))
    ).reshape(-1, 8),
    "round": lambda x, y: jnp.round(halves(x)),
    "round, away from 0": lambda x, y: lax.round(
        jnp.concatenate([halves(x), 0 * x + BELOW_HALF], axis=1), lax.RoundingMethod.AWAY_FROM_ZERO
    ),
    "rsqrt": lambda x, y: lax.rsqrt(jnp.abs(x)),
    "sign": lambda x, y: jnp.sign(whole(x)),
    "sin": lambda x, y: jnp.sin(x),
    "slice": lambda x, y: lax.slice_in_dim(lax.slice_in_dim(x, 1, 4, 2, axis=1), 1, 6, 3, axis=2),
    "split": lambda x, y: jnp.multiply(*lax.split(x, (3, 3), axis=2)),
    "sqrt": lambda x, y: jnp.sqrt(jnp.abs(x)),
    "square": lambda x, y: lax.square(x),
    "squeeze": lambda x, y: lax.squeeze(lax.slice_in_dim(x, 2, 3, axis=1), (1,)),
    "sub": lambda x, y: x - y,
    "tanh": lambda x, y: jnp.tanh(x),
    "tile": lambda x, y: jnp.tile(x, (1, 2, 1, 3)),
    "tile, images": lambda x, y: jnp.tile(x, (2, 1, 1, 1)).reshape(2, -1, 72).sum(axis=0),
    "transpose": lambda x, y: x.transpose(0, 3, 1, 2),
    "xor": lambda x, y: jnp.where((x > 0) ^ (y > 0), x, y),
}


def of_numbers(name: str) -> Classify:
    """One of `FUNCTIONS` as a function of one array, `[n, 4, 6, 3]` to `[n, ...]` float32."""
    return lambda x: FUNCTIONS[name](x, lax.rev(x, (3,))).astype(jnp.float32)


@functools.cache
def expected_numbers(name: str) -> np.ndarray:
    """What this function gives for `numbers`."""
    return np.asarray(jax.jit(of_numbers(name))(numbers()))


def numbers() -> np.ndarray:
    """Five arrays to try these functions on: `[5, 4, 6, 3]` in [-2, 2]."""
    return np.random.default_rng(0).uniform(-2, 2, (5, 4, 6, 3)).astype(np.float32)
