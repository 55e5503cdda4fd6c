"""A population: each member follows the run of its own configuration, whatever the others do."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from mnist_jax.config import parse
from mnist_jax.training import lifting, parallel, population, standing
from mnist_jax.training.epoch import end_epoch
from mnist_jax.training.position import Position
from mnist_jax.training.progress import Progress
from mnist_jax.training.run import prepare
from mnist_jax.training.stop import StopSignal
from mnist_jax.training.together import train_together

pytestmark = pytest.mark.usefixtures("quick_compiles")

SMALL = {
    "num_epochs": 1,
    "batch_size": 32,
    "data": {"train_split": "train[:640]", "val_split": "train[640:900]"},
    "model": {"name": "mlp", "hidden": (16,), "dropout": 0.2},
    "optimizer": {"name": "adam", "learning_rate": 1e-2},
    "augment": {"rotation": 10.0, "elastic": 0.5},
    "clip_norm": 1.0,
    "weight_decay": 1e-3,
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
}
VARIED = (
    {},
    {"seed": 1},
    {"seed": 2, "optimizer.learning_rate": 3e-3},
    {"seed": 2**32 - 1, "model.dropout": 0.0, "weight_decay": 0.0, "clip_norm": 0.0},
    {"ema_decay": 0.0, "label_smoothing": 0.0, "augment.elastic": 0.0, "augment.rotation": 0.0},
)


def lay_out(monkeypatch, devices: int, width: int | None = None) -> None:
    """Members on this many devices; `width` of them at a time, if given."""
    make = functools.partial(parallel.members_layout, devices=jax.devices()[:devices])

    def layout(config, count):
        made = make(config, count)
        each = -(-count // len(made.devices))
        return made if width is None else dataclasses.replace(made, width=min(width, each))

    monkeypatch.setattr(parallel, "members_layout", layout)


@pytest.fixture(scope="module")
def alone():
    """A function from a configuration to where its run on one device stands after an epoch."""
    done = {}  # compiling takes as long as many a test

    def train(config):
        if repr(config) not in done:
            layout = functools.partial(parallel.layout, devices=jax.devices()[:1])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(parallel, "layout", layout)
                run = prepare(config)
            at = Position(run.initial, [])
            for chunk in run.feed.chunks(0):
                at.state = run.advance(at.state, chunk)
            at.seconds = 1.0
            end_epoch(run, at)
            done[repr(config)] = at
        return done[repr(config)]

    return train


def together(configs, progress_epochs: int = 1):
    trained = population.prepare(configs)
    at = standing.begin(trained)
    progress = Progress(progress_epochs, trained.steps_per_epoch)
    train_together(trained, at, StopSignal(), lambda at: None, progress)
    return trained, at


def weights(trained, at, member: int):
    states = trained.members_of(at.states)
    return jax.tree.map(lambda x: x[member], states)


def largest_difference(a, b) -> float:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.abs(np.asarray(x) - np.asarray(y)).max()) for x, y in pairs)


@pytest.mark.parametrize(("devices", "width"), [(1, 1), (1, 5), (2, 1), (2, 3), (8, 1)], ids=str)
def test_each_member_follows_its_own_run(monkeypatch, alone, devices, width):
    base = parse(SMALL)
    configs = [lifting.replace(base, change) for change in VARIED]
    lay_out(monkeypatch, devices, width)
    trained, at = together(configs)
    assert at.step == 20
    for i, config in enumerate(configs):
        run_at = alone(config)
        ours = weights(trained, at, i)
        assert largest_difference(ours["params"], run_at.state["params"]) < 1e-5, VARIED[i]
        if config.ema_decay:
            assert largest_difference(ours["average"], run_at.state["average"]) < 1e-5
        row, its = at.rows[i][0], run_at.rows[0]
        assert row.keys() == its.keys()
        for name in ("train_loss", "val_loss", "learning_rate"):
            assert row[name] == pytest.approx(its[name], rel=1e-4), name
        assert row["val_accuracy"] == pytest.approx(its["val_accuracy"], abs=1 / 260)
        assert row["step"] == its["step"]


def test_a_cnn_with_batch_statistics_too(monkeypatch, alone):
    model = {"name": "cnn", "features": (4, 4), "dense": (8,), "normalisation": "batch"}
    # Adam would blow up what rounding leaves of the gradient of a bias that batch norm takes out.
    sgd = {"name": "sgd", "learning_rate": 0.05}
    config = parse(SMALL | {"model": model, "optimizer": sgd})
    configs = [dataclasses.replace(config, seed=seed) for seed in (0, 1)]
    lay_out(monkeypatch, 1, 2)
    trained, at = together(configs)
    for i, its in enumerate(configs):
        ours, theirs = weights(trained, at, i), alone(its).state
        assert largest_difference(ours["params"], theirs["params"]) < 1e-5
        assert largest_difference(ours["variables"], theirs["variables"]) < 1e-4


def test_batches_from_the_host_give_the_same_bits(monkeypatch):
    lay_out(monkeypatch, 2)
    configs = [dataclasses.replace(parse(SMALL), seed=seed) for seed in range(3)]
    hosted = [
        dataclasses.replace(c, data=dataclasses.replace(c.data, placement="host")) for c in configs
    ]
    (a, at), (b, bt) = together(configs), together(hosted)
    assert largest_difference(a.members_of(at.states), b.members_of(bt.states)) == 0.0


@pytest.mark.parametrize("width", [1, 4])
def test_a_member_that_diverges_leaves_the_others_as_they_are(monkeypatch, width):
    lay_out(monkeypatch, 1, width)
    base = parse(
        SMALL
        | {
            "num_epochs": 2,
            "chunk_steps": 7,
            "clip_norm": 0.0,
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
        }
    )
    bad = lifting.replace(base, {"optimizer.learning_rate": 1e30})
    others = [dataclasses.replace(base, seed=seed) for seed in (0, 1)]
    trained, at = together([others[0], bad, others[1]], 2)
    assert at.status == ["finished", "diverged in epoch 1", "finished"]
    assert [len(rows) for rows in at.rows] == [2, 0, 2]
    states = trained.members_of(at.states)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states["params"]))
    without, bt = together([*others, lifting.replace(base, {"optimizer.learning_rate": 0.2})], 2)
    for ours, theirs in ((0, 0), (2, 1)):
        difference = largest_difference(weights(trained, at, ours), weights(without, bt, theirs))
        assert difference == 0.0


def test_padding_of_a_split_spoils_no_member(monkeypatch, user_module):
    # On an image of zeros, as the padding's are, this network divides zero by zero.
    user_module(
        "standard",
        """
