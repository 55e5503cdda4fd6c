"""Convolution and pooling as matrix products and slices, which are fast on CPUs.

Inside a loop, XLA:CPU compiles a convolution well only if it is in the canonical layout. The
gradients that JAX derives are not, and the gradient of `reduce_window` is a scatter. The functions
here use only matrix products, slices and canonical convolutions, both in the forward pass and in
the gradient, so that they run at full speed inside `lax.scan`. Values and gradients equal those of
`lax.conv_general_dilated` and `lax.reduce_window` up to rounding. On an accelerator, convolutions
use `lax.conv_general_dilated`.

On a CPU, forward-mode differentiation (`jax.jvp`) is not supported for one input channel or for
kernels other than 3x3.

Images have the layout `[H, W, B, C]` here: a window of pixels then consists of a few contiguous
pieces of memory, and computations on windows are sums of long vectors.
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

MANY_OUTPUTS = 32  # from here on, computing the transposed product saves no time


def conv2d(x: jax.Array, kernel: jax.Array, stride: int = 1, padding: str = "SAME") -> jax.Array:
    """Computes a two-dimensional convolution.

    Args:
      x: images, `[H, W, B, C]`.
      kernel: `[kh, kw, C, O]`.
      stride: the stride along both axes.
      padding: `SAME` or `VALID`.

    Returns:
      `[h, w, B, O]`, with the height and width that `lax.conv_general_dilated` gives.
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
    """Computes `conv2d`, split into one array for each position within a pooling window.

    Pooling the result is then `combine` of these arrays, elementwise, with no window to slide.

    Args:
      x: images, `[H, W, B, C]`.
      kernel: `[kh, kw, C, O]`.
      stride: the stride along both axes.
      window: the height and width of the pooling window.
      padding: `SAME` or `VALID`.

    Returns:
      `window ** 2` arrays `[h, w, B, O]`, row by row. `h` and `w` are those of `conv2d`, divided
      by `window` and rounded down.
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
    """Pools by `max` or `mean` over windows of `window` by `window` pixels.

    Rows and columns at the edge that do not fill a window are left out.

    Returns:
      `[H // window, W // window, B, C]` for `x` `[H, W, B, C]`.
    """
    return combine(_phases(x, window), pooling)


def combine(phases: list[jax.Array], pooling: str) -> jax.Array:
    """Returns the elementwise maximum or mean of arrays of the same shape."""
    if pooling == "max":
        return functools.reduce(_larger, phases)
    return functools.reduce(operator.add, phases) / len(phases)


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the elementwise maximum, or NaN; for equal values the gradient goes to the first.

    `jnp.maximum` is avoided because its gradient compares each operand with the result. The
    compiler may compute the two sides of that comparison separately, with different rounding, and
    then neither operand receives the gradient.
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
    """Computes `conv2d_phases` for one channel as a matrix product with the image patches.

    The matrix of patches has one row for each position within the kernel.
    """
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
    """Computes `rows.T @ matrix` for large N: `[T, N]` by `[T, O]` gives `[N, O]`.

    With few outputs, XLA:CPU computes the transposed product up to ten times as fast. The gradient
    does not benefit from this.
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
    """Computes `conv2d` as a sum of matrix products, one for each position within the kernel."""
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
    """Calls `lax.conv_general_dilated` on images in the layout `NHWC` or `HWNC`."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=(layout, "HWIO", layout)
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _canonical_conv(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Convolves `[B, H, W, C]` to `[B, h, w, O]`, with a gradient in the canonical layout."""
    return _lax_conv(x, kernel, 1, pads, "NHWC")


def _conv_forward(x: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[jax.Array, tuple]:
    return _lax_conv(x, kernel, 1, pads, "NHWC"), (x, kernel)


def _conv_backward(pads: Pads, saved: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of the input and the kernel.

    The first is a canonical convolution, the second one matrix product per position in the kernel.
    """
    x, kernel = saved
    kh, kw, channels, outputs = kernel.shape
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    # A padding of p in the forward convolution becomes one of k - 1 - p in its transpose.
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
