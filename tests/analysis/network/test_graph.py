import itertools
import re

import jax
import pytest
from flax import nnx

from mnist_jax import config_file, models
from mnist_jax.analysis.network.graph import Graph, Node, find_graph
from mnist_jax.config import Choice
from tests.commands import ROOT
from tests.datasets import MNIST

README = (ROOT / "README.md").read_text()

NETS = """
import jax
import jax.numpy as jnp
from flax import nnx
from mnist_jax.models.layers import BatchNorm, Dense, Dropout, Flatten, Sequence

def flat(images):
    return images.reshape(len(images), -1)

class Net(nnx.Module):
    def __init__(self, *, rngs):
        self.a = nnx.Linear(784, 20, rngs=rngs)
        self.b = nnx.Linear(20, 20, rngs=rngs)
        self.c = nnx.Linear(20, 20, rngs=rngs)
        self.output = nnx.Linear(20, 10, rngs=rngs)
        self.build(rngs)

    def build(self, rngs):
        pass

    def __call__(self, images, *, train, keys=None):
        return self.output(self.middle(self.a(flat(images))))

class Twice(Net):
    def middle(self, x):
        return self.b(self.b(x))

class Concatenated(Net):
    def middle(self, x):
        x = jnp.concatenate([nnx.relu(self.b(x)), jnp.tanh(self.c(x))], axis=-1)
        return x[:, :20]

class Gated(Net):
    def middle(self, x):
        gate = jax.nn.sigmoid(self.b(x))
        return gate * self.c(x) + (1 - gate) * x

class Summed(Net):
    def middle(self, x):
        return sum([x, self.b(x), self.c(x), self.b(self.b(x))])

class OwnParameters(Net):
    def build(self, rngs):
        self.scale = nnx.Param(jnp.ones(20))
        self.unused = nnx.Param(jnp.ones(3))

    def middle(self, x):
        return self.c(x * self.scale[...][None])

class Tied(Net):
    def middle(self, x):
        return self.b(x) @ self.b.kernel[...].T

class DeadEnd(Net):
    def middle(self, x):
        self.b(x)
        x + self.c(x)
        return x

class Pair(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(20, 20, rngs=rngs)

    def __call__(self, x, *, other, flag):
        y = self.linear(x) + other
        return {"first": y, "second": y.sum(axis=-1, keepdims=True)}, flag

class SeveralInputs(Net):
    def build(self, rngs):
        self.pair = Pair(rngs)

    def middle(self, x):
        outputs, _ = self.pair(self.b(x), other=self.c(x), flag=True)
        return outputs["first"] * outputs["second"]

class Outer(Net):
    def middle(self, x):
        return (self.b(x)[:, :, None] @ self.c(x)[:, None, :])[:, 0]

class Nested(Net):
    def middle(self, x):
        x = jax.jit(lambda x: self.b(x))(x)
        x = jax.checkpoint(lambda x: self.c(x))(x)
        x, _ = jax.lax.scan(lambda x, _: (self.b(x), None), x, None, length=3)
        x = jax.vmap(lambda row: self.c(row))(x)
        return jax.lax.cond(x.sum() > 0, lambda x: self.b(x), lambda x: x, x)

class Loop(Net):
    def middle(self, x):
        return jax.lax.while_loop(lambda x: x.sum() > 0, lambda x: x + self.b(x), self.c(x))

class Broken(Net):
    def middle(self, x):
        raise ValueError("broken")

class Silent(nnx.Module):
    def __call__(self, x):
        self.seen = None

class Constant(nnx.Module):
    def __call__(self):
        return jnp.ones((1, 20))

class Oddities(Net):
    def build(self, rngs):
        self.silent, self.constant = Silent(), Constant()

    def middle(self, x):
        self.silent(x)
        one = jax.lax.cond(x.sum() > 0, lambda: 1.0, lambda: 2.0) * x[:1, :1]
        return self.b(x) * one + self.constant()

class Everything(nnx.Module):
    def __init__(self, *, rngs):
        self.flatten = Flatten()
        self.trunk = Sequence({
            "first": Dense(784, 20, normalisation="batch", rngs=rngs),
            "dropout": Dropout(0.1, name="dropout"),
        })
        self.norm = nnx.BatchNorm(20, rngs=rngs)
        self.tail = nnx.Sequential(nnx.Linear(20, 20, rngs=rngs), nnx.relu,
                                   nnx.Linear(20, 10, rngs=rngs))

    def __call__(self, images, *, train, keys=None):
        x = self.trunk(self.flatten(images, train=train), train=train, keys=keys)
        return self.tail(self.norm(x, use_running_average=not train))
"""


