"""Many networks at a time: each follows its own run, whatever the others do."""

import dataclasses

import jax
import numpy as np
import pytest

from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.training import layout as layouts
from mnist_jax.training import population
from mnist_jax.training.program import prepare_many, prepare_one
from tests.training.small import (
    SMALL,
    assert_same_bits,
    begin,
    largest_difference,
    on_devices,
    state_of,
    trained,
    untimed,
)

pytestmark = pytest.mark.usefixtures("quick_compiles")

EVERYTHING = SMALL | {
    "augment": {"rotation": 10.0, "elastic": 0.5},
    "clip_norm": 1.0,
    "weight_decay": 1e-3,
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
    "metrics": ("brier",),
}
VARIED = (
    {},
    {"seed": 1},
    {"seed": 2, "optimizer.learning_rate": 3e-3},
    {"seed": 2**32 - 1, "model.dropout": 0.0, "weight_decay": 0.0, "clip_norm": 0.0},
    {"ema_decay": 0.0, "label_smoothing": 0.0, "augment.elastic": 0.0, "augment.rotation": 0.0},
)


@pytest.fixture(scope="module")
def alone():
    """A function from a configuration to its run on one device: the state, and the rows."""
    done = {}  # compiling takes as long as many a test

    def train(config):
        if repr(config) not in done:
            with on_devices(1):
                program = prepare_one(config)
            at = trained(program)
            done[repr(config)] = state_of(program, at), at.rows[0]
        return done[repr(config)]

    return train


def together(configs, devices=1, width=None):
    with on_devices(devices, width):
        program = prepare_many(configs)
    return program, trained(program)


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "width"), [(1, 1), (1, 5), (2, 1), (2, 3), (8, 1)], ids=str)
def test_each_member_follows_its_own_run(alone, devices, width):
    base = parse(EVERYTHING)
    configs = [population.replace(base, change) for change in VARIED]
    program, at = together(configs, devices, width)
    assert at.step == 20
    for i, config in enumerate(configs):
        theirs, (its,) = alone(config)
        ours, (row,) = state_of(program, at, i), at.rows[i]
        assert largest_difference(ours["params"], theirs["params"]) < 1e-5, VARIED[i]
        if config.ema_decay:
            assert largest_difference(ours["average"], theirs["average"]) < 1e-5
        assert row.keys() == its.keys()
        for name in ("train_loss", "val_loss", "train_brier", "val_brier", "learning_rate"):
            assert row[name] == pytest.approx(its[name], rel=1e-4), name
        assert row["val_accuracy"] == pytest.approx(its["val_accuracy"], abs=1 / 260)
        assert row["step"] == its["step"]


@pytest.mark.slow
def test_a_cnn_with_batch_statistics_too(alone):
    model = {"name": "cnn", "features": (4, 4), "dense": (8,), "normalisation": "batch"}
    # Adam would blow up what rounding leaves of the gradient of a bias that batch norm takes out.
    sgd = {"name": "sgd", "learning_rate": 0.05}
    config = parse(SMALL | {"model": model, "optimizer": sgd, "ema_decay": 0.9})
    configs = [dataclasses.replace(config, seed=seed) for seed in (0, 1)]
    program, at = together(configs, 1, 2)
    for i, its in enumerate(configs):
        ours, (theirs, _) = state_of(program, at, i), alone(its)
        assert largest_difference(ours["params"], theirs["params"]) < 1e-5
        assert largest_difference(ours["variables"], theirs["variables"]) < 1e-4
        assert largest_difference(ours["average"], theirs["average"]) < 1e-4


@pytest.mark.slow
def test_batches_from_the_host_give_the_same_bits():
    configs = [dataclasses.replace(parse(EVERYTHING), seed=seed) for seed in (0, 7, 0)]
    hosted = [
        dataclasses.replace(c, data=dataclasses.replace(c.data, placement="host")) for c in configs
    ]
    (a, at), (b, bt) = together(configs, 2), together(hosted, 2)
    assert_same_bits(a.layout.members(at.state), b.layout.members(bt.state))
    assert [untimed(rows) for rows in at.rows] == [untimed(rows) for rows in bt.rows]
    assert untimed(at.rows[0]) == untimed(at.rows[2]) != untimed(at.rows[1])