from flax import nnx

class Standardised(nnx.Module):
    def __init__(self, *, rngs):
        self.output = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        x = images.reshape(len(images), -1)
        return self.output(x / x.std(axis=1, keepdims=True))
""",
    )
    lay_out(monkeypatch, 1)
    plain = {k: v for k, v in SMALL.items() if k != "augment"}
    config = parse(plain | {"model": {"name": "standard:Standardised"}})
    _, at = together([config])
    assert at.status == ["finished"]
    assert np.isfinite(at.rows[0][0]["val_loss"])


def test_all_members_start_from_the_weights_of_another_run(monkeypatch):
    asked = []

    def warm(state, init_from):
        asked.append(init_from)
        return {**state, "params": jax.tree.map(lambda x: np.full_like(x, 0.5), state["params"])}

    monkeypatch.setattr(standing, "warm_start", warm)
    lay_out(monkeypatch, 2)
    config = parse(SMALL | {"init_from": "runs/other"})
    trained = population.prepare([dataclasses.replace(config, seed=s) for s in range(3)])
    states = trained.members_of(standing.begin(trained).states)
    assert asked == ["runs/other"]
    assert all((leaf == 0.5).all() for leaf in jax.tree.leaves(states["params"]))
    keys = {tuple(key) for key in states["key"].tolist()}
    assert len(keys) == 3


def test_each_member_has_its_own_patience(monkeypatch):
    lay_out(monkeypatch, 1)
    base = parse(SMALL | {"num_epochs": 6, "patience": 1})
    stuck = lifting.replace(base, {"optimizer.learning_rate": 0.0, "seed": 1})
    trained, at = together([base, stuck], 6)
    assert at.status == ["finished", "finished"]
    assert len(at.rows[1]) == 2  # the first is better than nothing, the second no better
    assert len(at.rows[0]) > 2
    losses = [row["val_loss"] for row in at.rows[0]]
    assert len(losses) == 6 or losses[-1] >= min(losses[:-1])
    initial = trained.members_of(trained.initial)
    still = jax.tree.map(lambda x: x[1], initial["params"])
    assert largest_difference(weights(trained, at, 1)["params"], still) < 1e-6


def test_a_sweep_refuses_modes_that_are_meant_for_one_network():
    from mnist_jax.errors import UserError

    with pytest.raises(UserError, match=r"config\.parallel: a sweep lays its members"):
        parallel.members_layout(parse({"parallel": "pmap"}), 3)
    with pytest.raises(UserError, match=r"config\.reduction"):
        parallel.members_layout(parse({"reduction": "elastic"}), 3)


@pytest.mark.parametrize(
    ("count", "devices", "each"), [(1, 1, 1), (3, 3, 1), (8, 8, 1), (20, 8, 3)]
)
def test_there_are_no_more_devices_than_members(count, devices, each):
    layout = parallel.members_layout(parse({}), count)
    assert len(layout.devices) == devices
    assert -(-count // devices) == each
