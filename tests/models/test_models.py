import functools
import hashlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mnist_jax import models
from mnist_jax.config import Choice, Config
from mnist_jax.data import Spec
from mnist_jax.errors import UserError
from mnist_jax.models.outputs import normalised, probabilities
from tests.datasets import MNIST
from tests.models import plain

pytestmark = pytest.mark.usefixtures("strict_dtypes")
quick = pytest.mark.usefixtures("quick_compiles")

IMAGES = np.random.default_rng(0).uniform(size=(3, 28, 28, 1)).astype(np.float32)


def count_parameters(params) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def built(name: str, dtype: str = "float32", **keywords):
    """A model and its `(params, variables)`."""
    model = models.build(Choice(name, keywords), MNIST, dtype)
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
    model = models.build(Choice("mlp", {"hidden": hidden}), MNIST)
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
    ],
)
def test_cnn_variants(keywords, parameters):
    model = models.build(Choice("cnn", keywords), MNIST)
    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    assert count_parameters(params) == parameters
    outputs, _ = jax.eval_shape(
        lambda p, v: model.apply(p, v, IMAGES, train=False), params, variables
    )
    assert outputs.shape == (3, 10)


def test_batch_norm_adds_a_mean_and_a_variance_for_each_feature():
    keywords = {"features": (3,), "dense": (5,), "normalisation": "batch"}
    model = models.build(Choice("cnn", keywords), MNIST)
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
@pytest.mark.slow
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
    model = models.build(Choice("cnn", keywords), MNIST, dtype)
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
        models.build(Choice(name, keywords), MNIST)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module_either\n", r"broken_net.py:1: ModuleNotFoundError: .*either"),
        ("x = 1\ndef f(:\n", r"broken_net.py:2: SyntaxError: "),
        ("\nraise SystemExit\n", r"broken_net.py:2: SystemExit"),
        ("def __getattr__(name):\n    return 1 / 0\n", r"broken_net.py:2: ZeroDivisionError"),
    ],
)
def test_a_module_of_the_users_that_fails_is_one_message_with_its_line(
    user_module, source, message
):
    user_module("broken_net", source)
    with pytest.raises(UserError, match=f"^config.model.name: .*{message}"):
        models.build(Choice("broken_net:Net"), MNIST)


@quick
def test_initial_weights_are_a_function_of_the_key_alone():
    model, (params, _) = built("mlp", hidden=(3,))
    again, _ = jax.jit(model.init)(jax.random.key(0))
    other, _ = jax.jit(model.init)(jax.random.key(1))
    kernels = [p["layers"]["dense_1"]["kernel"] for p in (params, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])


COLOUR = Spec((20, 33, 3), tuple("abcde"))
SHAPES = [
    Spec((28, 28, 1), tuple(map(str, range(47)))),
    Spec((32, 32, 3), tuple("abcde")),
    COLOUR,
    Spec((9, 70, 4), ("one", "other")),
]


@pytest.mark.parametrize("spec", SHAPES, ids=lambda spec: str(spec.image_shape))
@pytest.mark.parametrize(
    "choice",
    [
        Choice("mlp"),
        Choice("mlp", {"hidden": ()}),
        Choice("cnn"),
        Choice("cnn", {"padding": "VALID", "kernel": (4, 2), "stride": (2, 1), "pooling": "none"}),
        Choice("cnn", {"features": (3,), "pooling": "mean", "dense": ()}),
    ],
    ids=str,
)
def test_shapes_come_from_the_data(spec, choice):
    model = models.build(choice, spec)
    models.check_outputs(model)
    assert (model.image_shape, model.num_classes) == (spec.image_shape, spec.num_classes)
    weights = jax.eval_shape(model.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, *spec.image_shape), jnp.float32)
    outputs, _ = jax.eval_shape(functools.partial(model.apply, train=False), *weights, images)
    assert outputs.shape == (2, spec.num_classes)


def test_the_first_layer_sees_every_pixel_of_every_channel():
    def first(choice):
        params, _ = jax.eval_shape(models.build(choice, COLOUR).init, jax.random.key(0))
        return {name: layer["kernel"].shape for name, layer in params["layers"].items()}

    assert first(Choice("mlp", {"hidden": (7,)})) == {
        "dense_1": (20 * 33 * 3, 7),
        "output": (7, 5),
    }
    assert first(Choice("cnn", {"features": (2,), "dense": ()})) == {
        "conv_1": (3, 3, 3, 2),
        "output": (10 * 16 * 2, 5),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "pooling"), [(2, "none"), (3, "max"), (5, "max")])
