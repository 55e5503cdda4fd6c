import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mnist_jax import models
from mnist_jax.config import Choice
from mnist_jax.errors import UserError
from mnist_jax.models.layers import ACTIVATIONS, INITIALIZERS, Conv, Dense, Dropout
from tests.datasets import MNIST
from tests.models import plain

pytestmark = pytest.mark.usefixtures("strict_dtypes", "quick_compiles")


def images(size: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(size, *shape)), jnp.float32)


def functional(layer: nnx.Module):
    """`(params, x, train) -> (outputs, variables after)`, and the layer's parameters."""
    graph, params, variables = nnx.split(layer, nnx.Param, ...)
    params, variables = nnx.to_pure_dict(params), nnx.to_pure_dict(variables)

    @functools.partial(jax.jit, static_argnums=2)
    def call(params, x, train=True):
        merged = nnx.merge(graph, params, variables)
        y = merged(x, train=train)
        return y, nnx.to_pure_dict(nnx.state(merged, nnx.Not(nnx.Param)))

    return call, params


@pytest.mark.parametrize(
    "normalisation",
    ["batch", *(pytest.param(name, marks=pytest.mark.slow) for name in ("none", "layer"))],
)
@pytest.mark.parametrize(
    ("size", "stride", "pooling"),
    [
        (8, 1, "max"),
        (7, 1, "mean"),
        pytest.param(7, 1, "max", marks=pytest.mark.slow),
        (9, 2, "max"),
    ],
)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_conv_is_the_layer_that_lax_computes(
    monkeypatch, size, stride, pooling, normalisation, padding
):
    def run():
        layer = Conv(
            2,
            8,
            stride=stride,
            padding=padding,
            pooling=pooling,
            activation="tanh",
            normalisation=normalisation,
            rngs=nnx.Rngs(0),
        )
        call, params = functional(layer)
        params["kernel"] = jnp.round(8.0 * params["kernel"])  # whole numbers: exact sums
        x = jnp.round(4.0 * images(4, size, size, 2))

        def scalar(params, x):
            y, variables = call(params, x)
            return (y * y).sum(), (y, variables)

        return jax.jit(jax.grad(scalar, (0, 1), has_aux=True))(params, x)

    ours = run()
    plain.compute_by_lax(monkeypatch)
    # What goes into the normalisation is exact; means and gradients are sums in another order.
    for a, b in zip(*map(jax.tree.leaves, (ours, run())), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(jnp.abs(b).max())))


def test_pool_first_is_convolution_pool_normalisation_activation():
    layer = Conv(
        1,
        4,
        pooling="max",
        pool_first=True,
        activation="tanh",
        normalisation="batch",
        rngs=nnx.Rngs(0),
    )
    call, params = functional(layer)
    x = images(3, 6, 6, 1)
    y, _ = call(params, x)
    convolved = plain.conv2d(jnp.transpose(x, (1, 2, 0, 3)), params["kernel"])
    pooled = jnp.transpose(plain.pool(convolved, 2, "max"), (2, 0, 1, 3))
    mean, variance = pooled.mean((0, 1, 2)), pooled.var((0, 1, 2))
    expected = jnp.tanh(
        (pooled - mean.reshape(1, 1, 1, -1)) / jnp.sqrt(variance + 1e-5)[None, None, None]
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_a_pool_that_is_not_there_cannot_come_first():
    with pytest.raises(UserError, match=r"config\.model\.pool_first"):
        Conv(1, 4, pool_first=True, rngs=nnx.Rngs(0))


def test_the_largest_rectified_value_is_the_largest_value_rectified():
    """The layer pools first where that is the same; its gradient is the same, too."""
    layer = Conv(1, 4, pooling="max", activation="relu", rngs=nnx.Rngs(0))
    call, params = functional(layer)
    params["bias"] = jnp.asarray([-1.0, 0.0, 0.5, -20.0])
    x = images(3, 6, 6, 1)

    def in_order(params, x):
        y = plain.conv2d(jnp.transpose(x, (1, 2, 0, 3)), params["kernel"])
        y = jax.nn.relu(y + params["bias"].reshape(1, 1, 1, -1))
        return jnp.transpose(plain.pool(y, 2, "max"), (2, 0, 1, 3))

    def scalar(function, params, x):
        return (function(params, x) ** 2).sum()

    ours = jax.value_and_grad(functools.partial(scalar, lambda p, x: call(p, x)[0]))(params, x)
    theirs = jax.value_and_grad(functools.partial(scalar, in_order))(params, x)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), ours, theirs)


@pytest.mark.parametrize(
    ("stride", "pooling", "shape"),
    [
        (1, "none", (7, 7)),
        (1, "max", (3, 3)),
        (1, "mean", (3, 3)),
        (2, "none", (4, 4)),
        (2, "max", (2, 2)),
    ],
)
def test_conv_pools_what_it_strides_over(stride, pooling, shape):
    call, params = functional(Conv(1, 5, stride=stride, pooling=pooling, rngs=nnx.Rngs(0)))
    y, _ = jax.eval_shape(call, params, images(2, 7, 7, 1))
    assert y.shape == (2, *shape, 5)


def test_dense_is_a_product_a_bias_and_an_activation():
    call, _ = functional(Dense(3, 2, activation="relu", rngs=nnx.Rngs(0)))
    kernel, bias = jnp.array([[1.0, 2.0], [3.0, -4.0], [5.0, 6.0]]), jnp.array([0.5, -9.0])
    x = jnp.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
    y, _ = call({"kernel": kernel, "bias": bias}, x)
    np.testing.assert_array_equal(y, [[22.5, 3.0], [3.5, 0.0]])