@pytest.mark.parametrize("width", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_member_that_diverges_leaves_the_others_as_they_are(width):
    base = parse(
        SMALL
        | {"num_epochs": 2, "chunk_steps": 7, "optimizer": {"name": "sgd", "learning_rate": 0.1}}
    )
    bad = population.replace(base, {"optimizer.learning_rate": 1e30})
    others = [dataclasses.replace(base, seed=seed) for seed in (0, 1)]
    program, at = together([others[0], bad, others[1]], 1, width)
    assert [at.status[0], at.status[2]] == ["finished", "finished"]
    assert at.status[1].startswith("diverged in epoch 1, step ")
    assert at.diverged.tolist() == [False, True, False]
    assert [len(rows) for rows in at.rows] == [2, 0, 2]
    states = program.layout.members(at.state)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states["params"]))
    sound = population.replace(base, {"optimizer.learning_rate": 0.2})
    without, bt = together([*others, sound], 1, width)
    for ours, theirs in ((0, 0), (2, 1)):
        assert_same_bits(state_of(program, at, ours), state_of(without, bt, theirs))


def test_padding_of_a_split_spoils_no_member(user_module):
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
    config = parse(SMALL | {"model": {"name": "standard:Standardised"}})
    _, at = together([config])
    assert at.status == ["finished"]
    assert np.isfinite(at.rows[0][0]["val_loss"])


def test_each_member_has_its_own_patience():
    base = parse(SMALL | {"num_epochs": 6, "patience": 1, "best": "val_loss"})
    stuck = population.replace(base, {"optimizer.learning_rate": 0.0, "seed": 1})
    program, at = together([base, stuck])
    assert at.status == ["finished", "finished"]
    assert len(at.rows[1]) == 2  # the first is better than nothing, the second no better
    assert len(at.rows[0]) > 2
    losses = [row["val_loss"] for row in at.rows[0]]
    assert len(losses) == 6 or losses[-1] >= min(losses[:-1])
    initial = state_of(program, begin(program), 1)
    assert_same_bits(state_of(program, at, 1)["params"], initial["params"])


def test_a_sweep_refuses_modes_that_are_meant_for_one_network():
    with pytest.raises(UserError, match=r"config\.parallel: a sweep assigns whole members"):
        layouts.for_members(parse({"parallel": "pmap"}), 3)
    with pytest.raises(UserError, match=r"config\.reduction"):
        layouts.for_members(parse({"reduction": "elastic"}), 3)


@pytest.mark.parametrize(
    ("count", "devices", "padding"), [(1, 1, 0), (3, 3, 0), (8, 8, 0), (20, 8, 4)]
)
def test_there_are_no_more_devices_than_members(count, devices, padding):
    layout = layouts.for_members(parse({}), count)
    assert (len(layout.devices), layout.padding) == (devices, padding)


@pytest.mark.parametrize(
    ("count", "devices", "width", "turns"),
    [(1, 1, 1, 1), (5, 1, 1, 5), (5, 1, 5, 1), (5, 1, 2, 3), (20, 8, 1, 3), (3, 2, 1, 2)],
)
def test_how_often_a_device_computes_for_a_step(count, devices, width, turns):
    layout = layouts.for_members(parse({}), count, jax.devices()[:devices])
    assert dataclasses.replace(layout, width=width).turns == turns


@pytest.mark.parametrize(("count", "devices"), [(1, 1), (3, 2), (20, 8)])
def test_what_is_placed_comes_back_without_the_padding(count, devices):
    layout = layouts.for_members(parse({}), count, jax.devices()[:devices])
    tree = {"weights": np.arange(count * 3.0, dtype=np.float32).reshape(count, 3)}
    placed = layout.place(tree)
    assert placed["weights"].shape == (count + layout.padding, 3)
    assert_same_bits(layout.members(placed), tree)
    assert_same_bits(layout.members(layout.place(placed)), tree)
