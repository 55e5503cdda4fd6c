"""Data sets of other shapes than MNIST's, through every command."""

import re

import numpy as np
import pytest

import mnist_jax
from tests import datasets
from tests.commands import fingerprint, read, refused, rows, run, table

pytestmark = pytest.mark.slow

QUICK = (
    "--config.num_epochs=3",
    "--config.batch_size=20",
    "--config.data.train_split=train[:500]",
    "--config.data.val_split=train[500:600]",
    "--config.schedule.name=",
    "--config.optimizer.learning_rate=0.001",
    "--config.augment.rotation=0.5",
    "--config.augment.elastic=0.1",
)
MLP = ("--config=configs/mlp.py", "--config.model={'name': 'mlp', 'hidden': (32,)}")
CNN = (
    "--config=configs/mlp.py",
    "--config.model={'name': 'cnn', 'features': (4,), 'dense': (16,), 'normalisation': 'batch'}",
)
# data set, shape, classes, images to test on
COLOUR, LETTERS = (datasets.COLOUR, (32, 32, 3), 5, 200), (datasets.LETTERS, (28, 28, 1), 47, 400)
SETS = [pytest.param(*COLOUR, id="colour"), pytest.param(*LETTERS, id="letters")]
OWN = """
from flax import nnx

class Own(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.output = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        return self.output(images.reshape(len(images), -1))

class Fitting(nnx.Module):
    def __init__(self, *, image_shape, num_classes: int, rngs: nnx.Rngs) -> None:
        height, width, channels = image_shape
        self.output = nnx.Linear(height * width * channels, num_classes, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        return self.output(images.reshape(len(images), -1))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A current folder in which the data sets can be named."""
    folder = tmp_path_factory.mktemp("made_up")
    datasets.write(folder)
    (folder / "mine.py").write_text(OWN)
    return folder


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count", "model"),
    [pytest.param(*COLOUR, CNN, id="colour-cnn"), pytest.param(*LETTERS, MLP, id="letters-mlp")],
)
def test_main_and_evaluate(folder, monkeypatch, name, shape, classes, count, model):
    workdir = folder / f"{classes}"
    arguments = (*model, f"--config.data.name={name}", *QUICK, f"--workdir={workdir}")
    run("main", *arguments, cwd=folder, drawn=True)
    result = read(workdir / "result.json")
    assert result["test_count"] == count
    if model is MLP:
        inputs = int(np.prod(shape))
        assert result["parameters"] == (inputs + 1) * 32 + 33 * classes
    assert "image_shape" not in result["config"]["model"]
    evaluation = read(workdir / "evaluation.json")
    assert np.shape(evaluation["confusion"]) == (classes, classes)
    assert len(evaluation["per_class"]) == classes
    assert result["test_accuracy"] > 1.5 / classes
    run("evaluate", f"--workdir={workdir}", "--checkpoint=best", "--split=train[:60]", cwd=folder)
    monkeypatch.chdir(folder)
    classifier = mnist_jax.load(workdir)
    assert classifier.predict(np.zeros((3, *shape), np.uint8)).probabilities.shape == (3, classes)
    with pytest.raises(ValueError, match="expected the shape"):
        classifier.predict(np.zeros((3, 14, 14, shape[2]), np.uint8))


@pytest.mark.parametrize(("name", "shape", "classes", "count"), SETS)
def test_sweep(folder, name, shape, classes, count):
    workdir = folder / f"swept-{classes}"
    arguments = (*MLP, f"--config.data.name={name}", *QUICK, "--seeds=2", f"--workdir={workdir}")
    run("sweep", *arguments, cwd=folder, devices=2, drawn=True)
    accuracies = [float(row["test_accuracy"]) for row in table(workdir / "sweep.csv")]
    assert len(accuracies) == 2
    assert min(accuracies) > 1.5 / classes
    assert (workdir / "report.html").stat().st_size > 50_000
    assert list((workdir / "plots" / "networks").glob("*/network.svg"))
    run("evaluate", f"--workdir={workdir}", "--member=best", cwd=folder)
    (its,) = (workdir / "members").iterdir()
    assert np.shape(read(its / "evaluation.json")["confusion"]) == (classes, classes)


