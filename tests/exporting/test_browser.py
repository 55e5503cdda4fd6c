"""What runs in the page, in a real browser: the networks, and how pictures are prepared."""

import base64
import io
import json

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures import hands, styles
from mnist_jax import data, models
from mnist_jax.config import parse
from mnist_jax.data.spec import Ink
from mnist_jax.exporting.operations import operations
from mnist_jax.exporting.plain import classify
from mnist_jax.models.layers import ACTIVATIONS
from mnist_jax.pictures import prepared, reading
from tests.browser import browser
from tests.commands import ROOT
from tests.datasets import MNIST

TEMPLATES = ROOT / "mnist_jax" / "analysis" / "templates"
NETWORKS = {
    **{
        activation: {"name": "mlp", "hidden": (8,), "activation": activation}
        for activation in ACTIVATIONS
    },
    "batch": {"name": "mlp", "hidden": (8,), "normalisation": "batch"},
    "cnn": {"name": "cnn", "features": (4, 6), "kernel": (5, 3), "dense": (8,)},
    "mean": {"name": "cnn", "features": (3,), "pooling": "mean", "dense": ()},
    "pool first": {"name": "cnn", "features": (3,), "pool_first": True, "normalisation": "batch"},
    "stride": {"name": "cnn", "features": (3,), "stride": 2, "padding": "VALID", "dense": ()},
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A browser with a page that has the scripts alone."""
    folder = tmp_path_factory.mktemp("scripts")
    names = ("network.js", "pictures.js")
    tags = "".join(f"<script>{(TEMPLATES / name).read_text()}</script>" for name in names)
    (folder / "page.html").write_text(f"<!DOCTYPE html><meta charset=utf-8>{tags}")
    with browser(folder) as page:
        page.open(folder / "page.html")
        yield page


def written(**model):
    its = models.build(models.resolve(parse({"model": model})).model, MNIST, "float32")
    params, variables = its.init(jax.random.key(0))
    function = classify(its, {"params": params, "variables": variables})
    return function, operations(function, (1, *its.image_shape)).to_json()


def in_browser(page, model, images: np.ndarray) -> np.ndarray:
    rows = json.dumps(images.reshape(len(images), -1).astype(int).tolist())
    return np.array(
        page.run(
            f"{{const run = network.load({json.dumps(model)});"
            f"{rows}.map((image) => run(image.map((pixel) => pixel / 255)))}}"
        )
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_the_probabilities_of_jax(scripts, name):
    function, model = written(**NETWORKS[name])
    images = data.load("mnist", "test").images[:20]
    found = in_browser(scripts, model, images)
    expected = function(images.astype(np.float32) / 255)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def as_rgba(content: bytes) -> str:
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("RGBA"))
    text = base64.b64encode(pixels.tobytes()).decode()
    return f"{{width: {pixels.shape[1]}, height: {pixels.shape[0]}, text: '{text}'}}"


def pictures() -> list[Image.Image]:
    """Two hundred: digits in seven lossless styles, and drawings of several hands and media."""
    digits = data.load("mnist", "train[55000:]").images[:20, :, :, 0]
    rng = np.random.default_rng(0)
    found = []
    for digit in digits:
        for name, style in styles.STYLES.items():
            if styles.suffix(name) == ".png":
                ink = digit / 255 if name == "scaled" else styles.enlarged(digit, 5)
                found.append(style(ink, rng))
    drawings = ((digit, hand, hands.pad) for hand in hands.HANDS for digit in range(10))
    for digit, hand, medium in drawings:
        if len(found) == 200:
            break
        values = medium(hands.written(digit, hand, rng), hand, rng)
        found.append(Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8)))
    assert len(found) == 200
    return found


@pytest.mark.slow
def test_two_hundred_pictures_are_prepared_as_predict_does(scripts, tmp_path):
    """To the bit, whichever data set they are for."""
    ink = Ink(longest=20, by_mass=True)
    for number, picture in enumerate(pictures()):
        picture.save(tmp_path / "picture.png")
        expected = prepared.prepare(reading.read(tmp_path / "picture.png"), (28, 28, 1), ink)
        given = as_rgba((tmp_path / "picture.png").read_bytes())
        found = scripts.run(
            f"{{const its = {given};"
            "const data = Uint8Array.from(atob(its.text), (c) => c.charCodeAt(0));"
            "const image = pictures.see({...its, data}, "
            "{input: [1, 28, 28, 1], ink: {longest: 20, by_mass: true}});"
            "image && Array.from(image)}"
        )
        assert (expected is None) == (found is None), number
        if expected is not None:
            np.testing.assert_array_equal(np.array(found), expected.ravel(), err_msg=str(number))