@pytest.fixture
def graph_of(user_module):
    """A function from the name of a network above to its graph."""
    user_module("graph_nets", NETS)
    return lambda name: find_graph(models.build(Choice(f"graph_nets:{name}"), MNIST))


def arrows(graph: Graph) -> list[str]:
    """Each edge by the names of its ends; a layer's later calls are counted."""
    names = [f"{n.name}{'' if n.call == 1 else f' ({n.call})'}" for n in graph.nodes]
    return [f"{names[source]} > {names[target]}" for source, target in graph.edges]


def chain(*names: str) -> list[str]:
    return [f"{a} > {b}" for a, b in itertools.pairwise(names)]


def named(graph: Graph, name: str) -> Node:
    (node,) = (n for n in graph.nodes if n.name == name and n.call == 1 and n.role != "output")
    return node


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("logistic", ["flatten", "output"]),
        ("mlp", ["flatten", "dense_1", "dropout_1", "dense_2", "dropout_2", "output"]),
        ("cnn", ["conv_1", "conv_2", "flatten", "dense_1", "output"]),
    ],
)
def test_a_plain_network_is_a_chain_from_input_to_logits(name, layers):
    model = models.build(config_file.load(f"configs/{name}.py").model, MNIST)
    graph = find_graph(model)
    assert arrows(graph) == chain("input", *layers, "logits")
    assert [node.role for node in graph.nodes] == ["input", *["layer"] * len(layers), "output"]
    assert sum(node.parameters for node in graph.nodes) == graph.parameters > 0
    assert graph.nodes[0].shape == (28, 28, 1)
    assert graph.nodes[-1].shape == (10,)


def test_what_readme_shows_has_a_way_past_its_second_layer(user_module):
    blocks = re.findall(r"`mine\.py`:\n\n```python\n(.*?)```", README, flags=re.S)
    (source,) = (block for block in blocks if "class Residual" in block)
    user_module("mine", source)
    graph = find_graph(models.build(Choice("mine:Residual"), MNIST))
    assert set(arrows(graph)) == {
        *chain("input", "first", "second", "norm", "add", "dropout", "output", "logits"),
        "first > add",
    }
    assert named(graph, "add") == Node("operation", "add", "", (64,))
    assert named(graph, "norm") == Node("layer", "norm", "BatchNorm", (64,), 128, 128)


def test_a_layer_called_twice_is_there_twice_and_counted_once(graph_of):
    graph = graph_of("Twice")
    assert arrows(graph) == chain("input", "a", "b", "b (2)", "output", "logits")
    first, second = (node for node in graph.nodes if node.name == "b")
    assert (first.parameters, second.parameters, second.call) == (420, 420, 2)
    assert graph.parameters == 784 * 20 + 20 + 2 * 420 + 210  # c is not called


def test_branches_meet_in_a_concatenation(graph_of):
    graph = graph_of("Concatenated")
    assert set(arrows(graph)) == {
        *chain("input", "a", "b", "concatenate", "output", "logits"),
        *chain("a", "c", "concatenate"),
    }
    assert named(graph, "concatenate").shape == (40,)


def test_plain_arithmetic_of_two_layers_is_shown_and_that_of_one_is_not(graph_of):
    names = [node.name for node in graph_of("Gated").nodes if node.role == "operation"]
    assert names == ["multiply", "multiply", "add"]


