"""Predictions of picture files, by the command and from Python."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import mnist_jax
from benchmarks.pictures import hands
from mnist_jax import data
from tests import datasets
from tests.commands import fingerprint, python, refused, run

TWO = """
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for name in ("small", "large"):
        members[name] = config = default()
        config.num_epochs = 1
        config.data.train_split = "train[:1000]"
        config.data.val_split = "train[1000:1500]"
        config.model = dict(name="mlp", hidden=(8 if name == "small" else 16,))
    return Sweep(members)
"""


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


def lines(workdir, *arguments: str, cwd, status: int = 0) -> list[str]:
    done = run("predict", f"--workdir={workdir}", *arguments, cwd=cwd, status=status)
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines()


def records(workdir, *arguments: str, cwd, status: int = 0) -> list[dict]:
    found = lines(workdir, "--json", *arguments, cwd=cwd, status=status)
    return [json.loads(line) for line in found]


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
    for number in range(40):
        medium = [*hands.MEDIA][number % 3]
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


def test_one_line_per_picture(workdir, classifier, scans):
    before = fingerprint(workdir)
    found = lines(workdir, "scans", "blank.png", cwd=scans)
    expected = classifier.predict_pictures(scans / "scans")
    for line, name, label, p in zip(
        found, ("a.png", "b.jpg", "c.gif"), expected.labels, expected.probabilities, strict=False
    ):
        unsure = r" \(unsure\)" if p.max() < 0.7 else ""
        assert re.fullmatch(rf"scans/{name}: {label} \({100 * p.max():.1f} %\){unsure}", line)
    assert found[3:] == ["blank.png: no digit: the picture has no ink"]
    assert fingerprint(workdir) == before


def test_json_lines(workdir, classifier, scans):
    found = records(workdir, "scans/*.png", "blank.png", "scans/b.jpg", cwd=scans)
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
    done = run(
        "predict",
        f"--workdir={workdir}",
        "notes.png",
        "scans/a.png",
        "no/*.gif",
        cwd=scans,
        status=1,
    )
    first, second, third = done.stdout.splitlines()
    assert first.startswith("notes.png: error: is no picture that can be read; give a PNG, JPEG")
    assert re.match(r"scans/a.png: \d \(", second)
    assert third == "no/*.gif: error: no file matches this pattern"
    assert done.stderr.splitlines()[-1] == "error: 2 of 3 pictures could not be read"
    assert "Traceback" not in done.stderr
    found = records(workdir, "notes.png", "scans/a.png", cwd=scans, status=1)
    assert found[0].keys() == {"file", "error"}
    assert isinstance(found[1]["digit"], int)


def test_an_image_of_the_test_split(workdir, classifier, test_split, scans):
    p = classifier.predict(test_split.images[7:8]).probabilities[0]
    (found,) = records(workdir, "--test_image=7", cwd=scans)
    assert found["file"] == "test[7]"
    assert found["digit"] == p.argmax()
    assert found["probability"] == pytest.approx(p.max(), abs=1e-5)
    assert len(lines(workdir, "--test_image=0", "scans", cwd=scans)) == 4
    for number in (10_000, -1):
        message = refused("predict", f"--workdir={workdir}", f"--test_image={number}", cwd=scans)
        assert "the images of the test split are 0 to 9999" in message


def test_a_contact_sheet(workdir, scans, tmp_path):
    copied = shutil.copytree(workdir, tmp_path / "run")
    given = ("--show", "scans", "blank.png", "notes.png")
    found = lines(copied, *given, cwd=scans, status=1)
    path = copied / "predictions" / "contact-sheet-1.png"
    assert found[-1] == str(path)
    with Image.open(path) as sheet:
        assert sheet.width == 1080
        assert 300 < sheet.height < 800
    done = run("predict", f"--workdir={copied}", "--json", *given, cwd=scans, status=1)
    assert str(path) in done.stderr
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()][-1] == "notes.png"


def test_nothing_to_predict(workdir, scans):
    assert "name pictures or folders" in refused("predict", f"--workdir={workdir}", cwd=scans)
    assert "holds no run" in refused("predict", "--workdir=nothing", "blank.png", cwd=scans)
    message = refused("predict", f"--workdir={workdir}", "--checkpoint=3", "blank.png", cwd=scans)
    assert "there is no checkpoint 3" in message


def test_a_network_of_a_sweep(scans, tmp_path):
    (tmp_path / "two.py").write_text(TWO)
    run("sweep", "--config=two.py", "--workdir=swept", cwd=tmp_path)
    swept = tmp_path / "swept"
    which = ("--member=large", "--checkpoint=best", "--show")
    (found, path) = lines(swept, *which, "scans/a.png", cwd=scans)
    large = mnist_jax.load(swept, member="large", checkpoint="best")
    expected = large.predict_pictures(scans / "scans/a.png")
    assert found.startswith(
        f"scans/a.png: {expected.labels[0]} ({100 * expected.probabilities.max():.1f}"
    )
    assert path == str(swept / "members" / "large-0" / "predictions" / "contact-sheet-1.png")
    message = refused("predict", f"--workdir={swept}", "scans/a.png", cwd=scans)
    assert "--member= is one of 'small', 'large'" in message


# Other data sets


def test_pictures_of_another_data_set_are_resized(tmp_path, monkeypatch):
    datasets.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    config = mnist_jax.default()
    config.num_epochs = 3
    config.batch_size = 20
    config.data.name = datasets.COLOUR
    config.data.train_split, config.data.val_split = "train[:500]", "train[500:]"
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
    (record,) = records("run", "07.png", cwd=tmp_path)
    assert record["label"] == test.class_names[record["digit"]]
    assert record["label"] in ("ant", "bee", "cat", "dog", "eel")


def test_images_of_two_channels_cannot_be_made_of_pictures(classifier):
    from mnist_jax.errors import UserError
    from mnist_jax.pictures.prediction import predict

    with pytest.raises(UserError, match="have 2; prepare them yourself"):
        next(predict([], (28, 28, 2), None, lambda images: images))


def test_the_names_of_the_api_stay_where_they_were():
    code = (
        "import mnist_jax.api as api; "
        "print(api.Classifier.__name__, callable(api.load), api.Run.__name__)"
    )
    assert python(code) == "Classifier True Run\n"
