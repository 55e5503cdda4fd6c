"""The page on which one draws, as a user opens it: a file in a real browser."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import mnist_jax
from benchmarks.browser import browser, find
from benchmarks.pictures import hands
from mnist_jax import data
from mnist_jax.analysis import pad
from mnist_jax.pictures import reading
from tests.commands import ROOT, SMALL, refused, run

pytestmark = pytest.mark.usefixtures("undrawn")

if find() is None:
    pytest.skip("there is no Chromium", allow_module_level=True)

TRAINING = {
    "num_epochs": 6,
    "overrides": {
        "data.train_split": "train[:10000]",
        "data.val_split": "",
        "model.hidden": (64,),
        "augment.rotation": 10.0,
        "augment.scale": 0.1,
        "augment.translation": 1.0,
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network that reads most digits."""
    workdir = tmp_path_factory.mktemp("demo") / "small"
    mnist_jax.train(ROOT / "configs" / "mlp.py", workdir=workdir, **TRAINING)
    return workdir


@pytest.fixture(scope="module")
def page(trained, tmp_path_factory):
    """A browser in which the page is open."""
    printed = run("demo", f"--workdir={trained}", "--no_open").stdout
    assert printed.splitlines()[-1] == str(trained / "demo.html")
    with browser(tmp_path_factory.mktemp("browser")) as its:
        its.open(trained / "demo.html")
        its.wait("window.drawing !== undefined")
        yield its
        assert its.problems == []


def answer(page) -> str:
    return page.run("document.querySelector('[data-pad=answer]').textContent")


def seen(page) -> np.ndarray:
    """The image that the network sees, as the page shows it, `[28, 28]`."""
    found = page.run(
        "(() => { const its = document.querySelector('[data-pad=seen]');"
        "const pixels = its.getContext('2d').getImageData(0, 0, its.width, its.height).data;"
        "return Array.from(pixels).filter((_, i) => i % 4 === 0); })()"
    )
    return np.array(found, np.uint8).reshape(28, 28)


def clear(page) -> None:
    page.run("document.querySelector('[data-pad=clear]').click()")
    page.wait("document.querySelector('[data-pad=answer]').textContent.startsWith('Draw')")


def draw(page, digit: int, rng) -> None:
    left, top, side = page.run(
        "(() => { const its = document.querySelector('[data-pad=board]').getBoundingClientRect();"
        "return [its.left, its.top, its.width]; })()"
    )
    for stroke in hands.written(digit, hands.HANDS[0], rng):
        page.draw(
            [(left + side * (0.5 + 0.6 * x), top + side * (0.5 + 0.6 * y)) for x, y in stroke[::3]]
        )


def test_an_empty_pad_says_so(page):
    clear(page)
    assert answer(page) == "Draw a digit, or drop a picture here."
    assert not seen(page).any()


@pytest.mark.slow
def test_ten_digits_that_are_drawn_are_read(page, trained, tmp_path):
    """Each as the network reads the image that the page shows."""
    rng = np.random.default_rng(0)
    classifier = mnist_jax.load(trained)
    right = 0
    for digit in range(10):
        clear(page)
        draw(page, digit, rng)
        page.run("window.drawing.predict()")
        found = classifier.predict(seen(page)[None]).labels[0]
        assert answer(page).startswith(f"{found} (")
        right += int(found == digit)
    assert right >= 8


def test_the_last_stroke_can_be_undone(page):
    rng = np.random.default_rng(0)
    clear(page)
    draw(page, 1, rng)
    page.run("document.querySelector('[data-pad=undo]').click()")
    page.wait("document.querySelector('[data-pad=answer]').textContent.startsWith('Draw')")


def test_it_draws_by_keyboard(page):
    clear(page)
    page.run("document.querySelector('[data-pad=board]').focus()")
    page.press(" ", "Space")
    for _ in range(10):
        page.press("ArrowDown")
    page.wait("document.querySelector('[data-pad=answer]').textContent.includes('%')")
    rows, columns = np.nonzero(seen(page) > 127)
    assert np.ptp(rows) > 2 * np.ptp(columns)
    page.press("Escape")
    page.wait("document.querySelector('[data-pad=answer]').textContent.startsWith('Draw')")


