"""The Python API, as a notebook uses it."""

import os
import signal
import threading

import numpy as np
import pandas
import pytest

import mnist_jax
from mnist_jax import api, data
from mnist_jax.members import Sweep
from tests.commands import bits, fingerprint, python, read, rows, untimed

pytestmark = pytest.mark.usefixtures("undrawn")

SPLITS = {"data.train_split": "train[:1000]", "data.val_split": "train[1000:1500]"}
OVERRIDES = SPLITS | {"model.hidden": (8,)}


def small():
    """A configuration to edit: one small hidden layer, two short epochs."""
    config = mnist_jax.default()
    config.num_epochs = 2
    config.data.train_split = SPLITS["data.train_split"]
    config.data.val_split = SPLITS["data.val_split"]
    config.model = dict(name="mlp", hidden=(8,))
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and the rows that it told of."""
    told: list[list[dict]] = []
    workdir = tmp_path_factory.mktemp("trained") / "run"
    run = mnist_jax.train(small(), workdir=workdir, on_epoch=lambda rows: told.append([*rows]))
    return run, told


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep, and the lines that it told of."""
    told: list[dict] = []
    members = {"8 units": small(), "none": small()}
    members["none"].model = dict(name="mlp", hidden=())
    run = mnist_jax.sweep(
        Sweep(members),
        workdir=str(tmp_path_factory.mktemp("swept")),
        seeds=2,
        num_epochs=1,
        on_epoch=told.extend,
    )
    return run, told


@pytest.fixture(scope="module")
def test_split():
    return data.load("mnist", "test")


# Training


def test_a_run_has_what_its_files_hold(trained):
    run, _ = trained
    assert run.result == read(run.workdir / "result.json")
    assert run.history == rows(run.workdir)
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert 0.1 < run.result["test_accuracy"] < 1.0
    assert (run.workdir / "report.html").exists()


def test_each_epoch_is_told(trained):
    run, told = trained
    assert told == [run.history[:1], run.history]


def test_a_finished_run_is_left_alone(trained):
    run, _ = trained
    before = fingerprint(run.workdir)
    told: list = []
    again = mnist_jax.train(small(), workdir=str(run.workdir), on_epoch=told.append)
    assert again.result == run.result
    assert told == []
    assert fingerprint(run.workdir) == before


@pytest.mark.slow
def test_a_file_a_configuration_and_a_typed_one_are_the_same(trained, tmp_path, monkeypatch):
    """And a second and a third training in one process have the bits of the first."""
    run, _ = trained
    changed = mnist_jax.default()
    changed.seed = 7
    typed = mnist_jax.Config(
        num_epochs=1,
        data=mnist_jax.config.Data(train_split="train[:1000]", val_split="train[1000:1500]"),
    )
    asked = (
        ("dict", changed, {"seed": 0, "num_epochs": 2, "overrides": OVERRIDES}),
        ("typed", typed, {"num_epochs": 2, "overrides": {"model.hidden": (8,)}}),
    )
    for name, config, keywords in asked:
        found = mnist_jax.train(config, workdir=tmp_path / name, **keywords)
        assert found.result["config"] == run.result["config"]
        assert untimed(found.history) == untimed(run.history)
        assert bits(found.workdir) == bits(run.workdir)
    assert changed.seed == 7  # the caller's own is not touched
    assert changed.num_epochs == mnist_jax.default().num_epochs


def test_a_file_has_a_folder_of_its_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = mnist_jax.train("configs/mlp.py", num_epochs=1, overrides=OVERRIDES)
    assert run.workdir.resolve() == tmp_path / "runs" / "mlp"
    assert run.result["config"]["model"]["hidden"] == [8]
    assert run.result["config"]["num_epochs"] == 1