def test_a_cnn_of_other_shapes_and_its_gradient_are_those_of_lax(monkeypatch, kernel, pooling):
    choice = Choice("cnn", {"features": (4,), "dense": (), "kernel": (kernel,), "pooling": pooling})
    model = models.build(choice, COLOUR)
    params, variables = jax.jit(model.init)(jax.random.key(0))
    pixels = np.random.default_rng(1).uniform(size=(4, *COLOUR.image_shape))
    images = jnp.asarray(pixels, jnp.float32)

    def loss(params):
        outputs, _ = model.apply(params, variables, images, train=True)
        return -jax.nn.log_softmax(outputs)[:, 1].mean(), outputs

    def compute():
        return jax.jit(jax.value_and_grad(lambda params: loss(params), has_aux=True))(params)

    ours = compute()
    plain.compute_by_lax(monkeypatch)
    for found, expected in zip(*map(jax.tree.leaves, (ours, compute())), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_the_data_say_may_be_repeated_and_not_contradicted():
    same = {"num_classes": 5, "image_shape": (20, 33, 3)}
    model, bare = (models.build(Choice("mlp", said), COLOUR) for said in (same, {}))
    start, plain_start = (jax.jit(m.init)(jax.random.key(0)) for m in (model, bare))
    assert jax.tree.all(jax.tree.map(np.array_equal, start, plain_start))
    for name, wrong in (("num_classes", 10), ("image_shape", (28, 28, 1))):
        with pytest.raises(UserError, match=rf"config.model.{name}: is .* but the data set has"):
            models.build(Choice("mlp", {name: wrong}), COLOUR)


def test_resolving_needs_no_data_and_writes_out_nothing_of_them():
    resolved = models.resolve(Config(model=Choice("mlp", {"hidden": [3]}))).model
    assert resolved.keywords["hidden"] == (3,)
    assert {"image_shape", "num_classes"}.isdisjoint(resolved.keywords)
    said = models.resolve(Config(model=Choice("cnn", {"num_classes": 10}))).model
    assert said.keywords["num_classes"] == 10


OTHER_SHAPES = """
import math
import jax.numpy as jnp
from flax import nnx

class Net(nnx.Module):
    def __init__(self, inputs, outputs, rngs):
        self.only = nnx.Linear(inputs, outputs, rngs=rngs)

    def __call__(self, x, *, train, keys=None):
        return self.only(x.reshape(x.shape[0], -1))

class Told(Net):
    def __init__(self, *, image_shape, num_classes: int = 10, rngs):
        super().__init__(math.prod(image_shape), num_classes, rngs)

class Fixed(Net):
    def __init__(self, *, outputs: int = 10, rngs):
        super().__init__(20 * 33 * 3, outputs, rngs)

class Small(Net):
    def __init__(self, *, rngs):
        super().__init__(784, 5, rngs)

class Grid(Fixed):
    def __call__(self, x, *, train, keys=None):
        return super().__call__(x, train=train)[:, None]
"""


def test_a_users_class_receives_what_it_asks_for(user_module):
    user_module("shaped_net", OTHER_SHAPES)
    model = models.build(Choice("shaped_net:Told"), COLOUR)
    models.check_outputs(model)
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    assert params["only"]["kernel"].shape == (20 * 33 * 3, 5)
    models.check_outputs(models.build(Choice("shaped_net:Fixed", {"outputs": 5}), COLOUR))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Fixed", r"Fixed gives outputs of shape \(1, 10\).*5 classes; expected \(1, 5\)"),
        ("Grid", r"outputs of shape \(1, 1, 10\) .*expected \(1, 5\)"),
        ("Small", r"(?s)Small fails on an image of shape \(20, 33, 3\).*image_shape receives it"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_one_message(user_module, name, message):
    user_module("unfit_net", OTHER_SHAPES)
    model = models.build(Choice(f"unfit_net:{name}"), COLOUR)
    with pytest.raises(UserError, match=message) as caught:
        models.check_outputs(model)
    if name == "Small":
        assert "unfit_net.py:11 in __call__" in str(caught.value)


def test_outputs_that_are_no_probabilities_become_some():
    outputs = jnp.asarray([[0.0, 0.0], [1.0, 3.0], [-1.0, 2.0]])
    np.testing.assert_allclose(normalised(outputs)[1], [0.25, 0.75])
    p = probabilities(outputs, output_activation="linear")
    np.testing.assert_allclose(p.sum(1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(p[0], [0.5, 0.5], rtol=1e-6)
    assert float(p.min()) >= 0.0


@pytest.mark.parametrize(
    ("name", "expected"), [("mlp", "4e12a4f479a67e98"), ("cnn", "e04128cd054689ab")]
)
def test_initial_weights_for_mnist_stay_as_they_were_to_the_bit(name, expected):
    """Before shapes came from the data; a checkpoint of then is one of now."""
    model = models.build(Choice(name), MNIST)
    sha256 = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(jax.jit(model.init)(jax.random.key(3))):
        sha256.update(str(path).encode() + np.asarray(leaf).tobytes())
    assert sha256.hexdigest().startswith(expected)