def test_a_sum_of_several_is_one_node(graph_of):
    graph = graph_of("Summed")
    assert [node.name for node in graph.nodes if node.role == "operation"] == ["add"]
    into = [arrow for arrow in arrows(graph) if arrow.endswith("> add")]
    assert sorted(into) == ["a > add", "b (3) > add", "b > add", "c > add"]


def test_parameters_of_the_network_itself_are_counted_where_they_meet_the_data(graph_of):
    graph = graph_of("OwnParameters")
    assert arrows(graph) == chain("input", "a", "multiply", "c", "output", "logits")
    assert named(graph, "multiply").parameters == 20
    called = sum(node.parameters for node in graph.nodes)
    assert graph.parameters == called + 420 + 3  # b and `unused`


def test_weights_of_a_layer_used_outside_of_it_are_counted_once(graph_of):
    graph = graph_of("Tied")
    assert arrows(graph) == chain("input", "a", "b", "matmul", "output", "logits")
    assert (named(graph, "b").parameters, named(graph, "matmul").parameters) == (420, 0)


def test_a_layer_that_leads_nowhere_is_shown_and_arithmetic_that_does_is_not(graph_of):
    assert set(arrows(graph_of("DeadEnd"))) == {
        *chain("input", "a", "output", "logits"),
        "a > b",
        "a > c",
    }


def test_a_layer_may_have_several_inputs_and_outputs(graph_of):
    graph = graph_of("SeveralInputs")
    assert set(arrows(graph)) == {
        *chain("input", "a", "b", "pair", "output", "logits"),
        *chain("a", "c", "pair"),
    }
    assert named(graph, "pair") == Node("layer", "pair", "Pair", (20,), 420)


def test_shapes_are_those_of_any_batch(graph_of):
    assert named(graph_of("Outer"), "matmul").shape == (20, 20)


def test_layers_called_inside_of_transformations_are_found(graph_of):
    graph = graph_of("Nested")
    expected = chain("input", "a", "b", "c", "b (2)", "c (2)", "b (3)", "cond", "output", "logits")
    assert set(arrows(graph)) == {*expected, "c (2) > cond"}


def test_of_a_loop_one_round_is_shown(graph_of):
    graph = graph_of("Loop")
    assert set(arrows(graph)) == {
        *chain("input", "a", "c", "b", "add", "output", "logits"),
        "c > add",
    }


def test_layers_without_inputs_or_outputs_and_branches_without_operands(graph_of):
    graph = graph_of("Oddities")
    assert set(arrows(graph)) == {
        *chain("input", "a", "b", "multiply", "add", "output", "logits"),
        "a > silent",
        "a > multiply",
        "constant > add",
    }


def test_sequences_are_looked_into_and_other_variables_counted(graph_of):
    graph = graph_of("Everything")
    assert arrows(graph) == chain(
        "input", "flatten", "trunk.first", "trunk.dropout", "norm", "tail.0", "tail.2", "logits"
    )
    assert (named(graph, "norm").variables, named(graph, "trunk.first").variables) == (40, 40)
    assert graph.variables == 80
    assert named(graph, "trunk.dropout").parameters == 0


@pytest.mark.usefixtures("strict_dtypes")
def test_shapes_and_flow_do_not_depend_on_the_type_of_numbers():
    choice = Choice("cnn", {"features": (3,), "normalisation": "batch", "dropout": 0.1})
    narrow = find_graph(models.build(choice, MNIST, "bfloat16"))
    assert narrow == find_graph(models.build(choice, MNIST))


def test_a_network_is_traced_once_and_its_classes_stay_as_they_were(graph_of, monkeypatch):
    call = nnx.Linear.__call__
    model = models.build(Choice("mlp"), MNIST)
    graph = find_graph(model)
    with monkeypatch.context() as patch:
        patch.setattr(jax, "make_jaxpr", None)
        assert find_graph(model) is graph
    graph_of("Twice")
    with pytest.raises(ValueError, match="broken"):
        graph_of("Broken")
    assert nnx.Linear.__call__ is call
