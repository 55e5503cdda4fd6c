import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mnist_jax import models
from mnist_jax.config import Choice
from mnist_jax.errors import UserError
from mnist_jax.training.loss import probabilities
from mnist_jax.training.state import count_parameters
from tests.models import plain

pytestmark = pytest.mark.usefixtures("strict_dtypes")
quick = pytest.mark.usefixtures("quick_compiles")

IMAGES = np.random.default_rng(0).uniform(size=(3, 28, 28, 1)).astype(np.float32)


def built(name: str, dtype: str = "float32", **keywords):
    """A model and its `(params, variables)`."""
    model = models.build(Choice(name, keywords), dtype)
    return model, jax.jit(model.init)(jax.random.key(0))


def applied(model, params, variables, *, train=False, keys=None):
    """The outputs for `IMAGES`, and the variables after them."""
    apply = functools.partial(model.apply, train=train)
    return jax.jit(apply)(params, variables, IMAGES, keys=keys)


@pytest.mark.parametrize(
    ("hidden", "parameters"),
    [
        ((), 7850),
        ((5,), 3985),
        ((128, 32), 104938),
        ((800, 400), 952410),
        ((16, 16, 16), 13274),
        ((16, 16, 16, 16), 13546),
    ],
)
def test_mlp_of_any_depth(hidden, parameters):
    model = models.build(Choice("mlp", {"hidden": hidden}))
    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    assert count_parameters(params) == parameters
    assert variables == {}
    names = [f"dense_{i + 1}" for i in range(len(hidden))]
    assert sorted(params["layers"]) == [*names, "output"]
    outputs, _ = jax.eval_shape(lambda p: model.apply(p, {}, IMAGES, train=False), params)
    assert (outputs.shape, outputs.dtype) == ((3, 10), jnp.float32)


def conv(inputs, outputs, kernel):
    return kernel * kernel * inputs * outputs + outputs


@pytest.mark.parametrize(
    ("keywords", "parameters"),
    [
        ({}, conv(1, 32, 3) + conv(32, 64, 3) + (7 * 7 * 64 + 1) * 256 + 2570),
        ({"pooling": "none", "features": (2,)}, conv(1, 2, 3) + (28 * 28 * 2 + 1) * 256 + 2570),
        ({"pooling": "mean", "dense": ()}, conv(1, 32, 3) + conv(32, 64, 3) + 7 * 7 * 640 + 10),
        (
            {"features": (4, 8, 16), "kernel": (5, 4, 2), "dense": (6,)},
            conv(1, 4, 5) + conv(4, 8, 4) + conv(8, 16, 2) + (3 * 3 * 16 + 1) * 6 + 70,
        ),
        (
            {"features": (2, 3), "stride": (2, 1), "dense": ()},
            conv(1, 2, 3) + conv(2, 3, 3) + 3 * 3 * 30 + 10,
        ),
        (
            {"features": (2,), "stride": (3,), "pooling": "none", "dense": ()},
            20 + 10 * 10 * 20 + 10,
        ),
        ({"features": (), "dense": (128, 32)}, 104938),
        (
            {"features": (3,), "normalisation": "batch", "dense": (5,)},
            30 + 6 + 588 * 5 + 5 + 10 + 60,
        ),
        (
            {"features": (3,), "normalisation": "layer", "dense": (5,)},
            30 + 6 + 588 * 5 + 5 + 10 + 60,
        ),
        ({"features": (3,), "dense": (), "num_classes": 7}, 30 + 588 * 7 + 7),
    ],
)
def test_cnn_variants(keywords, parameters):
    model = models.build(Choice("cnn", keywords))
    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    assert count_parameters(params) == parameters
    outputs, _ = jax.eval_shape(
        lambda p, v: model.apply(p, v, IMAGES, train=False), params, variables
    )
    assert outputs.shape == (3, keywords.get("num_classes", 10))


def test_batch_norm_adds_a_mean_and_a_variance_for_each_feature():
    keywords = {"features": (3,), "dense": (5,), "normalisation": "batch"}
    model = models.build(Choice("cnn", keywords))
    _, variables = jax.eval_shape(model.init, jax.random.key(0))
    assert count_parameters(variables) == 2 * (3 + 5)


