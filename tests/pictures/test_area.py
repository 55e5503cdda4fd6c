"""Resizing by areas, beside the plain definition."""

import numpy as np
import pytest

from mnist_jax.pictures import area


def plain(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each new pixel: the sum over all old ones of overlap times value, in exact integers."""
    down, across = overlaps(len(x), height), overlaps(len(x[0]), width)
    found = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        parts = [down[i][k] * across[j][m] * int(x[k, m]) for k, m in np.ndindex(x.shape)]
        found[i, j] = (2 * sum(parts) + x.size) // (2 * x.size)
    return found


def overlaps(old: int, new: int) -> list[list[int]]:
    return [
        [max(0, min((i + 1) * old, (k + 1) * new) - max(i * old, k * new)) for k in range(old)]
        for i in range(new)
    ]


@pytest.mark.parametrize("shape", [(7, 5), (3, 9), (1, 1), (8, 10), (16, 20)])
def test_each_pixel_is_the_mean_of_its_area(shape):
    x = np.random.default_rng(0).integers(0, 4081, (8, 10)).astype(np.float64)
    np.testing.assert_array_equal(area.resize(x, *shape), plain(x, *shape))


def test_the_same_size_changes_nothing():
    x = np.arange(30.0).reshape(5, 6)
    np.testing.assert_array_equal(area.resize(x, 5, 6), x)


@pytest.mark.parametrize(
    ("shape", "fitted"),
    [((40, 20), (20, 10)), ((20, 40), (10, 20)), ((3, 100), (1, 20)), ((5, 5), (20, 20))],
)
def test_fit_keeps_the_aspect(shape, fitted):
    assert area.fit(np.ones(shape), 20).shape == fitted
