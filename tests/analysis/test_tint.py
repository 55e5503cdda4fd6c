import numpy as np

from mnist_jax.analysis.canvas import BLUE, VERMILLION
from mnist_jax.analysis.tint import limit_of, tint


def rgb(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def test_the_sign_is_the_colour_and_the_magnitude_its_strength():
    found = tint(np.array([[0.0, 2.0, -2.0, 9.0, -9.0, 1.0]]), 2.0)
    white, blue, orange, more, less, half = found[0].tolist()
    assert white == [255] * 3
    assert blue == more == rgb(BLUE)
    assert orange == less == rgb(VERMILLION)
    assert all(255 > h > b for h, b in zip(half, blue, strict=True))


def test_zeros_are_white():
    zeros = np.zeros((2, 3))
    np.testing.assert_array_equal(tint(zeros, limit_of(zeros)), np.full((2, 3, 3), 255))


def test_a_single_value_far_off_does_not_set_the_limit():
    values = np.r_[np.linspace(-1, 1, 999), 1000.0]
    assert 0.9 < limit_of(values) <= 1.0


def test_a_single_value_among_zeros_does():
    assert limit_of(np.r_[np.zeros(999), -3.0]) == 3.0