@quick
@pytest.mark.parametrize("pooling", ["none", "max", "mean"])
def test_cnn_is_convolution_activation_pool_flatten_and_dense(pooling):
    model, (params, variables) = built("cnn", features=(2,), kernel=(5,), dense=(), pooling=pooling)
    layers = params["layers"]
    numbers = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(
        IMAGES, layers["conv_1"]["kernel"], (1, 1), "SAME", dimension_numbers=numbers
    )
    y = np.maximum(y, 0.0)
    windows = y.reshape(3, 14, 2, 14, 2, 2)
    y = {"none": y, "max": windows.max((2, 4)), "mean": windows.mean((2, 4))}[pooling]
    expected = y.reshape(3, -1) @ layers["output"]["kernel"]
    outputs, _ = jax.jit(lambda p: model.apply(p, variables, IMAGES, train=False))(params)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "normalisation"),
    [
        ({"kernel": (2, 3), "stride": (2, 1)}, "batch"),
        ({"kernel": (9, 3)}, "batch"),
        ({"kernel": (5, 3)}, "none"),
    ],
    ids=str,
)
def test_gradients_of_a_compiled_network_are_those_of_lax(
    monkeypatch, fake_batch, shape, normalisation
):
    """Compiled whole, a value may be computed twice and rounded twice: that may not matter."""
    model, (params, variables) = built(
        "cnn", features=(2, 9), dense=(), normalisation=normalisation, **shape
    )
    batch = fake_batch(16)
    images, targets = batch["image"] / np.float32(255), np.eye(10, dtype=np.float32)[batch["label"]]

    def loss(params):
        outputs, _ = model.apply(params, variables, images, train=True)
        return -(jax.nn.log_softmax(outputs) * targets).sum(1).mean()

    def gradient():
        return jax.jit(jax.grad(lambda params: loss(params)))(params)

    ours = gradient()
    plain.compute_by_lax(monkeypatch)
    for found, expected in zip(*map(jax.tree.leaves, (ours, gradient())), strict=True):
        largest = max(0.1, float(jnp.abs(expected).max()))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * largest)


@quick
@pytest.mark.parametrize(
    ("keywords", "differ"),
    [
        ({}, False),
        ({"normalisation": "layer"}, False),
        ({"normalisation": "batch"}, True),
        ({"dropout": 0.5}, True),
    ],
)
def test_training_and_use_differ_only_where_they_should(keywords, differ):
    model, (params, variables) = built("mlp", hidden=(8,), **keywords)
    keys = jax.random.split(jax.random.key(1), 3)
    trained, after = applied(model, params, variables, train=True, keys=keys)
    used, unchanged = applied(model, params, variables)
    assert np.any(trained != used) == differ
    assert jax.tree.all(jax.tree.map(np.array_equal, unchanged, variables))
    moved = [
        not np.array_equal(a, b)
        for a, b in zip(*map(jax.tree.leaves, (after, variables)), strict=True)
    ]
    assert moved == [True] * (2 if "batch" in keywords.values() else 0)


@quick
@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [("sigmoid", 0.0, 1.0), ("tanh", -1.0, 1.0), ("relu", 0.0, np.inf)],
)
def test_output_activation_is_applied_in_the_network(activation, low, high):
    model, (params, variables) = built("mlp", hidden=(), output_activation=activation)
    logits, _ = applied(built("mlp", hidden=())[0], params, variables)
    outputs, _ = applied(model, params, variables)
    assert model.output_activation == activation
    assert np.any(outputs != logits)
    assert float(outputs.min()) >= low
    assert float(outputs.max()) <= high


@quick
def test_softmax_is_left_to_the_loss_and_to_prediction():
    model, (params, variables) = built("mlp", hidden=())
    outputs, _ = applied(model, params, variables)
    assert model.output_activation == "softmax"
    np.testing.assert_allclose(
        outputs, IMAGES.reshape(3, -1) @ params["layers"]["output"]["kernel"], rtol=1e-4, atol=1e-5
    )
    p = probabilities(outputs, output_activation="softmax")
    expected = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    np.testing.assert_allclose(p, expected, rtol=1e-5)


