"""Convolution and pooling as matrix products and slices.

On XLA:CPU a convolution inside a loop is compiled well only in the canonical layout, which the
gradients that JAX derives do not have, and `reduce_window`'s gradient is a scatter. Everything
here stays a matrix product, a slice or a canonical convolution, in forward and gradient, so that
it runs at full speed inside `lax.scan`. The values are those of `lax.conv_general_dilated` and
`lax.reduce_window`, and so are the gradients, up to rounding. On an accelerator the convolution is
`lax`'s own.

Of one channel, and of kernels other than 3x3, there is no forward mode on a CPU (`jax.jvp`).

Images are `[H, W, B, C]` here, pixels first: a window of pixels is then a few long runs of memory,
and what is computed with windows are sums of long vectors.
"""

import functools
import itertools
import operator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from mnist_jax.models import backend, winograd
from mnist_jax.models.windows import Pads, interleave, padding_of, square, windows

MANY_OUTPUTS = 32  # from here on, turning what was computed transposed takes longer than it saves


def conv2d(x: jax.Array, kernel: jax.Array, stride: int = 1, padding: str = "SAME") -> jax.Array:
    """Two-dimensional convolution.

    Args:
      x: `[H, W, B, C]`.
      kernel: `[kh, kw, C, O]`.
      stride: of both axes.
      padding: `SAME` or `VALID`.

    Returns:
      `[h, w, B, O]`, with `h` and `w` as `lax.conv_general_dilated` has them.
    """
    if not backend.on_cpu():
        return _lax_conv(x, kernel, stride, padding, "HWNC")
    if _one_channel(kernel):
        return _patches(x, kernel, stride, 1, padding)[0]
    if winograd.applies(kernel, stride):
        pads, size = padding_of(x, kernel, 1, padding)
        return interleave(winograd.conv_phases(x, kernel, pads, size), size)
    if stride == 1 and kernel.shape[:2] != (1, 1):
        return _canonical(x, kernel, padding)
    return _taps(x, kernel, stride, padding)


