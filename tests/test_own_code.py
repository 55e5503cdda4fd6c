"""Losses, augmentations, optimizers and schedules of the user's own, as users name them."""

import json
import math

import numpy as np
import pytest

import mnist_jax
from mnist_jax import data
from mnist_jax.config import parse
from mnist_jax.config_file import load
from mnist_jax.errors import UserError
from mnist_jax.members import Sweep
from mnist_jax.training import population
from mnist_jax.training.program import prepare_one
from tests.commands import read, refused, run
from tests.training.small import SMALL, largest_difference, on_devices, state_of, trained

pytestmark = [pytest.mark.usefixtures("quick_compiles", "undrawn"), pytest.mark.slow]

MINE = """
import jax
import jax.numpy as jnp
import optax

def focal(outputs, targets, *, output_activation, gamma: float = 2.0):
    assert output_activation == "softmax"
    log_p = jax.nn.log_softmax(outputs)
    return -(targets * (1.0 - jnp.exp(log_p)) ** gamma * log_p).sum(axis=-1)

def mean(outputs, targets, *, output_activation):
    return outputs.mean()

def shuffled(images, targets, keys, *, by: int = 1):
    return images, jnp.roll(targets, by, axis=-1)

def salted(images, targets, keys, *, share: float):
    draws = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
    return jnp.where(draws < share, 1.0, images), targets * (1.0 - share) + share / 10

def flat(images, targets, keys):
    return images.reshape(len(images), -1), targets

def still(learning_rate):
    update = lambda updates, state, params: (jax.tree.map(lambda u: 0.0 * u, updates), state)
    return optax.GradientTransformation(lambda params: (), update)

def momentum(learning_rate, *, decay: float = 0.9):
    return optax.sgd(learning_rate, momentum=decay)

def summing(learning_rate):
    update = lambda updates, state, params: (jax.tree.map(jnp.sum, updates), state)
    return optax.GradientTransformation(lambda params: (), update)

def ramp(*, peak: float = 0.1, decay_steps: int = 10):
    return lambda step: peak * (1.0 - step / decay_steps)

def vector():
    return lambda step: jnp.zeros(3)
"""
FILE = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs = 1
    config.batch_size = 64
    config.data.train_split = "train[:1280]"
    config.data.val_split = "train[1280:1780]"
    config.model = dict(name="mlp", hidden=(16,))
    config.optimizer = dict(name="adam", learning_rate=0.01)
    {change}
    return config
"""


@pytest.fixture
def write(user_module):
    """A function that writes a configuration file with a change, beside the user's own code."""
    user_module("mine", MINE)

    def write(change: str = "", name: str = "own") -> str:
        user_module(name, FILE.format(change=change))
        return f"{name}.py"

    return write


def by_hand(workdir, gamma: float) -> float:
    """The mean focal loss of a trained network on the test split."""
    test = data.load("mnist", "test")
    p = mnist_jax.load(workdir).predict(test.images).probabilities
    own = p[np.arange(len(p)), test.labels].astype(float)
    return float((-((1.0 - own) ** gamma) * np.log(own)).mean())


# Losses


@pytest.mark.parametrize(
    ("change", "overrides", "gamma", "said"),
    [
        ('config.loss = "mine:focal"', {}, 2.0, "mine:focal"),
        (
            'config.loss = dict(name="mine:focal", gamma=1)',
            {},
            1.0,
            {"name": "mine:focal", "gamma": 1},
        ),
        (
            'config.loss = "mine:focal"',
            {"loss.gamma": 3.0},
            3.0,
            {"name": "mine:focal", "gamma": 3.0},
        ),
    ],
)
def test_a_file_names_a_loss_and_its_keywords(write, change, overrides, gamma, said):
    trained = mnist_jax.train(write(change), overrides=overrides)
    assert read(trained.workdir / "config.json")["loss"] == said
    assert trained.result["test_loss"] == pytest.approx(by_hand(trained.workdir, gamma), rel=1e-4)
    assert trained.history[0]["val_accuracy"] > 0.5


