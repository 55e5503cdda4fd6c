"""What is seen of a network: against its weights, and layers computed by hand."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from mnist_jax import models
from mnist_jax.analysis.pca import principal
from mnist_jax.analysis.run import probe
from mnist_jax.analysis.run.evaluation import Predictions
from mnist_jax.analysis.run.insight import CLASSES, WORST, Insight
from mnist_jax.config import Choice
from mnist_jax.data import Spec

SHAPE, NAMES = (6, 5, 1), ("ant", "bee", "cat")
OWN = """
import jax
import jax.numpy as jnp
from flax import nnx

class Scanned(nnx.Module):
    '''Its middle layer is called in a scan, its others are not.'''

    def __init__(self, *, rngs):
        self.first = nnx.Linear(30, 4, rngs=rngs)
        self.again = nnx.Linear(4, 4, rngs=rngs)
        self.output = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        x = self.first(images.reshape(len(images), -1))
        x, _ = jax.lax.scan(lambda x, _: (self.again(x), None), x, length=3)
        return self.output(x)

class Twice(Scanned):
    def __call__(self, images, *, train, keys=None):
        x = self.first(images.reshape(len(images), -1))
        return self.output(self.again(self.again(x)))

class Bare(nnx.Module):
    '''Holds its weights itself.'''

    def __init__(self, *, rngs):
        self.matrix = nnx.Param(jax.random.normal(rngs.params(), (30, 3)))

    def __call__(self, images, *, train, keys=None):
        return images.reshape(len(images), -1) @ self.matrix[...]

