import pytest

from mnist_jax import models
from mnist_jax.analysis.network.summary import Layer, layers, summary
from mnist_jax.config import Choice
from mnist_jax.data import Spec
from tests.datasets import MNIST


def build(name: str, **keywords):
    return models.build(Choice(name, keywords), MNIST)


def test_layers_of_an_mlp_in_the_order_of_their_calls():
    assert layers(build("mlp", hidden=(128, 32), dropout=0.1)) == [
        Layer("flatten", "Flatten", (784,), 0),
        Layer("dense_1", "Dense", (128,), 100480),
        Layer("dropout_1", "Dropout", (128,), 0),
        Layer("dense_2", "Dense", (32,), 4128),
        Layer("dropout_2", "Dropout", (32,), 0),
        Layer("output", "Dense", (10,), 330),
    ]


def test_layers_of_a_cnn():
    assert layers(build("cnn", features=(4, 8), kernel=(5, 3), stride=(2, 1), dense=())) == [
        Layer("conv_1", "Conv", (7, 7, 4), 104),
        Layer("conv_2", "Conv", (3, 3, 8), 296),
        Layer("flatten", "Flatten", (72,), 0),
        Layer("output", "Dense", (10,), 730),
    ]


def test_layers_for_other_images_and_classes():
    spec = Spec((32, 20, 3), tuple("abcde"))
    assert layers(models.build(Choice("cnn", {"features": (4,), "dense": ()}), spec)) == [
        Layer("conv_1", "Conv", (16, 10, 4), 112),
        Layer("flatten", "Flatten", (640,), 0),
        Layer("output", "Dense", (5,), 3205),
    ]


def test_more_than_ten_layers_keep_their_order():
    names = [layer.name for layer in layers(build("mlp", hidden=(3,) * 11))]
    assert names == ["flatten", *(f"dense_{i + 1}" for i in range(11)), "output"]


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
def test_text_has_a_row_a_layer_and_the_totals(normalisation):
    model = build("cnn", features=(3,), dense=(5,), normalisation=normalisation)
    text = summary(model)
    extra = 0 if normalisation == "none" else 2 * (3 + 5)
    lines = text.splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters"]
    assert "conv_1   Conv     14 x 14 x 3" in text
    total = 30 + (14 * 14 * 3 + 1) * 5 + 60 + extra
    assert f"CNN: {total:,} parameters" in lines[-1]
    assert ("16 other variables" in lines[-1]) == (normalisation == "batch")
    assert len({len(line) for line in lines[:-1]}) == 1  # a straight right edge


USER_MODEL = """
import jax
import jax.numpy as jnp
from flax import nnx

class Block(nnx.Module):
    def __init__(self, inputs, outputs, rngs):
        self.linear = nnx.Linear(inputs, outputs, rngs=rngs)

    def __call__(self, x):
        return jax.nn.relu(self.linear(x))

class Net(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.second = Block(20, 10, rngs)
        self.first = Block(784, 20, rngs)
        self.again = Block(10, 10, rngs)
        self.scale = nnx.Param(jnp.ones((10,)))

    def __call__(self, x, *, train, keys=None):
        x = self.second(self.first(x.reshape(x.shape[0], -1)))
        return self.again(self.again(x)) * self.scale[...][None]
"""


def test_a_users_own_model_by_its_outermost_parts_each_once(user_module):
    user_module("summary_net", USER_MODEL)
    model = build("summary_net:Net")
    assert layers(model) == [
        Layer("first", "Block", (20,), 15700),
        Layer("second", "Block", (10,), 210),
        Layer("again", "Block", (10,), 110),
    ]
    text = summary(model)
    assert any(line.split() == ["(itself)", "Net", "10"] for line in text.splitlines())
    assert text.splitlines()[-1] == "Net: 16,030 parameters"
