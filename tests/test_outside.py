"""The outside test: digits of other writers than MNIST's."""

import numpy as np
import pytest

import mnist_jax
from mnist_jax.data import Ink
from mnist_jax.errors import UserError
from mnist_jax.pictures import outside
from tests import datasets
from tests.commands import fingerprint, read, refused, run

pytestmark = pytest.mark.usefixtures("undrawn")

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of a small network."""
    config = mnist_jax.default()
    config.num_epochs = 2
    config.data.train_split = "train[:4000]"
    config.data.val_split = "train[4000:4500]"
    config.model = dict(name="mlp", hidden=(32,))
    return mnist_jax.train(config, workdir=tmp_path_factory.mktemp("trained") / "run").workdir


def test_the_digits_are_prepared_as_pictures_are():
    images, labels = outside.load((28, 28, 1), Ink(longest=20, by_mass=True))
    assert images.shape == (1797, 28, 28, 1)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    rows = images.any(axis=(2, 3))
    heights = 28 - rows.argmax(axis=1) - rows[:, ::-1].argmax(axis=1)
    assert (heights == 20).mean() > 0.95  # they are higher than wide
    assert images.max(axis=(1, 2, 3)).min() == 255  # each has ink


def test_evaluates_into_a_folder_of_its_own(workdir):
    before = fingerprint(workdir)
    said = run("evaluate", f"--workdir={workdir}", "--outside", drawn=True).stdout
    folder = workdir / "evaluations" / "outside"
    found = read(folder / "evaluation.json")
    assert f"split outside: accuracy {found['accuracy']:.2%} of 1,797 images" in said
    assert found["split"] == "outside"
    assert found["count"] == 1797
    assert found["accuracy"] > 0.5
    assert (folder / "report.html").exists()
    assert (folder / "plots" / "confusion.png").exists()
    after = fingerprint(workdir)
    assert {path: after[path] for path in before} == before


def test_a_split_cannot_be_named_as_well(workdir):
    message = refused("evaluate", f"--workdir={workdir}", "--outside", "--split=test")
    assert "leave out --split=" in message


def test_needs_scikit_learn(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"pip install '\.\[outside\]'"):
        outside.load((28, 28, 1), Ink(longest=20, by_mass=True))


@pytest.mark.slow
def test_is_for_networks_of_digits(tmp_path, monkeypatch):
    datasets.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    config = mnist_jax.default()
    config.num_epochs = 1
    config.batch_size = 24
    config.data.name = datasets.LETTERS
    config.data.train_split, config.data.val_split = "train[:480]", "train[480:600]"
    config.model = dict(name="mlp", hidden=(8,))
    mnist_jax.train(config, workdir="run")
    message = refused("evaluate", "--workdir=run", "--outside", cwd=tmp_path)
    assert f"trained on {datasets.LETTERS}; evaluate one that was trained on mnist" in message