def test_a_finished_run_goes_on_to_more_epochs(trained, tmp_path):
    run, _ = trained
    told: list[int] = []
    for epochs in (1, 2):
        found = mnist_jax.train(
            small(),
            workdir=tmp_path,
            num_epochs=epochs,
            on_epoch=lambda rows: told.append(len(rows)),
        )
    assert told == [1, 2]
    assert bits(found.workdir) == bits(run.workdir)
    assert found.result["config"] == run.result["config"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nun_epochs": 3}, "did you mean 'num_epochs'"),
        ({"num_epochs": 2.5}, "expected int, got 2.5"),
        ({"overrides": ["model.hidden=8"]}, "overrides: must be a dict"),
        ({"overrides": {"model.hiden": 3}}, "did you mean 'hidden'"),
        ({"overrides": {"data.val_split": "all"}}, "holds 10000 rows of the test split"),
        ({"optimizer": {"name": "sgd", "learning_rate": 1e30}}, "not finite"),
    ],
)
def test_unfit_fields_raise_value_error(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        mnist_jax.train(small(), workdir=tmp_path, **fields)


def test_a_folder_that_holds_another_run_raises_value_error(trained):
    run, _ = trained
    with pytest.raises(ValueError, match=r"seed: 0 -> 1"):
        mnist_jax.train(small(), workdir=run.workdir, seed=1)
    for function in (mnist_jax.train, mnist_jax.sweep):
        with pytest.raises(ValueError, match="workdir"):
            function(small())
        with pytest.raises(ValueError, match="no configuration file"):
            function("nothing.py")
        with pytest.raises(ValueError, match="must be a configuration"):
            function({"num_epochs": 1}, workdir=run.workdir)


def test_trains_from_a_thread(trained, tmp_path):
    run, _ = trained
    found: list[mnist_jax.api.Run] = []
    thread = threading.Thread(
        target=lambda: found.append(mnist_jax.train(small(), workdir=tmp_path))
    )
    thread.start()
    thread.join()
    assert bits(found[0].workdir) == bits(run.workdir)


def test_an_interrupt_saves_and_the_same_call_goes_on(trained, tmp_path):
    run, _ = trained
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="stopped on request"):
        mnist_jax.train(
            small(), workdir=tmp_path, on_epoch=lambda rows: os.kill(os.getpid(), signal.SIGINT)
        )
    assert signal.getsignal(signal.SIGINT) is before
    assert len(rows(tmp_path)) == 1
    assert bits(mnist_jax.train(small(), workdir=tmp_path).workdir) == bits(run.workdir)


def test_a_mistake_in_on_epoch_costs_nothing_that_was_trained(trained, tmp_path):
    run, _ = trained
    with pytest.raises(ZeroDivisionError):
        mnist_jax.train(small(), workdir=tmp_path, on_epoch=lambda rows: 1 / 0)
    again: list[int] = []
    mnist_jax.train(small(), workdir=tmp_path, on_epoch=lambda rows: again.append(len(rows)))
    assert again == [2]
    assert bits(tmp_path) == bits(run.workdir)


# Prediction


def test_predicts_bytes_and_floats_with_and_without_a_channel(trained, test_split):
    run, _ = trained
    classifier = mnist_jax.load(run.workdir)
    images = test_split.images[:1001]  # more than two batches and not a whole number of them
    found = classifier.predict(images)
    assert found.labels.shape == (1001,)
    assert found.labels.dtype == np.int32
    assert found.probabilities.shape == (1001, 10)
    assert found.probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_array_equal(found.labels, found.probabilities.argmax(axis=1))
    floats = images.astype(np.float32) / np.float32(255)
    for same in (images[..., 0], floats, floats[..., 0]):
        np.testing.assert_array_equal(classifier.predict(same).probabilities, found.probabilities)
    for near in (floats.astype(np.float64), floats[:7].tolist()):
        p = classifier.predict(near).probabilities
        np.testing.assert_allclose(p, found.probabilities[: len(p)], atol=1e-6)
    one = classifier.predict(images[3:4])
    np.testing.assert_allclose(one.probabilities[0], found.probabilities[3], atol=1e-6)
    assert classifier.predict(images[:0]).probabilities.shape == (0, 10)


