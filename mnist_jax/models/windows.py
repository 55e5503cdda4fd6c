"""Extracts windows of pixels by slices whose gradients are slices, too.

Images have the layout `[H, W, ...]`.
"""

import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]
Size = tuple[int, int]


def square(side: int) -> list[Size]:
    """Returns the `(row, column)` positions within a square window, row by row."""
    return [(i, j) for i in range(side) for j in range(side)]


def padding_of(x: jax.Array, kernel: jax.Array, stride: int, padding: str) -> tuple[Pads, Size]:
    """Returns the padding of a convolution and the size of its output.

    Args:
      x: `[H, W, ...]`.
      kernel: `[kh, kw, ...]`.
      stride: the stride along both axes.
      padding: `SAME` or `VALID`.

    Returns:
      The numbers of zeros before and after each of the first two axes of `x`, and the height and
      width of the output.
    """
    window = kernel.shape[:2]
    height, width = lax.padtype_to_pads(x.shape[:2], window, (stride, stride), padding)
    pads = ((int(height[0]), int(height[1])), (int(width[0]), int(width[1])))
    rows, columns = (
        (n + sum(pad) - k) // stride + 1
        for n, pad, k in zip(x.shape[:2], pads, window, strict=True)
    )
    return pads, (rows, columns)


def windows(x: jax.Array, places: list[Size], size: Size, step: int) -> list[jax.Array]:
    """Returns `x[i::step, j::step]`, cut to `size`, for each `(i, j)` in `places`.

    The gradient of a strided slice fills the gaps with zeros, pixel by pixel. Here the pixels are
    first sorted by their position modulo `step`, so that each window is one contiguous slice.
    """
    rows, columns = (max(place[axis] for place in places) // step + size[axis] for axis in (0, 1))
    sorted_ = _by_phase(_fit(x, rows * step, columns * step), step)

    def window(i: int, j: int) -> jax.Array:
        top, left = i // step, j // step
        phase = sorted_[i % step][j % step]
        return phase[top : top + size[0], left : left + size[1]]

    return [window(*place) for place in places]


def interleave(phases: list[jax.Array], size: Size) -> jax.Array:
    """Interleaves the pixels of `step ** 2` arrays `[h, w, ...]` into one image.

    Array `i * step + j` of `phases` holds the pixels at row `i` and column `j` modulo `step`.

    Returns:
      The image, cut from `[h * step, w * step, ...]` to the height and width `size`.
    """
    step = round(len(phases) ** 0.5)
    rows, columns, *rest = phases[0].shape
    x = jnp.stack(phases).reshape(step, step, rows, columns, *rest)
    x = jnp.moveaxis(x, (0, 1), (1, 3)).reshape(rows * step, columns * step, *rest)
    return x[: size[0], : size[1]]


def _fit(x: jax.Array, height: int, width: int) -> jax.Array:
    """Cuts or zero-pads `x` `[H, W, ...]` to `height` and `width`; no window reads the zeros."""
    x = x[:height, :width]
    missing = ((0, height - x.shape[0]), (0, width - x.shape[1]))
    return jnp.pad(x, missing + ((0, 0),) * (x.ndim - 2)) if any(map(any, missing)) else x


def _by_phase(x: jax.Array, step: int) -> list[list[jax.Array]]:
    """Returns the arrays `x[i::step, j::step]` as a nested list, indexed by `i` and `j`."""
    if step == 1:
        return [[x]]
    height, width, *rest = x.shape
    x = x.reshape(height // step, step, width // step, step, *rest)
    ones = [1] * step
    phases = [
        [phase.reshape(height // step, width // step, *rest) for phase in lax.split(row, ones, 3)]
        for row in lax.split(x, ones, 1)
    ]
    # Without a barrier, the sorting (and the addition in its gradient) is repeated for each window.
    return lax.optimization_barrier(phases)