def test_the_command_line_names_a_loss_and_its_keywords(write, tmp_path):
    file = write()
    arguments = f"--config={file}", "--config.loss=mine:focal"
    run("main", *arguments, "--config.loss.gamma=3", cwd=tmp_path)
    workdir = tmp_path / "runs" / "own"
    before = (workdir / "result.json").read_bytes()
    loss = read(workdir / "result.json")["test_loss"]
    assert loss == pytest.approx(by_hand(workdir, 3.0), rel=1e-4)
    found = mnist_jax.load(workdir).evaluate("test")["loss"]
    assert found == pytest.approx(loss, rel=1e-4)
    mnist_jax.train(file, loss={"name": "mine:focal", "gamma": 3})  # is finished already
    assert (workdir / "result.json").read_bytes() == before
    with pytest.raises(UserError, match=r"loss.gamma: 3 -> 4"):
        mnist_jax.train(file, loss="mine:focal", overrides={"loss.gamma": 4})
    message = refused("main", *arguments, "--config.loss.gama=3", "--workdir=new", cwd=tmp_path)
    assert "config.loss: there is no field 'gama'; did you mean 'gamma'?" in message


def test_a_folder_of_an_earlier_version_is_still_the_run_that_it_was(write):
    """It has the loss as a string, and lacks the digests and the fields that are new."""
    file = write()
    workdir = mnist_jax.train(file).workdir
    for name in ("config.json", "result.json"):
        values = read(workdir / name)
        config = values if name == "config.json" else values["config"]
        assert config["loss"] == "cross_entropy"
        for field in ("noise", "erase", "mixup", "functions"):
            del config["augment"][field]
        del config["loggers"]
        for digest in ("files", "sha256"):
            values.pop(digest, None)
        (workdir / name).write_text(json.dumps(values))
    before = (workdir / "result.json").read_bytes()
    mnist_jax.train(file)
    assert (workdir / "result.json").read_bytes() == before
    assert mnist_jax.load(workdir).evaluate()["accuracy"] > 0.5


# Augmentations


def test_functions_of_ones_own_change_targets(write):
    """A network that is told another class learns that one."""
    change = 'config.augment.functions = (dict(name="mine:shuffled", by=3), "mine:shuffled")'
    trained = mnist_jax.train(write(change), num_epochs=4)
    test = data.load("mnist", "test")
    labels = mnist_jax.load(trained.workdir).predict(test.images).labels
    assert (labels == (test.labels + 4) % 10).mean() > 0.7
    assert trained.history[-1]["train_accuracy"] < 0.1  # measured against the labels of the data
    functions = read(trained.workdir / "config.json")["augment"]["functions"]
    assert functions == [{"name": "mine:shuffled", "by": 3}, "mine:shuffled"]


ALL = {
    "rotation": 10.0,
    "noise": 0.1,
    "erase": 0.5,
    "mixup": 0.4,
    "functions": ({"name": "mine:salted", "share": 0.1},),
}


def test_augmentation_does_not_depend_on_the_number_of_devices(write):
    write()
    values = SMALL | {
        "augment": ALL,
        "data": {"train_split": "train[:640]", "val_split": ""},
        "label_smoothing": 0.1,
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
    }
    params, losses = [], []
    for count, mode in ((1, "jit"), (2, "jit"), (2, "pmap"), (2, "shard_map")):
        with on_devices(count):
            program = prepare_one(parse(values | {"parallel": mode}))
            at = trained(program)
        params.append(state_of(program, at)["params"])
        losses.append(at.rows[0][0]["train_loss"])
    for its_params, its_loss in zip(params[1:], losses[1:], strict=True):
        assert largest_difference(params[0], its_params) < 1e-5
        assert losses[0] == pytest.approx(its_loss, rel=1e-5)


@pytest.mark.parametrize("mode", ["pmap", "shard_map"])
def test_an_odd_part_of_a_batch_cannot_be_mixed(mode):
    values = SMALL | {"batch_size": 12, "parallel": mode, "augment": {"mixup": 0.4}}
    with on_devices(4), pytest.raises(UserError, match=r"config.batch_size: .* a multiple of 8"):
        prepare_one(parse(values))
    with on_devices(2):
        prepare_one(parse(values))


# Optimizers and schedules


