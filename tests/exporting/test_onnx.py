"""Networks as ONNX graphs, run by ONNX Runtime."""

import jax
import numpy as np
import onnx
import pytest
from jax import export as jax_export

from mnist_jax.errors import UserError
from mnist_jax.exporting import onnx_file, onnx_graph
from mnist_jax.exporting.operations import operations
from mnist_jax.exporting.plain import for_any_number
from tests.exporting import networks


def graph(function, shape) -> onnx.ModelProto:
    """The graph of a function of any number of arrays of this shape."""
    (batch,) = jax_export.symbolic_shape("batch")
    return onnx_graph.model(operations(function, (batch, *shape), onnx_graph.READER), {})


def run(model: onnx.ModelProto):
    return onnx_file.reader(model.SerializeToString())


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_a_network_gives_the_probabilities_of_jax(name):
    found = for_any_number(
        networks.function(name),
        (28, 28, 1),
        lambda its, images: run(graph(its, images.shape[1:])),
        name,
    )
    images, expected = networks.images(), networks.expected(name)
    for count in (1, 20):  # any number of images
        np.testing.assert_allclose(found(images[:count]), expected[:count], atol=1e-6)


@pytest.mark.parametrize("name", networks.FUNCTIONS)
def test_an_operation_gives_the_numbers_of_jax(name):
    function, x = networks.of_numbers(name), networks.numbers()
    found = run(graph(function, x.shape[1:]))(x)
    np.testing.assert_allclose(found, networks.expected_numbers(name), rtol=1e-5, atol=1e-5)


def test_a_function_for_one_image_runs_mapped_over_images():
    """The same operations with one more axis, which JAX puts where it likes."""
    x = networks.numbers()
    for name in ("conv", "conv, images third", "reduce_window_max", "dot, of each image"):
        function = networks.of_numbers(name)
        mapped = jax.vmap(lambda its, function=function: function(its[None])[0])
        found = run(graph(mapped, x.shape[1:]))(x)
        expected = networks.expected_numbers(name)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_graph_is_one_that_a_person_would_write():
    model = graph(networks.function("relu"), (28, 28, 1))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds[:6] == ["Reshape", "MatMul", "Add", "Max", "MatMul", "Add"]
    (image,) = model.graph.input
    dimensions = image.type.tensor_type.shape.dim
    assert [its.dim_param or its.dim_value for its in dimensions] == ["batch", 28, 28, 1]
    assert [its.version for its in model.opset_import] == [13]


def test_each_node_has_a_name_and_nothing_is_there_for_nothing():
    model = graph(networks.of_numbers("broadcast what is added up"), (4, 6, 3))
    kinds = [node.op_type for node in model.graph.node]
    assert "Sub" in kinds
    assert "Expand" not in kinds
    model = graph(networks.function("cnn"), (28, 28, 1))
    names = [node.name for node in model.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    used = [name for node in model.graph.node for name in node.input]
    assert all(constant.name in used for constant in model.graph.initializer)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x: jax.numpy.sort(x), "the operation 'sort'"),
        (lambda x: jax.numpy.fft.fft(x).real, "the operation 'fft'"),
        (lambda x: jax.lax.pad(x, 0.0, ((1, 0, 0), (0, 0, 0))), "an array of length batch"),
    ],
)
def test_what_cannot_be_exported_is_named(function, what):
    with pytest.raises(UserError, match=f"needs {what}.*, which the export to ONNX does not have"):
        graph(lambda x: function(x.reshape(-1, 6)), (2, 3))