@quick
def test_bfloat16_computes_narrow():
    model, (params, variables) = built("mlp", "bfloat16", hidden=(4,))
    wide, _ = built("mlp", hidden=(4,))
    outputs, exact = (applied(m, params, variables)[0] for m in (model, wide))
    assert np.any(outputs != exact)
    np.testing.assert_allclose(outputs, exact, atol=0.1)  # bfloat16 holds 8 bits


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("keywords", [{}, {"kernel": (9,), "stride": (2,)}, {"pooling": "mean"}])
def test_parameters_gradients_and_outputs_stay_float32(keywords, dtype):
    model = models.build(Choice("cnn", keywords), dtype)
    params, variables = jax.eval_shape(model.init, jax.random.key(0))

    def loss(params):
        outputs, after = model.apply(params, variables, IMAGES, train=True)
        return outputs.sum(), (outputs, after)

    found = jax.eval_shape(jax.grad(loss, has_aux=True), params)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, found))} == {jnp.dtype("float32")}


USER_MODEL = """
import jax
from flax import nnx

class Net(nnx.Module):
    output_activation = "sigmoid"

    def __init__(self, *, width: int = 4, scale: float = 1.0, rngs: nnx.Rngs):
        self.first = nnx.Linear(784, width, rngs=rngs)
        self.second = nnx.Linear(width, 10, rngs=rngs)
        self.scale = scale

    def __call__(self, x, *, train, keys=None):
        x = x.reshape(x.shape[0], -1)
        return jax.nn.sigmoid(self.scale * self.second(jax.nn.relu(self.first(x))))

class Forgetful(Net):
    def __init__(self, *, rngs: nnx.Rngs):
        super().__init__(rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
"""


@quick
def test_a_users_own_model(user_module):
    user_module("own_net", USER_MODEL)
    model, (params, variables) = built("own_net:Net", width=3, scale=2)
    assert count_parameters(params) == 784 * 3 + 3 + 3 * 10 + 10
    assert model.output_activation == "sigmoid"
    outputs, _ = applied(model, params, variables, train=True)
    assert outputs.shape == (3, 10)
    assert 0.0 <= float(outputs.min()) <= float(outputs.max()) <= 1.0


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("mpl", {}, "config.model.name: there is no 'mpl'; did you mean 'mlp'"),
        ("mlp", {"hiden": (3,)}, "config.model: there is no field 'hiden'; did you mean 'hidden'"),
        ("mlp", {"rngs": 1}, "config.model: there is no field 'rngs'"),
        ("mlp", {"hidden": ("a",)}, r"config.model.hidden\[0\]: expected int, got 'a'"),
        ("mlp", {"dropout": "x"}, "config.model.dropout: expected float, got 'x'"),
        ("cnn", {"kernel": (3, 3, 3)}, "config.model.kernel: give one value, or 2"),
        ("cnn", {"features": (1,) * 5}, "nothing is left of the image after block 5"),
        ("no_such_module:Net", {}, "config.model.name: cannot import 'no_such_module'"),
        ("wrong_net:Nett", {}, "wrong_net has no 'Nett'; did you mean 'Net'"),
        ("wrong_net:Net", {"widht": 3}, "there is no field 'widht'; did you mean 'width'"),
        ("wrong_net:Net", {"width": "3"}, "config.model.width: expected int"),
        ("wrong_net:Forgetful", {}, "Forgetful keeps random keys of its own"),
    ],
)
def test_a_model_that_cannot_be_built_says_why(user_module, name, keywords, message):
    user_module("wrong_net", USER_MODEL)
    with pytest.raises(UserError, match=message):
        models.build(Choice(name, keywords))


def test_an_import_that_fails_inside_the_users_module_is_shown_as_it_is(user_module):
    user_module("broken_net", "import no_such_module_either\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_either"):
        models.build(Choice("broken_net:Net"))


@quick
def test_initial_weights_are_a_function_of_the_key_alone():
    model, (params, _) = built("mlp", hidden=(3,))
    again, _ = jax.jit(model.init)(jax.random.key(0))
    other, _ = jax.jit(model.init)(jax.random.key(1))
    kernels = [p["layers"]["dense_1"]["kernel"] for p in (params, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])
