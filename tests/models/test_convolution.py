"""Inputs are small whole numbers, so every sum is exact and nothing needs a tolerance."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mnist_jax.models import backend, convolution, winograd
from mnist_jax.models.windows import interleave
from tests.models import plain

pytestmark = pytest.mark.usefixtures("strict_dtypes", "quick_compiles")

GRID = [  # channels, kernel, stride
    *((1, (k, k), stride) for k in (1, 2, 3, 4, 5) for stride in (1, 2, 3)),
    *((4, (k, k), 1) for k in (1, 2, 3, 4, 5)),
    *((4, (3, 3), stride) for stride in (2, 3)),
    *((1, kernel, 1) for kernel in ((2, 3), (5, 1))),
    *((4, kernel, 1) for kernel in ((3, 4), (1, 2))),
    (4, (1, 1), 2),
]
NINE = list(itertools.product(range(3), repeat=2))
FORMULATIONS = ("_patches", "_taps", "_canonical")


def images_last(function):
    """A function of `[H, W, B, C]` as one of `[B, H, W, C]`; lists of images are stacked."""

    def swapped(x, *arguments):
        y = function(jnp.transpose(x, (1, 2, 0, 3)), *arguments)
        y = jnp.stack(y) if isinstance(y, list) else y
        return jnp.moveaxis(y, -2, -4)

    return swapped


conv2d, conv2d_phases, pool = map(
    images_last, (convolution.conv2d, convolution.conv2d_phases, convolution.pool)
)
lax_conv, lax_phases, lax_pool = map(images_last, (plain.conv2d, plain.phases, plain.pool))


def whole_numbers(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).integers(-4, 5, shape), jnp.float32)


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


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("channels", "kernel", "stride"), GRID)
def test_conv2d_is_lax_conv(channels, kernel, stride, padding):
    x = whole_numbers(2, 7, 6, channels)
    weights = whole_numbers(*kernel, channels, 3, seed=1)
    assert_same(
        lambda x, k: conv2d(x, k, stride, padding),
        lambda x, k: lax_conv(x, k, stride, padding),
        x,
        weights,
    )


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (1, 3)], ids=str)
@pytest.mark.parametrize("channels", [1, 4])
def test_conv2d_is_lax_conv_at_other_sizes(size, channels):
    x, weights = whole_numbers(3, *size, channels), whole_numbers(3, 3, channels, 2, seed=1)
    assert_same(conv2d, lax_conv, x, weights)


@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), 1), ((5, 3), 2)])
def test_on_an_accelerator_the_convolution_is_lax_s_own(monkeypatch, kernel, stride):
    monkeypatch.setattr(backend, "on_cpu", lambda: False)
    x, weights = whole_numbers(2, 9, 6, 3), whole_numbers(*kernel, 3, 4, seed=1)
    assert_same(
        lambda x, k: conv2d(x, k, stride, "VALID"),
        lambda x, k: lax_conv(x, k, stride, "VALID"),
        x,
        weights,
    )
    assert_same(
        lambda x, k: conv2d_phases(x, k, stride, 2),
        lambda x, k: lax_phases(x, k, stride, 2),
        x,
        weights,
    )
    program = str(jax.make_jaxpr(conv2d)(x, weights))
    assert "conv_general_dilated" in program
    assert "dot_general" not in program


@pytest.mark.slow
def test_every_formulation_is_in_the_grid(monkeypatch):
    used = set()

    def note(module, name):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a: (used.add(name), function(*a))[1])

    for name in FORMULATIONS:
        note(convolution, name)
    note(winograd, "conv_phases")
    for channels, kernel, stride in GRID:
        convolution.conv2d(jnp.ones((6, 6, 1, channels)), jnp.ones((*kernel, channels, 1)), stride)
    assert used == {*FORMULATIONS, "conv_phases"}


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("kernel", "window"), [(1, 2), (2, 3), (3, 2)])
def test_phases_are_the_convolution_at_each_place_of_a_window(
    kernel, window, channels, stride, padding
):
    assert_same(
        lambda x, k: conv2d_phases(x, k, stride, window, padding),
        lambda x, k: lax_phases(x, k, stride, window, padding),
        whole_numbers(2, 13, 10, channels),
        whole_numbers(kernel, kernel, channels, 3, seed=1),
    )


def test_winograd_rounds_no_worse_than_a_few_units_of_float32():
    generator = np.random.default_rng(0)
    x, kernel = generator.random((2, 14, 14, 32)), generator.normal(0, 0.06, (3, 3, 32, 64))
    exact = np.zeros((2, 12, 12, 64))
    for i, j in itertools.product(range(3), repeat=2):
        exact += x[:, i : i + 12, j : j + 12] @ kernel[i, j]
    found = conv2d(jnp.float32(x), jnp.float32(kernel), 1, "VALID")
    np.testing.assert_allclose(found, exact, atol=1e-6 * np.abs(exact).max() * 2)


def test_interleaved_phases_are_the_image():
    x = whole_numbers(5, 7, 2, 3)
    phases = [jnp.pad(x, ((0, 1), (0, 2), (0, 0), (0, 0)))[a::3, b::3] for a, b in NINE]
    np.testing.assert_array_equal(interleave(phases, (5, 7)), x)


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
@pytest.mark.parametrize(("channels", "stride"), [(1, 1), (1, 2), (4, 1), (4, 2)])
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