@pytest.mark.parametrize(("name", "shape", "classes", "count"), SETS)
def test_explore(folder, name, shape, classes, count):
    workdir = folder / f"explored-{classes}"
    arguments = (*MLP, f"--config.data.name={name}", *QUICK, f"--workdir={workdir}")
    said = run("explore", *arguments, cwd=folder).stdout
    assert re.search(rf"^images +500 +100 +{count}$", said, flags=re.M)
    assert " x ".join(map(str, shape[:2])) in said
    made = {path.name for path in (workdir / "explore").iterdir()}
    assert {"samples.png", "means.png", "balance.png", "augmentation.png"} <= made


@pytest.mark.parametrize("command", ["main", "sweep"])
def test_a_data_set_without_a_test_split_is_refused_before_training(folder, tmp_path, command):
    arguments = (
        *MLP,
        f"--config.data.name={datasets.NO_TEST}",
        *QUICK,
        "--config.data.train_split=train",
        "--config.data.val_split=holdout",
        f"--workdir={tmp_path / 'run'}",
    )
    message = refused(command, *arguments, cwd=folder)
    assert "no split 'test'" in message
    assert "holdout (50 examples)" in message
    assert not [path for path in fingerprint(tmp_path) if not path.endswith(".lock")]


@pytest.mark.parametrize("command", ["main", "sweep"])
@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        (datasets.COLOUR, "{'name': 'mine:Own'}", "(32, 32, 3)"),
        (datasets.LETTERS, "{'name': 'mine:Own'}", "47 classes"),
        (datasets.LETTERS, "{'name': 'mlp', 'num_classes': 10}", "but the data set has 47"),
        (datasets.COLOUR, "{'name': 'mlp', 'image_shape': (28, 28, 1)}", "but the data set has"),
    ],
)
def test_a_network_for_another_shape_is_refused_before_training(
    folder, tmp_path, command, name, model, message
):
    arguments = [
        "--config=configs/mlp.py",
        f"--config.data.name={name}",
        *QUICK,
        f"--config.model={model}",
        f"--workdir={tmp_path / 'run'}",
    ]
    said = refused(command, *arguments, cwd=folder)
    assert message in said
    assert "config.model" in said
    assert not [path for path in fingerprint(tmp_path) if not path.endswith(".lock")]


def test_a_network_of_ones_own_receives_the_shape(folder, tmp_path):
    arguments = [
        "--config=configs/mlp.py",
        f"--config.data.name={datasets.COLOUR}",
        *QUICK,
        "--config.model={'name': 'mine:Fitting'}",
        f"--workdir={tmp_path}",
    ]
    run("main", *arguments, cwd=folder)
    assert read(tmp_path / "result.json")["parameters"] == (32 * 32 * 3 + 1) * 5


def test_a_network_learns_other_classes_from_where_it_stands(folder, tmp_path):
    """Fine-tuning: all layers but the last are those of a run on other data."""
    digits = ("--config.data.train_split=train[:500]", "--config.data.val_split=train[500:600]")
    run("main", *MLP, "--config.num_epochs=1", *digits, f"--workdir={tmp_path / 'digits'}")
    letters = (*MLP, f"--config.data.name={datasets.LETTERS}", *QUICK)
    source = f"--config.init_from={tmp_path / 'digits'}"
    message = refused("main", *letters, source, f"--workdir={tmp_path / 'run'}", cwd=folder)
    assert "output/kernel: saved (32, 10), wanted (32, 47)" in message
    done = run(
        "main",
        *letters,
        source,
        "--config.init.leave_out=output",
        f"--workdir={tmp_path / 'run'}",
        cwd=folder,
    )
    assert "not copied: params/layers/output/bias, params/layers/output/kernel" in done.stdout
    assert len(rows(tmp_path / "run")) == 3
