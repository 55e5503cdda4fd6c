"""Inputs are small whole numbers, so every sum is exact and nothing needs a tolerance."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mnist_jax.models import convolution
from mnist_jax.models.convolution import conv2d, conv2d_phases, few_taps, pool

pytestmark = pytest.mark.usefixtures("strict_dtypes", "quick_compiles")

FEW, MANY = 1, 8  # inputs of a kernel: with the latter, one from 3 by 3 on has many taps
GRID = [
    *((FEW, (k, k), stride) for k in (1, 2, 3, 4, 5) for stride in (1, 2, 3)),
    *((MANY, (k, k), 1) for k in (1, 2, 3, 4, 5)),
    *((MANY, (3, 3), stride) for stride in (2, 3)),
    *((FEW, kernel, 1) for kernel in ((2, 3), (5, 1))),
    (MANY, (3, 4), 1),
]


def whole_numbers(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).integers(-4, 5, shape), jnp.float32)


def lax_conv(x, kernel, stride=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=numbers)


def lax_pool(x, window, pooling):
    start, combine = {"max": (-np.inf, lax.max), "mean": (0.0, lax.add)}[pooling]
    windows = (1, window, window, 1)
    y = lax.reduce_window(x, start, combine, windows, windows, "VALID")
    return y if pooling == "max" else y / window**2


def assert_same(ours, theirs, *inputs):
    """The values, and the gradients by each input under a cotangent of whole numbers."""

    @jax.jit
    def both(*inputs):
        pairs = [jax.vjp(function, *inputs) for function in (ours, theirs)]
        weights = (jnp.arange(pairs[0][0].size) % 7).reshape(pairs[0][0].shape)
        return [(value, backward(weights.astype(jnp.float32))) for value, backward in pairs]

    mine, reference = map(jax.tree.leaves, both(*inputs))
    for found, expected in zip(mine, reference, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert np.asarray(found).any()


@pytest.mark.parametrize(("channels", "kernel", "stride"), GRID)
def test_conv2d_is_lax_conv(channels, kernel, stride):
    x = whole_numbers(2, 7, 6, channels)
    weights = whole_numbers(*kernel, channels, 3, seed=1)
    assert_same(lambda x, k: conv2d(x, k, stride), lambda x, k: lax_conv(x, k, stride), x, weights)


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (1, 3)], ids=str)
@pytest.mark.parametrize("channels", [FEW, MANY])
def test_conv2d_is_lax_conv_at_other_sizes(size, channels):
    x, weights = whole_numbers(3, *size, channels), whole_numbers(3, 3, channels, 2, seed=1)
    assert_same(conv2d, lax_conv, x, weights)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 4)], ids=str)
def test_both_formulations_of_conv2d_are_lax_conv(monkeypatch, kernel, few):
    monkeypatch.setattr(convolution, "few_taps", lambda kernel: few)
    x, weights = whole_numbers(2, 6, 7, 2), whole_numbers(*kernel, 2, 3, seed=1)
    assert_same(conv2d, lax_conv, x, weights)


def test_few_and_many_taps_are_both_in_the_grid():
    kernels = [np.zeros((*kernel, channels, 3)) for channels, kernel, _ in GRID]
    assert {few_taps(kernel) for kernel in kernels} == {False, True}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "window"), [(1, 2), (2, 3), (3, 2)])
def test_phases_are_the_convolution_at_each_place_of_a_window(kernel, window, stride):
    def phases_of_lax(x, weights):
        y = lax_conv(x, weights, stride)
        rows, columns = (n // window * window for n in y.shape[1:3])
        places = itertools.product(range(window), repeat=2)
        return jnp.stack([y[:, a:rows:window, b:columns:window] for a, b in places])

    assert_same(
        lambda x, k: jnp.stack(conv2d_phases(x, k, stride, window)),
        phases_of_lax,
        whole_numbers(2, 13, 10, 2),
        whole_numbers(kernel, kernel, 2, 3, seed=1),
    )


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 9)], ids=str)
def test_pool_is_reduce_window(size, window, pooling):
    values = np.random.default_rng(0).permutation(2 * np.prod(size) * 3)  # no maximum twice
    x = jnp.asarray(values.reshape(2, *size, 3), jnp.float32)
    assert_same(lambda x: pool(x, window, pooling), lambda x: lax_pool(x, window, pooling), x)


def test_mean_over_nine_is_reduce_window_but_for_the_rounding_of_one_division():
    x = whole_numbers(2, 10, 9, 2)
    np.testing.assert_allclose(pool(x, 3, "mean"), lax_pool(x, 3, "mean"), rtol=2e-7)


def test_of_equal_values_the_first_gets_the_gradient():
    gradient = jax.grad(lambda x: pool(x, 2, "max").sum())(jnp.zeros((1, 2, 2, 1)))
    np.testing.assert_array_equal(gradient.ravel(), [1.0, 0.0, 0.0, 0.0])


def test_maximum_passes_a_nan_on():
    for place in range(4):
        x = jnp.zeros(4).at[place].set(jnp.nan).reshape(1, 2, 2, 1)
        assert jnp.isnan(pool(x, 2, "max")).all()


def in_scan(conv):
    def scanned(xs, kernel):
        return lax.scan(lambda carry, x: (carry, conv(x, kernel)), 0, xs)[1]

    return scanned


def in_vmap(conv):
    return jax.vmap(conv, in_axes=(0, None))


def over_kernels(conv):
    return lambda x, kernels: jax.vmap(conv, in_axes=(None, 0))(x[0], kernels[None])


@pytest.mark.parametrize("transform", [in_scan, in_vmap, over_kernels])
@pytest.mark.parametrize(("channels", "stride"), [(1, 1), (1, 2), (8, 1)])
def test_conv2d_is_lax_conv_inside_a_transformation(transform, channels, stride):
    xs, kernel = whole_numbers(3, 2, 6, 5, channels), whole_numbers(3, 3, channels, 2, seed=1)
    assert_same(
        transform(lambda x, k: conv2d(x, k, stride)),
        transform(lambda x, k: lax_conv(x, k, stride)),
        xs,
        kernel,
    )


@pytest.mark.parametrize("transform", [in_scan, in_vmap])
@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_pool_is_reduce_window_inside_a_transformation(transform, pooling):
    values = np.random.default_rng(0).permutation(3 * 2 * 7 * 6)
    xs = jnp.asarray(values.reshape(3, 2, 7, 6, 1), jnp.float32)
    ours = transform(lambda x, _: pool(x, 2, pooling))
    theirs = transform(lambda x, _: lax_pool(x, 2, pooling))
    assert_same(lambda x: ours(x, None), lambda x: theirs(x, None), xs)
