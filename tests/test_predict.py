"""Predictions of picture files, by the command and from Python."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mnist_jax
from benchmarks.pictures import hands
from mnist_jax import data, settings
from mnist_jax.commands import cli
from mnist_jax.commands import predict as command
from mnist_jax.errors import UserError
from mnist_jax.members import Sweep
from mnist_jax.pictures import prediction
from mnist_jax.pictures.picture import UNIT
from tests import datasets
from tests.commands import fingerprint, refused, run

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of a small network, which reads most digits right."""
    config = mnist_jax.default()
    config.num_epochs = 2
    config.data.train_split = "train[:4000]"
    config.data.val_split = "train[4000:4500]"
    config.model = dict(name="mlp", hidden=(32,))
    return mnist_jax.train(config, workdir=tmp_path_factory.mktemp("trained") / "run").workdir


@pytest.fixture(scope="module")
def classifier(workdir):
    return mnist_jax.load(workdir)


@pytest.fixture(scope="module")
def test_split():
    return data.load("mnist", "test")


@pytest.fixture(scope="module")
def scans(tmp_path_factory, test_split):
    """The current folder, and in it `scans`: three images of the test split, in three styles."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "scans").mkdir()
    for number, name in enumerate(("a.png", "b.jpg", "c.gif")):
        ink = test_split.images[number, ..., 0]
        Image.fromarray(255 - ink if number else ink).save(folder / "scans" / name)
    Image.new("L", (50, 50), 200).save(folder / "blank.png")
    (folder / "notes.png").write_text("no picture")
    return folder


@pytest.fixture
def predict(monkeypatch, capsys):
    """A function that calls the command in this process; gives status, output and errors."""

    def call(workdir, *arguments: str, cwd) -> tuple[int, list[str], str]:
        monkeypatch.chdir(cwd)
        parser = cli.Parser()
        command.define(parser)
        given = parser.parse_intermixed_args(["--workdir", str(workdir), *arguments])
        given.workdir = Path(given.workdir)
        capsys.readouterr()
        with settings.own():
            status = command.main(given)
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    return call


# From Python


def test_an_image_of_the_test_split_gives_what_the_split_gives(classifier, test_split, tmp_path):
    images = test_split.images[:120]  # more than two batches
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{number:03}.png")
    found = classifier.predict_pictures(tmp_path)
    assert found.files == [str(tmp_path / f"{number:03}.png") for number in range(120)]
    expected = classifier.predict(images)
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    np.testing.assert_array_equal(found.unsure, found.probabilities.max(axis=1) < 0.7)
    assert 0 < found.unsure.sum() < 120
    assert found.errors == [""] * 120


def test_drawings_are_read(classifier, tmp_path):
    """Dark on light, light on dark, in colour and on paper; a small network reads most."""
    rng, labels = np.random.default_rng(0), []
    for number in range(20):
        medium = ("pad", "chalk")[number // 10]
        hand = hands.HANDS[number % len(hands.HANDS)]
        hands.picture(number % 10, hand, medium, rng).save(tmp_path / f"{number:02}.png")
        labels.append(number % 10)
    assert (classifier.predict_pictures(tmp_path).labels == labels).mean() > 0.6


def test_failures_and_blanks_stand_in_their_places(classifier, scans):
    given = [scans / name for name in ("notes.png", "scans/b.jpg", "blank.png", "none.png")]
    found = classifier.predict_pictures(given)
    assert found.files == [str(path) for path in given]
    assert [bool(error) for error in found.errors] == [True, False, False, True]
    assert "is no picture" in found.errors[0]
    assert "No such file" in found.errors[3]
    assert list(found.labels == -1) == [True, False, True, True]
    assert list(np.isnan(found.probabilities).all(axis=1)) == [True, False, True, True]
    assert list(found.images.any(axis=(1, 2, 3))) == [False, True, False, False]
    assert not found.unsure[[0, 2, 3]].any()
    assert found.labels.dtype == np.int32
    assert found.probabilities.shape == (4, 10)
    assert found.images.shape == (4, 28, 28, 1)


def test_one_path_a_pattern_and_nothing(classifier, scans):
    (name,) = classifier.predict_pictures(str(scans / "scans" / "a.png")).files
    assert name == str(scans / "scans" / "a.png")
    assert len(classifier.predict_pictures(str(scans / "scans" / "*.*")).files) == 3
    nothing = classifier.predict_pictures([])
    assert nothing.labels.shape == (0,)
    assert nothing.probabilities.shape == (0, 10)
    assert nothing.images.shape == (0, 28, 28, 1)


# The command


def test_one_line_per_picture(predict, workdir, classifier, scans):
    before = fingerprint(workdir)
    status, found, _ = predict(workdir, "scans", "blank.png", cwd=scans)
    assert status == 0
    expected = classifier.predict_pictures(scans / "scans")
    assert len(found) == 4
    for line, name, label, p in zip(
        found, ("a.png", "b.jpg", "c.gif"), expected.labels, expected.probabilities, strict=False
    ):
        unsure = " (unsure)" if p.max() < 0.7 else ""
        assert line == f"scans/{name}: {label} ({100 * p.max():.1f} %){unsure}"
    assert found[3] == "blank.png: no digit: the picture has no ink"
    assert fingerprint(workdir) == before


def test_json_lines(workdir, classifier, scans):
    """Options may stand between the names."""
    given = ("scans/*.png", f"--workdir={workdir}", "blank.png", "--json", "scans/b.jpg")
    done = run("predict", *given, cwd=scans)
    assert done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    expected = classifier.predict_pictures([scans / "scans/a.png", scans / "scans/b.jpg"])
    assert [record["file"] for record in found] == ["scans/a.png", "blank.png", "scans/b.jpg"]
    for record, label, p in zip(found[::2], expected.labels, expected.probabilities, strict=True):
        assert record["digit"] == label
        assert record["label"] == str(label)
        assert record["probability"] == pytest.approx(p.max(), abs=1e-5)
        assert record["unsure"] == (p.max() < 0.7)
    blank = {"digit": None, "probability": None, "label": None, "unsure": False}
    assert found[1] == {"file": "blank.png"} | blank


def test_what_fails_is_said_and_the_others_go_on(workdir, scans):
    given = ("notes.png", "scans/a.png", "no/*.gif")
    done = run("predict", f"--workdir={workdir}", *given, cwd=scans, status=1)
    first, second, third = done.stdout.splitlines()
    assert first.startswith("notes.png: error: is no picture that can be read; give a PNG, JPEG")
    assert re.match(r"scans/a.png: \d \(", second)
    assert third == "no/*.gif: error: no file matches this pattern"
    assert done.stderr == "error: 2 of 3 pictures could not be read\n"


def test_failures_as_json(predict, workdir, scans):
    status, found, _ = predict(workdir, "--json", "notes.png", "scans/a.png", cwd=scans)
    assert status == 1
    failed, read = map(json.loads, found)
    assert failed.keys() == {"file", "error"}
    assert isinstance(read["digit"], int)


def test_an_image_of_the_test_split(predict, workdir, classifier, test_split, scans):
    p = classifier.predict(test_split.images[7:8]).probabilities[0]
    _, (line,), _ = predict(workdir, "--json", "--test_image=7", cwd=scans)
    found = json.loads(line)
    assert found["file"] == "test[7]"
    assert found["digit"] == p.argmax()
    assert found["probability"] == pytest.approx(p.max(), abs=1e-5)
    _, found, _ = predict(workdir, "--test_image=0", "scans", cwd=scans)
    assert [line.partition(":")[0] for line in found][:2] == ["test[0]", "scans/a.png"]
    for number in (10_000, -1):
        with pytest.raises(UserError, match="the images of the test split are 0 to 9999"):
            predict(workdir, f"--test_image={number}", cwd=scans)


def test_a_contact_sheet(predict, workdir, scans, tmp_path):
    copied = shutil.copytree(workdir, tmp_path / "run")
    given = ("--show", "scans", "blank.png", "notes.png")
    _, found, _ = predict(copied, *given, cwd=scans)
    path = copied / "predictions" / "contact-sheet-1.png"
    assert found[-1] == str(path)
    with Image.open(path) as sheet:
        assert sheet.width == 1080
        assert 300 < sheet.height < 800
    _, found, errors = predict(copied, "--json", *given, cwd=scans)
    assert str(path) in errors
    assert [json.loads(line)["file"] for line in found][-1] == "notes.png"


def test_nothing_to_predict(predict, workdir, scans):
    assert "name pictures or folders" in refused("predict", f"--workdir={workdir}", cwd=scans)
    for given, message in (
        (("nothing", "blank.png"), "holds no run"),
        ((workdir, "--checkpoint=3", "blank.png"), "there is no checkpoint 3"),
        ((workdir, "--member=best", "blank.png"), "holds a single run"),
    ):
        with pytest.raises(UserError, match=message):
            predict(*given, cwd=scans)


def test_a_network_of_a_sweep(predict, scans, tmp_path):
    config = mnist_jax.default()
    config.num_epochs = 1
    config.data.train_split, config.data.val_split = "train[:1000]", "train[1000:1500]"
    config.model = dict(name="mlp", hidden=(8,))
    mnist_jax.sweep(Sweep({"small": config}), workdir=tmp_path / "swept", seeds=2)
    which = ("--seed=1", "--checkpoint=best", "--show")
    _, (found, path), _ = predict(tmp_path / "swept", *which, "scans/a.png", cwd=scans)
    network = mnist_jax.load(tmp_path / "swept", seed=1, checkpoint="best")
    its = network.predict_pictures(scans / "scans/a.png")
    assert found.startswith(f"scans/a.png: {its.labels[0]} ({100 * its.probabilities.max():.1f} %)")
    sheet = tmp_path / "swept" / "members" / "small-1" / "predictions" / "contact-sheet-1.png"
    assert path == str(sheet)
    with pytest.raises(UserError, match="--seed= is one of 0, 1"):
        predict(tmp_path / "swept", "scans/a.png", cwd=scans)


# Other data sets


@pytest.mark.slow
def test_pictures_of_another_data_set_are_resized(predict, tmp_path, monkeypatch):
    datasets.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    config = mnist_jax.default()
    config.num_epochs = 3
    config.batch_size = 24
    config.data.name = datasets.COLOUR
    config.data.train_split, config.data.val_split = "train[:480]", "train[480:]"
    config.model = dict(name="mlp", hidden=(32,))
    mnist_jax.train(config, workdir="run")
    test = data.load(datasets.COLOUR, "test")
    for number in range(20):
        Image.fromarray(test.images[number]).resize((96, 96), Image.Resampling.NEAREST).save(
            f"{number:02}.png"
        )
    classifier = mnist_jax.load("run")
    found = classifier.predict_pictures("*.png")
    np.testing.assert_array_equal(found.images, test.images[:20])
    np.testing.assert_array_equal(found.labels, classifier.predict(test.images[:20]).labels)
    _, (line,), _ = predict("run", "--json", "07.png", cwd=tmp_path)
    record = json.loads(line)
    assert record["label"] == test.class_names[record["digit"]]
    assert record["label"] in ("ant", "bee", "cat", "dog", "eel")


@pytest.mark.parametrize("channels", [2, 4])
def test_an_image_that_is_partly_transparent_has_a_picture(classifier, monkeypatch, channels):
    image = np.zeros((28, 28, channels), np.uint8)
    image[0, 0, -1] = 51  # a fifth of black
    its = data.Split(image[None], np.zeros(1, np.int32), tuple("0123456789"), "made up", "test")
    monkeypatch.setattr(data, "load", lambda name, split: its)
    flat = np.full((1, 10), 0.1, np.float32)
    monkeypatch.setattr(type(classifier), "_probabilities", lambda self, images: flat)
    seen = classifier.test_image(0)
    np.testing.assert_array_equal(seen.image, image)
    assert seen.picture.colours.shape == (28, 28, 3)
    assert seen.picture.colours[0, 0].tolist() == [204 * UNIT] * 3
    assert seen.picture.colours[0, 1].tolist() == [255 * UNIT] * 3


def test_images_of_two_channels_cannot_be_made_of_pictures():
    with pytest.raises(UserError, match="have 2; prepare them yourself"):
        next(prediction.predict([], (28, 28, 2), None, lambda images: images))


def test_the_names_of_the_api_stay_where_they_were(classifier):
    assert isinstance(classifier, mnist_jax.api.Classifier)
