"""What a user's own code gives is looked at before anything is trained."""

import pytest

from mnist_jax.config import parse
from mnist_jax.data import Spec
from mnist_jax.errors import UserError
from mnist_jax.training import task

MNIST = Spec(image_shape=(28, 28, 1), class_names=tuple("0123456789"))
OWN = """
import jax.numpy as jnp
from flax import nnx

def good(outputs, targets, *, output_activation):
    return jnp.abs(outputs).sum(axis=-1) + (targets * 0 if targets.ndim == 1 else 0.0)

def mean(outputs, targets, *, output_activation):
    return outputs.mean()

def column(outputs, targets, *, output_activation):
    return outputs[:, :1]

def pair(outputs, targets, *, output_activation):
    return outputs[:, 0], outputs[:, 1]

def number(outputs, targets, *, output_activation):
    return 1.0

def unasked(outputs, targets):
    return outputs[:, 0]

def raises(outputs, targets, *, output_activation):
    return outputs @ outputs

class Nine(nnx.Module):
    def __init__(self, *, rngs):
        self.output = nnx.Linear(784, 9, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        return self.output(images.reshape(len(images), -1))
"""
WRONG = [
    ("mean", r"returns .*shape=\(\)"),
    ("column", r"returns .*shape=\(11, 1\)"),
    ("pair", r"returns \("),
    ("number", "returns "),
    ("unasked", "fails: TypeError: .*output_activation"),
    ("raises", "fails: TypeError"),
]


@pytest.fixture(autouse=True)
def own(user_module):
    user_module("own_code", OWN)


def check(spec=MNIST, **values):
    return task.check(task.build(parse(values), spec, steps_per_epoch=10))


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_what_is_right_passes(model):
    model = {"name": model, "output_activation": "sigmoid"}
    check(model=model, metrics=("top_3", "brier", "own_code:good"))
    other = Spec(image_shape=(12, 10, 3), class_names=("a", "b"))
    check(other, model=model, metrics=("top_3", "brier"))


@pytest.mark.parametrize(("name", "message"), WRONG)
def test_a_metric_that_is_none_is_refused(name, message):
    with pytest.raises(UserError, match=f"^config.metrics: {name} {message}") as error:
        check(metrics=(f"own_code:{name}",))
    assert f"it is called as {name}(outputs [11, 10], targets [11], output_activation=" in str(
        error.value
    )
    assert "must return an array [11]" in str(error.value)


@pytest.mark.parametrize(("name", "message"), WRONG)
def test_a_loss_that_is_none_is_refused(name, message):
    with pytest.raises(UserError, match=f"^config.loss: own_code:{name} {message}") as error:
        check(loss=f"own_code:{name}")
    assert f"it is called as {name}(outputs [11, 10], targets [11, 10], " in str(error.value)


def test_a_loss_of_ones_own_passes():
    check(loss="own_code:good")


def test_a_network_of_other_classes_is_refused():
    with pytest.raises(UserError, match=r"config\.model.*\(1, 9\).*10"):
        check(model={"name": "own_code:Nine"})


def test_a_network_for_other_images_is_refused():
    spec = Spec(image_shape=(12, 10, 3), class_names=tuple("123456789"))
    with pytest.raises(UserError, match=r"\(12, 10, 3\)"):
        check(spec, model={"name": "own_code:Nine"})
