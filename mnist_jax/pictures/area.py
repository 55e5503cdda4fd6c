"""Resizes arrays by averaging areas, exactly: any order of the additions gives the same bits."""

import numpy as np


def resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes `[h, w]` to `[height, width]`: each new pixel is the mean of the area that it covers.

    Args:
      x: float64 that holds whole numbers up to 2**12; so does the result, which is rounded (half
        up).
      height: the new height.
      width: the new width.
    """
    total = _sums(_sums(x, height).T, width).T
    return np.floor(total / (x.shape[0] * x.shape[1]) + 0.5)


def fit(x: np.ndarray, longest: int) -> np.ndarray:
    """Resizes `[h, w]` so that the longest side has `longest` pixels; keeps the aspect."""
    most = max(x.shape)
    return resize(x, *(max(1, (2 * n * longest + most) // (2 * most)) for n in x.shape))


def _sums(x: np.ndarray, new: int) -> np.ndarray:
    """Returns sums along the first axis, each over `len(x)` of `new * len(x)` parts of pixels."""
    pixel, part = np.divmod(np.arange(new + 1) * len(x), new)
    nothing = np.zeros((1, x.shape[1]))
    before = np.concatenate([nothing, np.cumsum(x, axis=0)])[pixel]  # the whole pixels
    within = np.concatenate([x, nothing])[pixel]
    return np.diff(before * new + within * part[:, None], axis=0)