def test_batch_norm_takes_the_batch_in_training_and_running_averages_in_use():
    call, params = functional(Dense(3, 2, normalisation="batch", rngs=nnx.Rngs(0)))
    x = 2.0 * images(50, 3) + 1.0
    before = x @ params["kernel"]
    mean, variance = before.mean(0), before.var(0)

    trained, after = call(params, x, train=True)
    np.testing.assert_allclose(trained.mean(0), [0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(trained.std(0), [1.0, 1.0], rtol=1e-4)
    np.testing.assert_allclose(after["normalise"]["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(after["normalise"]["var"], 0.9 + 0.1 * variance, rtol=1e-5)

    used, after = call(params, x, train=False)
    np.testing.assert_allclose(used, before / np.sqrt(1.0 + 1e-5), rtol=1e-5)
    np.testing.assert_array_equal(after["normalise"]["mean"], [0.0, 0.0])
    np.testing.assert_array_equal(after["normalise"]["var"], [1.0, 1.0])


@pytest.mark.parametrize("train", [False, True])
def test_layer_norm_takes_each_example_by_itself(train):
    call, params = functional(Dense(3, 8, normalisation="layer", rngs=nnx.Rngs(0)))
    x = images(5, 3)
    y, _ = call(params, x, train)
    np.testing.assert_allclose(y.mean(1), np.zeros(5), atol=1e-6)
    np.testing.assert_allclose(y.std(1), np.ones(5), rtol=1e-3)
    np.testing.assert_allclose(call(params, x[:1], train)[0], y[:1], atol=1e-6)


def test_dropout_is_off_outside_training(key):
    x = images(4, 10)
    y = Dropout(0.5, name="dropout_1")(x, train=False)
    np.testing.assert_array_equal(y, x)


def test_dropout_in_training_needs_keys():
    with pytest.raises(ValueError, match="needs keys"):
        Dropout(0.5, name="dropout_1")(images(4, 10), train=True)


def test_dropout_zeroes_at_its_rate_and_keeps_the_mean(key):
    rate, shape = 0.3, (64, 500)
    y = Dropout(rate, name="dropout_1")(jnp.ones(shape), train=True, keys=jax.random.split(key, 64))
    deviation = np.sqrt(rate * (1.0 - rate) / y.size)  # of the fraction that is zeroed
    assert abs(float((y == 0.0).mean()) - rate) < 4.0 * deviation
    assert set(np.unique(y)) == {np.float32(0.0), np.float32(1.0 / (1.0 - rate))}
    assert abs(float(y.mean()) - 1.0) < 4.0 * deviation / (1.0 - rate)


def test_dropout_mask_of_an_example_depends_on_its_key_and_the_layer_alone(key):
    keys, x = jax.random.split(key, 8), jnp.ones((8, 100))
    layer = Dropout(0.5, name="dropout_1")
    mask = layer(x, train=True, keys=keys)
    order = np.array([3, 1, 7, 0, 2])
    np.testing.assert_array_equal(layer(x[:5], train=True, keys=keys[order]), mask[order])
    assert len(np.unique(mask, axis=0)) == 8
    assert np.any(Dropout(0.5, name="dropout_2")(x, train=True, keys=keys) != mask)


def test_layers_keep_their_order_beyond_ten():
    widths = tuple(range(3, 15))
    model = models.build(Choice("mlp", {"hidden": widths, "activation": "tanh"}), MNIST)
    params, variables = jax.device_get(jax.jit(model.init)(jax.random.key(0)))
    x = images(2, 28, 28, 1)
    expected = np.asarray(x).reshape(2, -1)
    names = [f"dense_{i + 1}" for i in range(len(widths))]
    for name in names:
        layer = params["layers"][name]
        expected = np.tanh(expected @ layer["kernel"] + layer["bias"][None])
    output = params["layers"]["output"]
    expected = expected @ output["kernel"] + output["bias"][None]
    outputs, _ = jax.jit(functools.partial(model.apply, train=False))(params, variables, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_a_gradient(name):
    gradient = jax.grad(lambda x: (ACTIVATIONS[name](x) * jnp.arange(3.0)[None]).sum())
    assert np.isfinite(gradient(jnp.array([[-2.0, 0.5, 3.0]]))).all()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_every_initializer_fills_dense_and_convolution_kernels(name):
    dense = Dense(30, 20, kernel_init=name, rngs=nnx.Rngs(0)).kernel[...]
    conv = Conv(3, 20, kernel_init=name, rngs=nnx.Rngs(0)).kernel[...]
    for kernel in (dense, conv):
        assert 0.05 < float(kernel.std()) < 0.5
    assert not np.array_equal(dense, Dense(30, 20, kernel_init=name, rngs=nnx.Rngs(1)).kernel[...])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"activation": "relo"}, "config.model.activation: .*'relo'.*did you mean 'relu'"),
        ({"output_activation": "softmaks"}, "activation: .*'softmaks'.*did you mean 'softmax'"),
        ({"normalisation": "bach"}, "config.model.normalisation: .*did you mean 'batch'"),
        ({"kernel_init": "he_norml"}, "config.model.kernel_init: .*did you mean 'he_normal'"),
        ({"name": "cnn", "pooling": "men"}, "config.model.pooling: .*did you mean 'mean'"),
    ],
)
def test_a_misspelt_value_says_which_was_meant(keywords, message):
    keywords = dict(keywords)
    with pytest.raises(UserError, match=message):
        models.build(Choice(keywords.pop("name", "mlp"), keywords), MNIST)