class Rows(nnx.Module):
    '''Its first layer sees a row of pixels at a time.'''

    def __init__(self, *, rngs):
        self.rows = nnx.Linear(5, 2, rngs=rngs)
        self.norm = nnx.LayerNorm(12, rngs=rngs)
        self.output = nnx.Linear(12, 3, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        x = self.rows(images[..., 0]).reshape(len(images), -1)
        return self.output(self.norm(x))

class Signed(nnx.Module):
    '''Its filters see two channels that are not those of the image.'''

    def __init__(self, *, rngs):
        self.filters = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.output = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        both = jnp.concatenate([images, -images], axis=-1)
        return self.output(self.filters(both).mean(axis=(1, 2)))
"""


def predictions_of(
    shape=SHAPE, names=NAMES, *, count: int = 40, wrong: int = 12, seed: int = 0
) -> Predictions:
    """Random images, of which the first ones are mistakes; the loss of each is twice its index."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % len(names)).astype(np.int32)
    predicted = np.where(np.arange(count) < wrong, labels + 1, labels) % len(names)
    return Predictions(
        split="test",
        images=random.integers(0, 256, (count, *shape), np.uint8),
        labels=labels,
        probabilities=np.eye(len(names), dtype=np.float32)[predicted],
        values={"loss": 2.0 * np.arange(count)},
        class_names=names,
    )


def seen(choice: Choice, predictions: Predictions, **keywords) -> tuple[Insight, dict]:
    """What is seen of a network of random weights, and these."""
    spec = Spec(predictions.images.shape[1:], predictions.class_names)
    model = models.build(choice, spec, **keywords)
    params, variables = model.init(jax.random.key(1))
    weights = {"params": params, "variables": variables}
    return probe.probe(model, weights, predictions), params


def mlp(*hidden: int, **keywords) -> Choice:
    return Choice("mlp", {"hidden": hidden, **keywords})


def dense(x: np.ndarray, layer: dict) -> np.ndarray:
    return x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


def pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


@pytest.mark.parametrize("shape", [SHAPE, (4, 3, 3)], ids=["grey", "colour"])
def test_the_saliency_of_a_linear_network_is_the_weights_of_the_class(shape):
    predictions = predictions_of(shape)
    insight, params = seen(mlp(), predictions)
    kernel = np.asarray(params["layers"]["output"]["kernel"])
    np.testing.assert_array_equal(insight.worst, np.arange(12)[::-1][:WORST])
    for example, gradient in zip(insight.worst, insight.gradients, strict=True):
        expected = kernel[:, predictions.predicted[example]].reshape(shape)
        np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_the_saliency_is_the_change_of_the_output_with_a_pixel():
    predictions = predictions_of(wrong=3)
    choice = mlp(7, activation="tanh")
    insight, params = seen(choice, predictions)
    layers = params["layers"]

    def output(image: np.ndarray, label: int) -> float:
        return float(dense(np.tanh(dense(image, layers["dense_1"])), layers["output"])[label])

    image, label = pixels(predictions.images[:1])[0], predictions.predicted[0]
    step = np.zeros_like(image)
    step[17] = 1e-3
    slope = (output(image + step, label) - output(image - step, label)) / 2e-3
    assert insight.worst.tolist() == [2, 1, 0]
    assert insight.gradients[2].ravel()[17] == pytest.approx(slope, abs=1e-4)


def test_layers_are_as_computed_by_hand_for_the_first_image_of_each_class():
    predictions = predictions_of()
    insight, params = seen(mlp(8, 4, dropout=0.5), predictions)
    assert insight.examples.tolist() == [0, 1, 2]
    layers, x = params["layers"], pixels(predictions.images[:3])
    expected = {}
    for name in ("dense_1", "dense_2"):
        x = expected[name] = np.maximum(dense(x, layers[name]), 0)
    expected["output"] = dense(x, layers["output"])
    # Neither `flatten` nor dropout, which do nothing at inference, are among them.
    assert [layer.name for layer in insight.layers] == [*expected]
    for layer in insight.layers:
        np.testing.assert_allclose(layer.values, expected[layer.name], atol=1e-5)


def test_the_first_layer_of_a_dense_network_is_one_image_per_unit():
    insight, params = seen(mlp(4), predictions_of((4, 3, 3)))
    kernel = np.asarray(params["layers"]["dense_1"]["kernel"])
    assert insight.first is not None
    assert insight.first.name == "dense_1"
    for unit, picture in enumerate(insight.first.values):
        np.testing.assert_array_equal(picture.ravel(), kernel[:, unit])
        assert picture.shape == (4, 3, 3)


def test_the_first_layer_of_a_convolutional_network_is_its_filters():
    choice = Choice("cnn", {"features": (4, 2), "dense": (), "normalisation": "batch"})
    insight, params = seen(choice, predictions_of((6, 8, 3)))
    kernel = np.asarray(params["layers"]["conv_1"]["kernel"])
    assert insight.first is not None
    np.testing.assert_array_equal(insight.first.values, kernel.transpose(3, 0, 1, 2))
    assert [(its.name, its.values.shape[1:]) for its in insight.layers] == [
        ("conv_1", (3, 4, 4)),
        ("conv_2", (1, 2, 2)),
        ("output", (3,)),
    ]


def test_the_map_is_the_principal_components_of_what_enters_the_last_layer():
    predictions = predictions_of(count=probe.BATCH + 30)  # more than a batch, and not whole ones
    insight, params = seen(mlp(8), predictions)
    hidden = np.maximum(dense(pixels(predictions.images), params["layers"]["dense_1"]), 0)
    points, shares = principal(hidden.astype(np.float32))
    assert insight.map is not None
    assert (insight.map.layer, insight.map.width) == ("output", 8)
    np.testing.assert_array_equal(insight.map.examples, np.arange(len(predictions.labels)))
    np.testing.assert_allclose(insight.map.points, points, atol=1e-3)
    np.testing.assert_allclose(insight.map.shares, shares, atol=1e-3)
    assert insight.map.points[:, 0].var() >= insight.map.points[:, 1].var() > 0


def test_a_map_of_wide_layers_shows_fewer_images(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "MOST", 40 * 8 * 4 // 3)
    insight, _ = seen(mlp(8), predictions_of(count=40))
    assert insight.map is not None
    assert insight.map.examples.tolist() == [*range(0, 40, 4)]
    assert insight.map.points.shape == (10, 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_seen_is_float32(dtype: str):
    insight, _ = seen(mlp(4), predictions_of(), dtype=dtype)
    assert insight.first is not None
    assert insight.map is not None
    arrays = [insight.first.values, insight.gradients, *(its.values for its in insight.layers)]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_a_class_without_images_has_no_example():
    predictions = predictions_of()
    some = predictions.labels != 1
    predictions = replace(
        predictions,
        images=predictions.images[some],
        labels=predictions.labels[some],
        probabilities=predictions.probabilities[some],
        values={"loss": predictions.losses[some]},
    )
    insight, _ = seen(mlp(4), predictions)
    assert predictions.labels[insight.examples].tolist() == [0, 2]
    assert {len(layer.values) for layer in insight.layers} == {2}


def test_of_many_classes_some_have_examples_those_at_the_ends_included():
    names = tuple(map(str, range(47)))
    insight, _ = seen(mlp(4), predictions_of(names=names, count=94))
    assert len(insight.examples) == CLASSES
    assert insight.examples[[0, -1]].tolist() == [0, 46]


def test_without_mistakes_there_is_nothing_to_explain():
    insight, _ = seen(mlp(4), predictions_of(wrong=0))
    assert insight.worst.shape == (0,)
    assert insight.gradients.shape == (0, *SHAPE)


# Networks of the user's own


def test_layers_within_a_scan_are_not_seen_and_all_else_is(user_module):
    user_module("own", OWN)
    insight, _ = seen(Choice("own:Scanned", {}), predictions_of())
    assert [layer.name for layer in insight.layers] == ["first", "output"]
    assert len(insight.gradients) == WORST
    assert insight.map is not None
    assert insight.map.layer == "output"


def test_a_layer_that_is_called_again_is_seen_again(user_module):
    user_module("own", OWN)
    insight, _ = seen(Choice("own:Twice", {}), predictions_of())
    assert [its.name for its in insight.layers] == ["first", "again", "again (2)", "output"]


def test_a_network_without_parts_shows_its_gradients_alone(user_module):
    user_module("own", OWN)
    insight, params = seen(Choice("own:Bare", {}), predictions_of())
    assert (insight.first, insight.layers, insight.map) == (None, (), None)
    expected = np.asarray(params["matrix"])[:, predictions_of().predicted[insight.worst[0]]]
    np.testing.assert_allclose(insight.gradients[0].ravel(), expected, atol=1e-6)


def test_weights_that_are_not_like_images_are_no_pictures(user_module):
    user_module("own", OWN)
    insight, _ = seen(Choice("own:Signed", {}), predictions_of())
    assert insight.first is None


def test_a_layer_of_vectors_is_seen_and_enters_the_map(user_module):
    user_module("own", OWN)
    insight, params = seen(Choice("own:Rows", {}), predictions_of())
    assert insight.first is None
    assert [its.name for its in insight.layers] == ["rows", "norm", "output"]
    x = dense(pixels(predictions_of().images).reshape(-1, 6, 5), params["rows"])
    np.testing.assert_allclose(insight.layers[0].values, x[:3], atol=1e-5)
    assert insight.map is not None
    assert insight.map.width == 12
