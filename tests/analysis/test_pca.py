"""Principal components, against those of NumPy's singular values."""

import tracemalloc

import numpy as np
import pytest

from mnist_jax.analysis.pca import principal

RANDOM = np.random.default_rng(5)


def cloud(count: int, width: int, scales=()) -> np.ndarray:
    """Points around a mean of 3, on axes that are turned."""
    turn = np.linalg.qr(RANDOM.standard_normal((width, width)))[0]
    spread = np.r_[scales, np.ones(width - len(scales))]
    return (3 + (RANDOM.standard_normal((count, width)) * spread) @ turn).astype(np.float32)


def by_svd(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:2].T, values[:2] ** 2 / (values**2).sum()


@pytest.mark.parametrize(
    ("points", "tolerance"),
    [
        (cloud(200, 5), 1e-3),
        (cloud(300, 40, (5, 3)), 1e-3),
        (cloud(20, 400, (9, 6)), 1e-2),
    ],
    ids=["few values", "many values", "fewer points than values"],
)
def test_agrees_with_the_singular_values(points: np.ndarray, tolerance: float):
    expected, shares = by_svd(points)
    found, its = principal(points.copy())
    np.testing.assert_allclose(its, shares, rtol=tolerance)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, signs * expected, atol=tolerance * np.abs(expected).max())


def test_the_variance_of_random_points_is_nearly_the_largest():
    points = RANDOM.standard_normal((1000, 300)).astype(np.float32)
    _, shares = by_svd(points)
    _, found = principal(points)
    assert shares[0] >= found[0] >= found[1]
    np.testing.assert_allclose(found, shares, rtol=0.05)


def test_distances_in_a_plane_are_kept():
    plane = np.linalg.qr(RANDOM.standard_normal((30, 2)))[0]
    flat = RANDOM.standard_normal((50, 2)) * (4, 1)
    points, shares = principal((7 + flat @ plane.T).astype(np.float32))
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    apart = [np.linalg.norm(its[:, None] - its[None], axis=-1) for its in (flat, points)]
    np.testing.assert_allclose(apart[1], apart[0], atol=1e-4)


def test_the_sign_is_that_of_the_largest_part_of_a_direction():
    line = np.outer(np.arange(5.0), [0.1, -2.0, 1.0]).astype(np.float32)
    points, _ = principal(line)
    assert points[0, 0] > points[-1, 0]  # the second value falls, and is the largest


@pytest.mark.parametrize("shape", [(1, 4), (6, 1), (6, 4)])
def test_what_does_not_vary_has_no_share(shape: tuple[int, int]):
    points, shares = principal(np.full(shape, 2.5, np.float32))
    np.testing.assert_array_equal(points, np.zeros((shape[0], 2)))
    np.testing.assert_array_equal(shares, [0, 0])


def test_points_are_not_copied():
    points = RANDOM.standard_normal((4000, 500)).astype(np.float32)
    tracemalloc.start()
    principal(points)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < points.nbytes / 2


def test_a_single_value_has_a_second_component_of_zeros():
    points, shares = principal(np.arange(4, dtype=np.float32)[:, None])
    np.testing.assert_allclose(points, [[-1.5, 0], [-0.5, 0], [0.5, 0], [1.5, 0]])
    np.testing.assert_allclose(shares, [1, 0])