@pytest.mark.parametrize("ground", ["opaque", "half-transparent"])
def test_a_picture_that_is_opened_is_read_as_predict_does(page, trained, tmp_path, ground):
    rng = np.random.default_rng(1)
    values = hands.pad(hands.written(7, hands.HANDS[1], rng), hands.HANDS[1], rng)
    pixels = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    if ground == "half-transparent":
        colours = rng.integers(0, 90, (*pixels.shape, 3), dtype=np.uint8)
        pixels = np.dstack([colours, 255 - pixels // 3 * 2 - 40])
    path = tmp_path / "seven.png"
    reading.Image.fromarray(pixels).save(path)
    clear(page)
    page.give("[data-pad=file]", path)
    page.wait("document.querySelector('[data-pad=answer]').textContent.includes('%')")
    expected = mnist_jax.load(trained).predict_pictures([path])
    np.testing.assert_array_equal(seen(page), expected.images[0][..., 0])
    assert page.run("document.querySelector('[data-pad=save]').disabled")  # it is there already
    (tmp_path / "none.png").write_text("no picture")
    page.give("[data-pad=file]", tmp_path / "none.png")
    page.wait("document.querySelector('[data-pad=answer]').textContent.includes('no picture')")


def test_the_network_in_the_page_gives_the_probabilities_of_jax(page, trained):
    images = data.load("mnist", "test").images[:1000]
    rows = json.dumps(images.reshape(len(images), -1).tolist())
    found = page.run(
        f"{rows}.map((image) => window.drawing.networks[0].run(image.map((x) => x / 255)))"
    )
    expected = mnist_jax.load(trained).predict(images).probabilities
    np.testing.assert_allclose(np.array(found), expected, atol=1e-4)


@pytest.mark.parametrize("width", [360, 1100])
def test_the_page_fits_its_window(page, trained, width):
    page.open(trained / "demo.html", width=width)
    page.wait("window.drawing !== undefined")
    assert page.run("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_several_networks_answer_side_by_side(page, trained, tmp_path):
    """Folders of the same name are told apart by their paths."""
    other = shutil.copytree(trained, tmp_path / "small")
    run("demo", "--workdir", str(trained), str(other), "--no_open")
    page.open(trained / "demo.html")
    page.wait("window.drawing !== undefined")
    draw(page, 3, np.random.default_rng(0))
    page.run("window.drawing.predict()")
    first, second = answer(page).split("; ")
    assert first.startswith(f"{trained}: 3 (")
    assert second == first.replace(str(trained), str(other))


def test_networks_of_other_classes_are_refused(trained, tmp_path):
    assert "holds no run" in refused("demo", f"--workdir={tmp_path}", "--no_open")
    specs = [data.spec("mnist"), data.Spec((28, 28, 1), tuple("abcdefghij"))]
    with pytest.raises(ValueError, match="letters and mnist cannot be on one page"):
        pad.refuse_different(specs, ["mnist", "letters"])


@pytest.mark.slow
def test_a_network_of_a_sweep_has_its_page_in_its_own_folder(trained, tmp_path):
    run("sweep", *SMALL, "--seeds=2", f"--workdir={tmp_path / 'sweep'}")
    printed = run("demo", f"--workdir={tmp_path / 'sweep'}", "--member=best", "--no_open").stdout
    page = Path(printed.splitlines()[-1])
    assert page.parent.parent == tmp_path / "sweep" / "members"
    assert "pad-models" in page.read_text()
    folders = (str(tmp_path / "sweep"), str(trained))
    run("demo", "--workdir", *folders, "--member=best", "--no_open")
    assert '<th scope="col">small</th>' in page.read_text()
    alone = refused("demo", f"--workdir={trained}", "--member=best", "--no_open")
    assert "leave out --member=" in alone
    report = (tmp_path / "sweep" / "report.html").read_text()
    assert "pad-models" in report
