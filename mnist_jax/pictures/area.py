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
    total = _overlaps(x.shape[0], height) @ x @ _overlaps(x.shape[1], width).T
    return np.floor(total / (x.shape[0] * x.shape[1]) + 0.5)


def fit(x: np.ndarray, longest: int) -> np.ndarray:
    """Resizes `[h, w]` so that the longest side has `longest` pixels; keeps the aspect."""
    most = max(x.shape)
    return resize(x, *(max(1, (2 * n * longest + most) // (2 * most)) for n in x.shape))


def _overlaps(old: int, new: int) -> np.ndarray:
    """Returns how far each new pixel overlaps each old one, `[new, old]`, in parts of `1 / new`."""
    start, left = np.arange(new)[:, None] * old, np.arange(old) * new
    overlap = np.minimum(start + old, left + new) - np.maximum(start, left)
    return np.maximum(overlap, 0).astype(np.float64)
