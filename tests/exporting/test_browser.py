"""What runs in the page, in a real browser: the networks, and how pictures are prepared."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.browser import browser, find
from benchmarks.pictures import hands, styles
from benchmarks.reliability.fuzzing import pages
from mnist_jax import data
from mnist_jax.data.spec import Ink
from mnist_jax.exporting.operations import Operations, operations
from mnist_jax.pictures import prepared, reading
from tests.commands import ROOT
from tests.exporting import networks

if find() is None:
    pytest.skip("there is no Chromium", allow_module_level=True)

TEMPLATES = ROOT / "mnist_jax" / "analysis" / "templates"


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


def in_browser(page, its: Operations, inputs: np.ndarray) -> np.ndarray:
    rows = json.dumps(inputs.reshape(len(inputs), -1).tolist())
    return np.array(
        page.run(
            f"{{const run = network.load({json.dumps(its.to_json())});"
            f"{rows}.map((input) => run(input))}}"
        )
    )


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_a_network_gives_the_probabilities_of_jax(scripts, name):
    found = in_browser(scripts, networks.written(name), networks.images())
    np.testing.assert_allclose(found, networks.expected(name), atol=1e-5)


@pytest.mark.parametrize("name", networks.FUNCTIONS)
def test_an_operation_gives_the_numbers_of_jax(scripts, name):
    its = operations(networks.of_numbers(name), (1, 4, 6, 3))
    found, expected = in_browser(scripts, its, networks.numbers()), networks.expected_numbers(name)
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-5, atol=1e-5)


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


# As names of networks and of classes; some would end the script that holds them, or be one.
NAMES = [name for name in pages.BREAKING if name.isprintable()]


def test_names_of_any_kind_are_read_whole_and_never_run(tmp_path):
    its = networks.written("relu").to_json()
    shown = [{"name": name, "classes": NAMES[:10], "ink": None, **its} for name in NAMES]
    pages.rendered(tmp_path / "demo.html", shown, "mlp")
    with browser(tmp_path) as page:
        page.open(tmp_path / "demo.html")
        page.wait("window.drawing !== undefined")
        models = "JSON.parse(document.getElementById('pad-models').textContent)"
        assert page.run(f"{models}.map((its) => its.name)") == NAMES
        assert page.run(f"{models}[0].classes") == NAMES[:10]
        cells = "Array.from(document.querySelectorAll('[data-pad=answer] ~ * th'))"
        assert page.run(f"{cells}.map((its) => its.textContent)") == ["", *NAMES, *NAMES[:10]]
        assert page.run("document.querySelectorAll('script, img').length") == 2
        assert page.problems == []
