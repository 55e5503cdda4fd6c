"""Principal component analysis (PCA): the directions in which points differ most."""

import numpy as np

# The error falls exponentially with each. With these, the variances are right to a few percent even
# of random points, among whose directions none stands out.
SPARE, ROUNDS = 8, 12


def principal(points: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Projects points on the orthogonal directions in which their variance is largest.

    The directions are found by subspace iteration from random ones, always the same (Halko,
    Martinsson and Tropp, Finding Structure with Randomness, SIAM Review, 2011, algorithm 4.4),
    which never needs the `[d, d]` matrix of covariances. The sign of a direction is that which
    makes its largest component positive.

    Args:
      points: `[n, d]` float, changed in place: their mean becomes 0.
      count: number of directions.

    Returns:
      The coordinates `[n, count]`, the largest variance first, and the fraction of the variance
      that each has, `[count]`. What there is no direction for is 0.
    """
    points -= points.mean(axis=0)
    width = points.shape[1]
    start = np.random.default_rng(0).standard_normal((width, min(width, count + SPARE)))
    basis = np.linalg.qr(start.astype(points.dtype))[0]
    for _ in range(ROUNDS):
        basis = np.linalg.qr(points.T @ (points @ basis))[0]
    within = points @ basis
    variances, turn = np.linalg.eigh((within.T @ within).astype(np.float64))  # in rising order
    turn, variances = turn[:, ::-1][:, :count], variances[::-1][:count]
    directions = basis @ turn
    largest = np.abs(directions).argmax(axis=0)
    turn = turn * np.where(directions[largest, range(len(largest))] < 0, -1.0, 1.0)
    missing = count - len(variances)
    total = float(np.einsum("ij,ij->", points, points, dtype=np.float64))  # without a copy
    shares = np.maximum(variances, 0.0) / total if total else np.zeros(len(variances))
    return np.pad(within @ turn, ((0, 0), (0, missing))), np.pad(shares, (0, missing))
