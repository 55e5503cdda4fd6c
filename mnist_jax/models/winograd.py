"""Convolution by 3x3 kernels with fewer multiplications, by Winograd's minimal filtering.

The algorithm is F(2x2, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
(2016): a tile of 4 by 4 pixels gives 2 by 2 outputs with 16 multiplications instead of 36. Over all
tiles, the multiplications form 16 matrix products; the transforms before and after them are sums.
The 2 by 2 outputs of a tile are the positions of a pooling window.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mnist_jax.models.windows import Pads, Size, square, windows

TILE = 2  # height and width of a tile's outputs
INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
PLACES = square(4)


def applies(kernel: jax.Array, stride: int) -> bool:
    """Returns True if a convolution by `kernel` `[kh, kw, C, O]` at `stride` uses this algorithm.

    In less than single precision, the sums of four pixels would lose digits before the product.
    """
    return kernel.shape[:2] == (3, 3) and stride == 1 and kernel.dtype == jnp.float32


def conv_phases(x: jax.Array, kernel: jax.Array, pads: Pads, size: Size) -> list[jax.Array]:
    """Computes a convolution, split into one array for each position in windows of 2 by 2.

    Args:
      x: images, `[H, W, B, C]`.
      kernel: `[3, 3, C, O]`.
      pads: the numbers of zeros before and after each of the first two axes.
      size: the height `h` and width `w` of the output. If one is odd, the last tiles reach one row
        or column beyond it.

    Returns:
      4 arrays `[ceil(h / 2), ceil(w / 2), B, O]`, row by row.
    """
    channels, outputs = kernel.shape[2:]
    tiles = (-(-size[0] // TILE), -(-size[1] // TILE))
    padded = jnp.pad(x, (*pads, (0, 0), (0, 0)))
    inputs = _transform(INPUT, windows(padded, PLACES, tiles, TILE))
    inputs = lax.optimization_barrier([v.reshape(-1, channels) for v in inputs])
    kernels = jnp.einsum("pi,ijco,qj->pqco", KERNEL, kernel, KERNEL)
    kernels = lax.optimization_barrier(kernels.reshape(len(PLACES), channels, outputs))
    products = lax.optimization_barrier([v @ kernels[i] for i, v in enumerate(inputs)])
    phases = lax.optimization_barrier(_transform(OUTPUT, products))
    return [phase.reshape(*tiles, x.shape[2], outputs) for phase in phases]


def _transform(matrix: np.ndarray, grid: list[jax.Array]) -> list[jax.Array]:
    """Computes `matrix @ grid @ matrix.T` for a square grid of arrays, given row by row."""
    side = matrix.shape[1]
    columns = [grid[i::side] for i in range(side)]
    half = [[_combine(row, column) for column in columns] for row in matrix]  # [row][column]
    return [_combine(row, line) for line in half for row in matrix]


def _combine(coefficients: np.ndarray, arrays: list[jax.Array]) -> jax.Array:
    """Returns the sum of arrays with coefficients of 1, -1 or 0, without multiplications."""
    signed = [(c, a) for c, a in zip(coefficients, arrays, strict=True) if c]
    signed.sort(key=lambda term: -term[0])  # begins the sum with a positive term
    total = signed[0][1]
    for sign, array in signed[1:]:
        total = total + array if sign > 0 else total - array
    return total