def test_prediction_agrees_with_evaluation(trained, test_split):
    run, _ = trained
    classifier = mnist_jax.load(run.workdir)
    right = (classifier.predict(test_split.images).labels == test_split.labels).mean()
    assert right == pytest.approx(run.result["test_accuracy"], abs=2e-4)


ZEROS = np.zeros((2, 28, 28), np.float32)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((28, 28), np.uint8), r"expected the shape \[n, 28, 28, 1\] or \[n, 28, 28\]"),
        (np.zeros((2, 32, 32), np.uint8), r"got \[2, 32, 32\]"),
        (np.zeros((2, 28, 28, 3), np.uint8), r"got \[2, 28, 28, 3\]"),
        (np.zeros((2, 784), np.uint8), r"got \[2, 784\]"),
        (np.zeros((2, 28, 28), np.int64), "got int64"),
        (np.zeros((2, 28, 28), bool), "got bool"),
        (ZEROS + 255.0, "divide by 255"),
        (ZEROS + 1.01, "from 0 to 1"),
        (ZEROS - 0.01, "from 0 to 1"),
        (ZEROS + np.nan, "from 0 to 1"),
        (ZEROS + np.inf, "from 0 to 1"),
    ],
)
def test_unfit_images_raise_value_error(trained, images, message):
    run, _ = trained
    with pytest.raises(ValueError, match=message):
        mnist_jax.load(run.workdir).predict(images)


@pytest.mark.parametrize("images", [ZEROS + 1 / 255, np.ones((2, 28, 28), np.uint8)])
def test_images_that_are_nearly_black_are_warned_of(trained, images, capsys):
    run, _ = trained
    assert len(mnist_jax.load(run.workdir).predict(images).labels) == 2
    assert "Were they divided by 255 too often?" in capsys.readouterr().err


# Loading and evaluating


def test_evaluates_as_the_files_say_and_writes_nothing(trained):
    run, _ = trained
    before = fingerprint(run.workdir)
    found = mnist_jax.load(run.workdir).evaluate("test")
    written = read(run.workdir / "evaluation.json")
    assert found.keys() == written.keys()
    for name in ("split", "count", "accuracy", "confusion", "checkpoint"):
        assert found[name] == written[name]
    assert found["loss"] == pytest.approx(written["loss"], rel=1e-6)
    validation = mnist_jax.load(run.workdir).evaluate(SPLITS["data.val_split"])
    assert validation["accuracy"] == run.history[-1]["val_accuracy"]
    assert fingerprint(run.workdir) == before
    for split in ("tset", "train[70000:]", ""):
        with pytest.raises(ValueError, match="split"):
            mnist_jax.load(run.workdir).evaluate(split)


def test_loads_any_checkpoint(trained):
    run, _ = trained
    best = max(run.history, key=lambda row: row["val_accuracy"])
    for checkpoint, row in ((7, run.history[0]), ("7", run.history[0]), ("best", best)):
        found = mnist_jax.load(run.workdir, checkpoint=checkpoint)
        assert found.evaluate(SPLITS["data.val_split"])["accuracy"] == row["val_accuracy"]
    for checkpoint in (8, "newest"):
        with pytest.raises(ValueError, match=str(checkpoint)):
            mnist_jax.load(run.workdir, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="holds no run"):
        mnist_jax.load(run.workdir / "nothing")
    with pytest.raises(ValueError, match="holds a single run"):
        mnist_jax.load(run.workdir, member="best")


def test_a_classifier_tells_what_it_is(trained):
    run, _ = trained
    classifier = mnist_jax.load(str(run.workdir))
    assert classifier.class_names == tuple("0123456789")
    assert isinstance(classifier.config, mnist_jax.Config)
    assert classifier.config.num_epochs == 2
    assert classifier.weights["params"]["layers"]["dense_1"]["kernel"].shape == (784, 8)


