import re

import pytest

from mnist_jax import models
from mnist_jax.analysis.network.summary import summary
from mnist_jax.config import Choice
from mnist_jax.data import Spec
from tests.datasets import MNIST


def build(name: str, **keywords):
    return models.build(Choice(name, keywords), MNIST)


def layers(model) -> list[tuple[str, ...]]:
    """The cells of each row of the summary, between its rules."""
    rows = summary(model).split("\n---")[1].splitlines()[1:]
    return [tuple(re.split(r"  +", row.strip())) for row in rows]


def test_layers_of_an_mlp_in_the_order_of_their_calls():
    assert layers(build("mlp", hidden=(128, 32), dropout=0.1)) == [
        ("flatten", "Flatten", "784", "0"),
        ("dense_1", "Dense", "128", "100,480"),
        ("dropout_1", "Dropout", "128", "0"),
        ("dense_2", "Dense", "32", "4,128"),
        ("dropout_2", "Dropout", "32", "0"),
        ("output", "Dense", "10", "330"),
    ]


def test_layers_of_a_cnn():
    assert layers(build("cnn", features=(4, 8), kernel=(5, 3), stride=(2, 1), dense=())) == [
        ("conv_1", "Conv", "7 x 7 x 4", "104"),
        ("conv_2", "Conv", "3 x 3 x 8", "296"),
        ("flatten", "Flatten", "72", "0"),
        ("output", "Dense", "10", "730"),
    ]


def test_layers_for_other_images_and_classes():
    spec = Spec((32, 20, 3), tuple("abcde"))
    assert layers(models.build(Choice("cnn", {"features": (4,), "dense": ()}), spec)) == [
        ("conv_1", "Conv", "16 x 10 x 4", "112"),
        ("flatten", "Flatten", "640", "0"),
        ("output", "Dense", "5", "3,205"),
    ]


def test_more_than_ten_layers_keep_their_order():
    names = [layer[0] for layer in layers(build("mlp", hidden=(3,) * 11))]
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
        ("first", "Block", "20", "15,700"),
        ("second", "Block", "10", "210"),
        ("again", "Block", "10", "110"),
        ("(itself)", "Net", "10"),
    ]
    assert summary(model).splitlines()[-1] == "Net: 16,030 parameters"