def test_an_optimizer_and_a_schedule_of_ones_own_train(write):
    own = 'config.optimizer = "mine:momentum"; config.optimizer.decay = 0.8; config.schedule = '
    change = own + 'dict(name="mine:ramp", peak=0.2, decay_steps="2 epochs")'
    theirs = 'config.optimizer = dict(name="sgd", momentum=0.8); config.schedule = '
    same = theirs + (
        'dict(name="linear_schedule", init_value=0.2, end_value=0.0, transition_steps="2 epochs")'
    )
    first, second = (
        mnist_jax.train(write(text, name)) for text, name in [(change, "own"), (same, "optaxs")]
    )
    for name in ("train_loss", "val_loss", "learning_rate"):
        values = first.history[0][name], second.history[0][name]
        assert values[0] == pytest.approx(values[1], rel=1e-4)
    assert first.history[0]["learning_rate"] == pytest.approx(0.1, rel=0.1)  # after one of two


def test_an_optimizer_that_changes_nothing_changes_nothing(write):
    change = 'config.optimizer = dict(name="mine:still", learning_rate=0.1)'
    trained = mnist_jax.train(write(change), num_epochs=2)
    assert trained.history[0]["val_loss"] == trained.history[1]["val_loss"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            'loss = dict(name="mine:focal", gamma="big")',
            "config.loss.gamma: expected float, got 'big'",
        ),
        ('loss = "mine:mean"', r"config.loss: mine:mean returns float32\[\]; .* \[11\]"),
        (
            'augment.functions = ["mine:flat"]',
            r"config.augment.functions\[0\]: mine:flat returns \(float32\[64, 784\], .*"
            r"images float32\[64, 28, 28, 1\]",
        ),
        (
            'augment.functions = ["mine:salted"]',
            r"config.augment.functions\[0\]: share must be given",
        ),
        (
            'optimizer = dict(name="mine:summing", learning_rate=0.1)',
            r"config.optimizer.name: mine:summing gives updates .* -> '\[\]'",
        ),
        (
            'optimizer = "adam"; config.schedule = "mine:vector"',
            r"config.schedule.name: mine:vector gives float32\[3\]; .* a single number",
        ),
        ("batch_size = 63; config.augment.mixup = 1.0", "config.batch_size: mixup .* 63 is an odd"),
    ],
)
@pytest.mark.parametrize("train", [mnist_jax.train, mnist_jax.sweep], ids=["main", "sweep"])
def test_what_does_not_fit_is_refused_before_training(write, tmp_path, change, message, train):
    file = write(f"config.{change}")
    with on_devices(1), pytest.raises(UserError, match=f"^{message}"):
        train(file)
    assert not list((tmp_path / "runs").rglob("checkpoints/*"))


# Sweeps


def test_a_keyword_of_a_loss_of_ones_own_separates_populations(write):
    write()
    configs = [
        parse({"loss": {"name": "mine:focal", "gamma": gamma}, "seed": seed})
        for gamma, seed in [(1.0, 0), (2.0, 0), (1.0, 1)]
    ]
    assert population.together(configs) == [[0, 2], [1]]


@pytest.mark.parametrize("field", ["noise", "erase", "mixup"])
def test_members_that_differ_in_a_built_in_augmentation_train_together(field):
    """But for those without it, which would pay for it."""
    configs = [parse({"augment": {field: value}, "batch_size": 8}) for value in (0.0, 0.5, 0.25)]
    assert population.together(configs) == [[0], [1, 2]]


def test_each_network_of_a_sweep_is_trained_as_it_would_be_alone(write):
    changes = {
        "gentle": 'config.loss = dict(name="mine:focal", gamma=1.0)',
        "harsh": 'config.loss = dict(name="mine:focal", gamma=4.0)',
        "mild": "config.augment.noise = 0.1; config.augment.mixup = 0.2",
        "noisy": "config.augment.noise = 0.2; config.augment.mixup = 0.4",
    }
    configs = {name: load(write(change, name)) for name, change in changes.items()}
    swept = mnist_jax.sweep(Sweep(configs), workdir="runs/all")
    found = {row["architecture"]: row for row in swept.history}
    populations = list((swept.workdir / "populations").iterdir())
    assert len(populations) == 3  # two numbers of augmentation in one program
    for name in ("harsh", "noisy"):
        alone = mnist_jax.train(f"{name}.py").history[0]
        for column in ("train_loss", "val_loss"):
            assert found[name][column] == pytest.approx(alone[column], rel=1e-3), (name, column)
    losses = {row["train_loss"] for row in found.values()}
    assert len(losses) == 4
    assert all(map(math.isfinite, losses))
