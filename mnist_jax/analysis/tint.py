"""Colours for numbers with a sign: blue above 0, orange below, white at 0."""

import numpy as np

from mnist_jax.analysis.canvas import BLUE, VERMILLION

EXPLAINED = "blue: above 0, orange: below 0"
USUAL = 99.5  # percentile of magnitudes: a few values far beyond the others do not make these pale


def tint(values: np.ndarray, limit: float) -> np.ndarray:
    """Colours values `[...]`: `[..., 3]` uint8, full colours at `limit` and beyond.

    Both colours are dark against white, and people with any kind of colour vision can tell them
    apart. Without a `limit` above 0, everything is white.
    """
    share = np.clip(values / limit, -1.0, 1.0)[..., None] if limit > 0 else np.zeros(1)
    full = np.where(share > 0, _rgb(BLUE), _rgb(VERMILLION))
    shape = (*values.shape, 3)
    return np.broadcast_to(255 + np.abs(share) * (full - 255), shape).round().astype(np.uint8)


def limit_of(values: np.ndarray) -> float:
    """Returns the limit for colouring values: nearly the largest magnitude."""
    sizes = np.abs(values)
    return float(np.percentile(sizes, USUAL)) or float(sizes.max())


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], float)