# Sweeps


def test_a_sweep_has_what_its_files_hold(swept):
    run, told = swept
    assert isinstance(run.table, pandas.DataFrame)
    names = [("8 units", 0), ("8 units", 1), ("none", 0), ("none", 1)]
    assert list(zip(run.table["architecture"], run.table["seed"], strict=True)) == names
    assert run.table["test_accuracy"].between(0.1, 1.0).all()
    assert list(run.summary["architecture"]) == ["8 units", "none"]
    mean = run.table.groupby("architecture")["val_loss"].mean()
    assert list(run.summary["val_loss"]) == pytest.approx([mean["8 units"], mean["none"]])
    assert run.result["members"] == 4
    assert {row["epoch"] for row in run.history} == {1}  # num_epochs reached every member
    assert by_name(told) == by_name(run.history)


def by_name(lines: list[dict]) -> dict[tuple, dict]:
    return {(line["architecture"], line["seed"], line["epoch"]): line for line in lines}


def test_loads_a_network_of_a_sweep(swept):
    run, _ = swept
    row = run.table.iloc[1]
    found = mnist_jax.load(run.workdir, member="8 units", seed=1).evaluate()
    assert found["loss"] == pytest.approx(row["test_loss"], rel=1e-4)
    best = mnist_jax.load(run.workdir, member="best").evaluate()
    chosen = run.table.loc[run.table["val_accuracy"].idxmax()]
    assert best["accuracy"] == pytest.approx(chosen["test_accuracy"], abs=2e-4)
    with pytest.raises(ValueError, match="'8 units', 'none', or best"):
        mnist_jax.load(run.workdir)


@pytest.mark.slow
def test_a_sweep_of_one_configuration_is_named_by_its_file_or_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keywords = {"num_epochs": 1, "overrides": OVERRIDES}
    run = mnist_jax.sweep("configs/mlp.py", seeds=2, **keywords)
    assert run.workdir.resolve() == tmp_path / "runs" / "mlp-sweep"
    assert list(run.table["architecture"]) == ["mlp", "mlp"]
    run = mnist_jax.sweep(small(), workdir="mine", **keywords)
    assert list(run.table["architecture"]) == ["mine"]
    grown = mnist_jax.sweep(small(), workdir="mine", seeds=2, **keywords)
    assert list(grown.table["seed"]) == [0, 1]
    assert grown.table["test_loss"][0] == run.table["test_loss"][0]


# The package


def test_importing_the_package_imports_neither_jax_nor_numpy():
    code = "import sys, mnist_jax; print({'jax', 'numpy'} & set(sys.modules), *mnist_jax.__all__)"
    assert python(code) == "set() Config default load sweep train\n"


@pytest.mark.slow
def test_names_stay_callable_whatever_is_imported():
    """Python sets each imported submodule as an attribute of its package."""
    code = """
import importlib, pkgutil
import mnist_jax
for module in pkgutil.walk_packages(mnist_jax.__path__, "mnist_jax."):
    importlib.import_module(module.name)
import mnist_jax.sweep
from mnist_jax import load, sweep, train
names = ("train", "load", "sweep", "default", "Config")
print(*(callable(getattr(mnist_jax, name)) for name in names), callable(sweep))
print(mnist_jax.default().num_epochs, hasattr(mnist_jax, "nothing"))
"""
    assert python(code) == "True True True True True True\n10 False\n"


def test_data_are_arrays(test_split):
    assert test_split.images.shape == (10_000, 28, 28, 1)
    assert test_split.images.dtype == np.uint8
    assert test_split.labels.shape == (10_000,)


def test_names_in_a_table_stay_texts(tmp_path):
    (tmp_path / "sweep.csv").write_text("architecture,seed\n010,0\nNone,1\n")
    assert [*api.SweepRun(tmp_path).table["architecture"]] == ["010", "None"]
