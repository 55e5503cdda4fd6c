import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_jax.config import Choice
from mnist_jax.errors import UserError
from mnist_jax.models.outputs import probabilities
from mnist_jax.training.loss import cross_entropy, find_loss, smooth_labels

pytestmark = pytest.mark.usefixtures("strict_dtypes", "quick_compiles")


def loss(outputs, label, output_activation):
    outputs = jnp.array([outputs], jnp.float32)
    targets = jax.nn.one_hot(jnp.array([label]), outputs.shape[-1])
    return float(cross_entropy(outputs, targets, output_activation=output_activation)[0])


@pytest.mark.parametrize(
    ("outputs", "label", "expected"),
    [
        ([0.05, 0.95, 0.0], 1, 0.0512933),  # -log 0.95: keras.io's own example
        ([0.1, 0.8, 0.1], 2, 2.3025851),  # -log 0.1: the same
        ([0.9, 0.9, 0.0], 0, 0.6931472),  # made to sum to 1: -log 0.5
        ([0.2, 0.2, 0.4], 2, 0.6931472),  # the same
        ([0.5, 0.5, 0.0], 2, 16.1180957),  # clipped: -log 1e-7
        ([0.0, 1.0, 0.0], 1, 1.1920930e-7),  # clipped: -log of the float below 1
    ],
)
@pytest.mark.parametrize("output_activation", ["sigmoid", "softplus", "linear"])
def test_outputs_that_are_no_logits_are_normalised_and_clipped(
    outputs, label, expected, output_activation
):
    assert loss(outputs, label, output_activation) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("logits", "label", "expected"),
    [
        ([1.0, 2.0, 3.0], 2, 0.4076060),  # log(1 + e^-1 + e^-2)
        ([1.0, 2.0, 3.0], 0, 2.4076060),
        ([0.0, 0.0, 0.0], 1, 1.0986123),  # log 3
        ([200.0, 0.0, 0.0], 1, 200.0),  # no overflow, nothing clipped
    ],
)
def test_a_softmax_output_is_given_as_logits(logits, label, expected):
    assert loss(logits, label, "softmax") == pytest.approx(expected, rel=1e-6)


def test_loss_of_logits_is_minus_log_of_the_probabilities_that_are_predicted():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(8, 10)), jnp.float32)
    targets = jax.nn.one_hot(jnp.arange(8), 10)
    p = probabilities(logits, output_activation="softmax")
    expected = -jnp.log((p * targets).sum(1))
    losses = cross_entropy(logits, targets, output_activation="softmax")
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_gradient_of_logits_is_probability_minus_target():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)), jnp.float32)
    targets = smooth_labels(jnp.arange(4), 5, 0.1)
    gradient = jax.grad(lambda z: cross_entropy(z, targets, output_activation="softmax").sum())
    expected = probabilities(logits, output_activation="softmax") - targets
    np.testing.assert_allclose(gradient(logits), expected, atol=1e-6)


@pytest.mark.parametrize("output_activation", ["softmax", "sigmoid", "linear", "tanh"])
def test_probabilities_sum_to_one(output_activation):
    outputs = jnp.array([[0.2, 0.9, 0.4], [-1.0, 0.5, 0.1], [0.0, 0.0, 0.0]])
    p = probabilities(outputs, output_activation=output_activation)
    assert (p > 0.0).all()
    np.testing.assert_allclose(p.sum(1), np.ones(3), rtol=1e-6)


def test_smoothed_labels_keep_their_sum():
    targets = smooth_labels(jnp.array([1, 3]), 4, 0.2)
    expected = [[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]]
    np.testing.assert_allclose(targets, expected, rtol=1e-6)
    np.testing.assert_array_equal(smooth_labels(jnp.array([1]), 3, 0.0), [[0.0, 1.0, 0.0]])


def test_loss_of_smoothed_labels_by_hand():
    targets = smooth_labels(jnp.array([2]), 3, 0.3)  # 0.1, 0.1, 0.8
    losses = cross_entropy(jnp.array([[1.0, 2.0, 3.0]]), targets, output_activation="softmax")
    assert float(losses[0]) == pytest.approx(0.1 * 2.4076060 + 0.1 * 1.4076060 + 0.8 * 0.4076060)


FOCAL = """
import jax.numpy as jnp

def focal(logits, targets, *, output_activation, gamma: float = 2.0, weights=None):
    p = (jnp.exp(logits) / jnp.exp(logits).sum(axis=-1, keepdims=True) * targets).sum(axis=-1)
    return -((1.0 - p) ** gamma) * jnp.log(p)

number = 3.0
"""


@pytest.fixture
def own_loss(user_module):
    user_module("own_loss", FOCAL)


@pytest.mark.parametrize(
    ("keywords", "factor"), [({}, 0.75**2), ({"gamma": 1}, 0.75), ({"gamma": 0.0}, 1.0)]
)
def test_a_users_own_loss_takes_keywords(own_loss, keywords, factor):
    loss = find_loss(Choice("own_loss:focal", keywords))
    logits = jnp.log(jnp.array([[1.0, 3.0]]))  # probabilities of 1/4 and 3/4
    losses = loss(logits, jnp.array([[1.0, 0.0]]), output_activation="softmax")
    np.testing.assert_allclose(losses, [factor * 1.3862944], rtol=1e-6)  # log 4


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice("own_loss:focal", {"gama": 1.0}), "there is no field 'gama'; .*mean 'gamma'"),
        (Choice("own_loss:focal", {"gamma": "2"}), ".gamma: expected float, got '2'"),
        (Choice("own_loss:focal", {"targets": 1}), "there is no field 'targets'"),
        (Choice("own_loss:focal", {"output_activation": 1}), "no field 'output_activation'"),
        (Choice("own_loss:number"), "'own_loss:number' is not a function, but 3.0"),
        (Choice("cross_entropy", {"gamma": 1.0}), "there is no field 'gamma'; known: none"),
    ],
)
def test_keywords_that_a_loss_does_not_take_are_refused(own_loss, choice, message):
    with pytest.raises(UserError, match=f"^config.loss.*{message}"):
        find_loss(choice)


def test_an_unknown_loss_says_which_was_meant():
    with pytest.raises(UserError, match=r"config.loss: .*did you mean 'cross_entropy'"):
        find_loss(Choice("crossentropy"))