def conv2d_phases(
    x: jax.Array, kernel: jax.Array, stride: int, window: int, padding: str = "SAME"
) -> list[jax.Array]:
    """`conv2d`, as its values at each place of a pooling window.

    What a pool of `window` takes the mean or maximum of stands in `window ** 2` arrays, so the pool
    that follows has no window to slide: it is `combine` of the list.

    Returns:
      `window ** 2` arrays `[h, w, B, O]`, where `conv2d` gives `[h * window (+ rest), ...]`.
    """
    if not backend.on_cpu():
        return _phases(conv2d(x, kernel, stride, padding), window)
    if _one_channel(kernel):
        return _patches(x, kernel, stride, window, padding)
    if winograd.applies(kernel, stride):
        pads, size = padding_of(x, kernel, 1, padding)
        whole = (size[0] // window * window, size[1] // window * window)
        return winograd.conv_phases(x, kernel, pads, whole)
    return _phases(conv2d(x, kernel, stride, padding), window)


def pool(x: jax.Array, window: int, pooling: str) -> jax.Array:
    """`max` or `mean` over windows of `window` by `window`, a rest at the edge left out.

    `[H, W, B, C]` to `[H // window, W // window, B, C]`.
    """
    return combine(_phases(x, window), pooling)


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


def _phases(x: jax.Array, window: int) -> list[jax.Array]:
    size = (x.shape[0] // window, x.shape[1] // window)
    return windows(x, square(window), size, window)


def _one_channel(kernel: jax.Array) -> bool:
    return kernel.shape[2] == 1


def _patches(
    x: jax.Array, kernel: jax.Array, stride: int, window: int, padding: str
) -> list[jax.Array]:
    """`conv2d_phases` of one channel, as one product with the patches, a row a tap."""
    kh, kw, _, outputs = kernel.shape
    pads, size = padding_of(x, kernel, stride, padding)
    size = (size[0] // window, size[1] // window)
    padded = jnp.pad(x[..., 0], (*pads, (0, 0)))
    phases = square(window)
    places = [
        (a * stride + i, b * stride + j) for i in range(kh) for j in range(kw) for a, b in phases
    ]
    found = windows(padded, places, size, stride * window)
    rows = lax.optimization_barrier(jnp.stack(found).reshape(kh * kw, -1))
    y = _of_rows(rows, kernel.reshape(kh * kw, outputs))
    y = y.reshape(len(phases), *size, x.shape[2], outputs)
    return [y[i] for i in range(len(phases))]


@jax.custom_vjp
def _of_rows(rows: jax.Array, matrix: jax.Array) -> jax.Array:
    """`rows.T @ matrix`: `[T, N]` by `[T, O]` to `[N, O]`, for large N.

    With few outputs XLA:CPU computes its transpose up to ten times as fast; the gradient gains
    nothing by it.
    """
    if matrix.shape[1] >= MANY_OUTPUTS:
        return lax.dot_general(rows, matrix, (((0,), (0,)), ((), ())))
    turned = lax.optimization_barrier(matrix.T)
    return lax.optimization_barrier(turned @ rows).T


def _of_rows_forward(rows: jax.Array, matrix: jax.Array) -> tuple[jax.Array, tuple]:
    return _of_rows(rows, matrix), (rows, matrix)


def _of_rows_backward(saved: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows, matrix = saved
    return matrix @ g.T, rows @ lax.optimization_barrier(g)


_of_rows.defvjp(_of_rows_forward, _of_rows_backward)


def _taps(x: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
    """`conv2d` as a sum of products, one a tap: `[H, W, B, C]` to `[h, w, B, O]`."""
    kh, kw, channels, outputs = kernel.shape
    pads, size = padding_of(x, kernel, stride, padding)
    places = [(i, j) for i in range(kh) for j in range(kw)]
    found = windows(jnp.pad(x, (*pads, (0, 0), (0, 0))), places, size, stride)
    products = [
        tap.reshape(-1, channels) @ kernel[i, j] for tap, (i, j) in zip(found, places, strict=True)
    ]
    return functools.reduce(operator.add, products).reshape(*size, x.shape[2], outputs)


def _canonical(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
    pads, _ = padding_of(x, kernel, 1, padding)
    y: Any = _canonical_conv(jnp.transpose(x, (2, 0, 1, 3)), kernel, pads)
    return jnp.transpose(y, (1, 2, 0, 3))


def _lax_conv(
    x: jax.Array, kernel: jax.Array, stride: int, padding: str | Pads, layout: str
) -> jax.Array:
    """`lax.conv_general_dilated` of images laid out `NHWC` or `HWNC`."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=(layout, "HWIO", layout)
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _canonical_conv(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """`[B, H, W, C]` to `[B, h, w, O]`, with a gradient that is canonical, too."""
    return _lax_conv(x, kernel, 1, pads, "NHWC")


def _conv_forward(x: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[jax.Array, tuple]:
    return _lax_conv(x, kernel, 1, pads, "NHWC"), (x, kernel)


def _conv_backward(pads: Pads, saved: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The input's gradient as a canonical convolution, the kernel's as a product for each tap."""
    x, kernel = saved
    kh, kw, channels, outputs = kernel.shape
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    # What was padded by p before is padded by k - 1 - p in the transpose.
    (top, bottom), (left, right) = pads
    mirrored = ((kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right))
    dx = _lax_conv(g, flipped, 1, mirrored, "NHWC")
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    columns = g.reshape(-1, outputs)
    height, width = g.shape[1:3]
    taps = [
        padded[:, i : i + height, j : j + width].reshape(-1, channels).T @ columns
        for i, j in itertools.product(range(kh), range(kw))
    ]
    return dx, jnp.stack(taps).reshape(kernel.shape)


_canonical_conv.defvjp(_conv_forward, _conv_backward)
