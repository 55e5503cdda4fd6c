"""A network as a list of operations; what the page makes of them is tested in a browser."""

import base64
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_jax import models
from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.exporting import interpreter
from mnist_jax.exporting.operations import WRITERS, operations
from mnist_jax.exporting.plain import classify
from tests.datasets import MNIST
from tests.exporting import networks

NETWORKS = {
    "mlp": {"name": "mlp", "hidden": (8,), "dropout": 0.5, "normalisation": "batch"},
    "cnn": {"name": "cnn", "features": (2, 3), "dense": (4,), "pooling": "max"},
}


def written(**model):
    its = models.build(models.resolve(parse({"model": model})).model, MNIST, "float32")
    params, variables = its.init(jax.random.key(0))
    return operations(classify(its, {"params": params, "variables": variables}), (1, 28, 28, 1))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_is_the_operation_that_its_name_promises(name):
    names = [step["op"] for step in written(**NETWORKS[name]).steps]
    assert names.count("conv_general_dilated") == (2 if name == "cnn" else 0)
    assert names.count("dot_general") == 2
    assert "optimization_barrier" not in names


def test_what_the_image_does_not_change_is_computed_once():
    """Mean, variance and scale of the normalisation become numbers."""
    names = [step["op"] for step in written(**NETWORKS["mlp"]).steps]
    assert "rsqrt" not in names


def test_json_holds_every_number_and_no_reference_to_what_comes_later():
    its = json.loads(json.dumps(written(**NETWORKS["cnn"]).to_json(), allow_nan=False))
    values = np.frombuffer(base64.b64decode(its["values"]), "<f4")
    assert len(values) == sum(int(np.prod(shape)) for shape in its["constants"])
    first = 1 + len(its["constants"])
    for number, step in enumerate(its["steps"], start=first):
        assert all(0 <= known < number for known in step["inputs"])
    assert its["output"] == first + len(its["steps"]) - 1
    assert its["input"] == [1, 28, 28, 1]


def test_a_call_on_what_the_image_does_not_change_is_computed_now():
    scale = jnp.array([-1.0, 2.0])
    its = operations(lambda x: x * jax.nn.relu(scale), (2,))
    assert [step["op"] for step in its.steps] == ["mul"]


def test_constants_are_stored_once():
    weights = jnp.arange(4.0)
    its = operations(lambda x: (x + weights) * weights, (4,))
    assert len(its.constants) == 1


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_the_operations_of_a_network_give_the_probabilities_of_jax(name):
    found = interpreter.load(networks.written(name).to_json())(networks.images())
    np.testing.assert_allclose(found, networks.expected(name), atol=1e-6)


@pytest.mark.parametrize("name", networks.FUNCTIONS)
def test_an_operation_gives_the_numbers_of_jax(name):
    function, x = networks.of_numbers(name), networks.numbers()
    its = operations(function, (1, *x.shape[1:])).to_json()
    found = interpreter.load(json.loads(json.dumps(its)))(x)
    np.testing.assert_allclose(found, networks.expected_numbers(name), rtol=1e-5, atol=1e-5)


def test_every_operation_is_tried():
    tried = set()
    for name in networks.FUNCTIONS:
        its = operations(networks.of_numbers(name), (1, 4, 6, 3))
        tried |= {step["op"] for step in its.steps}
    assert set(WRITERS) - tried == {"expand_dims"}  # JAX has no function that makes it


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: jnp.sort(x), "sort"),
        (lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y * x, x), "scan"),
        (lambda x: jnp.fft.fft(x).real, "fft"),
        (lambda x: (100 * x).astype(jnp.int8) + x.astype(jnp.int32), "convert_element_type"),
        (lambda x: jax.lax.argmax(x, 0, jnp.uint16), "argmax"),
        (lambda x: jax.lax.reduce(x, 0.0, lambda a, b: a + 2 * b, (0,)), "reduce"),
    ],
)
def test_an_operation_that_the_page_lacks_is_named(function, name):
    with pytest.raises(
        UserError, match=f"operation '{name}'( on u?int\\d+)?, which the page does not have"
    ):
        operations(function, (4,))
