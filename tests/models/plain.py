"""Convolution and pooling as lax has them, for images `[H, W, B, C]`."""

import numpy as np
from jax import lax

from mnist_jax.models import convolution


def conv2d(x, kernel, stride=1, padding="SAME"):
    numbers = ("HWNC", "HWIO", "HWNC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=numbers)


def pool(x, window, pooling):
    start, combine = {"max": (-np.inf, lax.max), "mean": (0.0, lax.add)}[pooling]
    windows = (window, window, 1, 1)
    y = lax.reduce_window(x, start, combine, windows, windows, "VALID")
    return y if pooling == "max" else y / window**2


def phases(x, kernel, stride, window, padding="SAME"):
    y = conv2d(x, kernel, stride, padding)
    rows, columns = (n // window * window for n in y.shape[:2])
    places = [(a, b) for a in range(window) for b in range(window)]
    return [y[a:rows:window, b:columns:window] for a, b in places]


def compute_by_lax(monkeypatch):
    monkeypatch.setattr(convolution, "conv2d", conv2d)
    monkeypatch.setattr(convolution, "conv2d_phases", phases)
    monkeypatch.setattr(convolution, "pool", pool)
