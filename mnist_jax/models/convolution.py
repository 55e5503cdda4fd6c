"""Convolution and pooling as matrix products and slices.

On XLA:CPU a convolution inside a loop is compiled well only in the canonical layout, which the
gradients that JAX derives do not have, and `reduce_window`'s gradient is a scatter. Everything
here stays a canonical convolution, a matrix product or a slice, in forward and gradient, so that
it runs at full speed inside `lax.scan`. The values are those of `lax.conv_general_dilated` and
`lax.reduce_window`, and so are the gradients.
"""

import functools
import itertools
import math
import operator

import jax
import jax.numpy as jnp
from jax import lax


def conv2d(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Two-dimensional convolution with `SAME` padding.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[kh, kw, C, O]`.
      stride: of both axes.

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), O]`.
    """
    if stride == 1 and not few_taps(kernel):
        return _canonical_conv(x, kernel)
    return conv2d_phases(x, kernel, stride, window=1)[0]


def few_taps(kernel: jax.Array) -> bool:
    """Whether building the patches for `kernel` `[kh, kw, C, O]` costs next to nothing."""
    return math.prod(kernel.shape[:3]) <= 64  # measured: 25 inputs gain, 144 lose


def conv2d_phases(x: jax.Array, kernel: jax.Array, stride: int, window: int) -> list[jax.Array]:
    """`conv2d`, as its values at each place of a pooling window.

    What a pool of `window` takes the mean or maximum of stands in `window ** 2` arrays, so the pool
    that follows has no window to slide: it is `combine` of the list.

    Returns:
      `window ** 2` arrays `[B, h, w, O]`, where `conv2d` gives `[B, h * window (+ rest), ...]`.
    """
    height, width = (-(-n // stride) // window for n in x.shape[1:3])
    step = stride * window
    padded = _pad_same(x, kernel.shape[:2], stride)
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def phase(a: int, b: int) -> jax.Array:
        taps = itertools.product(range(kernel.shape[0]), range(kernel.shape[1]))
        patches = [
            _strided(padded, (a * stride + i, b * stride + j), (height, width), step)
            for i, j in taps
        ]
        return jnp.concatenate(patches, axis=-1) @ matrix

    return [phase(a, b) for a, b in itertools.product(range(window), repeat=2)]


def pool(x: jax.Array, window: int, pooling: str) -> jax.Array:
    """`max` or `mean` over windows of `window` by `window`, a rest at the edge left out.

    `[B, H, W, C]` to `[B, H // window, W // window, C]`.
    """
    size = (x.shape[1] // window, x.shape[2] // window)
    corners = itertools.product(range(window), repeat=2)
    return combine([_strided(x, corner, size, window) for corner in corners], pooling)


def combine(phases: list[jax.Array], pooling: str) -> jax.Array:
    """Elementwise maximum or mean of equally shaped arrays."""
    if pooling == "max":
        return functools.reduce(_larger, phases)
    return functools.reduce(operator.add, phases) / len(phases)


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """The larger of two, or NaN; of equals the first, which then gets all of the gradient.

    The gradient of `jnp.maximum` asks which of the two equals the result. Compiled, the two sides
    of that question can be computed apart and rounded apart, and then neither does.
    """
    return jnp.where((a >= b) | jnp.isnan(a), a, b)


def _strided(x: jax.Array, start: tuple[int, ...], size: tuple[int, ...], step: int) -> jax.Array:
    limits = [s + (n - 1) * step + 1 for s, n in zip(start, size, strict=True)]
    return lax.slice(
        x, (0, *start, 0), (x.shape[0], *limits, x.shape[3]), strides=(1, step, step, 1)
    )


def _pad_same(x: jax.Array, window: tuple[int, ...], stride: int) -> jax.Array:
    pads = lax.padtype_to_pads(x.shape[1:3], window, (stride, stride), "SAME")
    return jnp.pad(x, ((0, 0), *pads, (0, 0)))


def _lax_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_vjp
def _canonical_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _lax_conv(x, kernel)


def _conv_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return _lax_conv(x, kernel), (x, kernel)


def _conv_backward(saved: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The input's gradient as a canonical convolution, the kernel's as a product for each tap."""
    x, kernel = saved
    kh, kw, channels, outputs = kernel.shape
    low = [(k - 1) // 2 for k in (kh, kw)]
    high = [k // 2 for k in (kh, kw)]
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    # SAME pads (k - 1) // 2 before and k // 2 after; its transpose pads the other way round.
    dx = lax.conv_general_dilated(
        g,
        flipped,
        (1, 1),
        [(h, b) for h, b in zip(high, low, strict=True)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    padded = _pad_same(x, (kh, kw), 1)
    columns = g.reshape(-1, outputs)
    taps = [
        _strided(padded, at, g.shape[1:3], 1).reshape(-1, channels).T @ columns
        for at in itertools.product(range(kh), range(kw))
    ]
    return dx, jnp.stack(taps).reshape(kernel.shape)


_canonical_conv.defvjp(_conv_forward, _conv_backward)
