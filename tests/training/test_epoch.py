"""The end of an epoch: divergence, the best epoch, patience."""

import dataclasses
import math
import types

import jax
import numpy as np
import pytest

from mnist_jax import metrics
from mnist_jax.config import parse
from mnist_jax.training import population
from mnist_jax.training.epoch import out_of_patience
from mnist_jax.training.program import prepare_many, prepare_one
from mnist_jax.training.state import evaluation_weights
from tests.training.small import SMALL, assert_same_bits, on_devices, trained

pytestmark = pytest.mark.usefixtures("quick_compiles")

STEEP = """
from mnist_jax.training.loss import cross_entropy

def steep(outputs, targets, *, output_activation):
    return 100.0 * cross_entropy(outputs, targets, output_activation=output_activation)
"""


@pytest.mark.parametrize(
    ("best", "patience", "values", "expected"),
    [
        ("val_accuracy", 0, [0.5, 0.4, 0.3], False),  # never
        ("val_accuracy", 1, [], False),
        ("val_accuracy", 1, [0.5], False),
        ("val_accuracy", 1, [0.5, 0.6], False),
        ("val_accuracy", 1, [0.5, 0.4], True),
        ("val_accuracy", 1, [0.5, 0.5], True),  # a tie does not improve
        ("val_accuracy", 2, [0.5, 0.4], False),
        ("val_accuracy", 2, [0.5, 0.4, 0.6, 0.5], False),
        ("val_accuracy", 2, [0.5, 0.4, 0.6, 0.5, 0.6], True),
        ("val_loss", 1, [0.5, 0.4], False),  # lower is better
        ("val_loss", 1, [0.5, 0.6], True),
        ("val_loss", 2, [0.5, None, None], True),  # nothing, as NaN is written, never improves
        ("val_loss", 2, [math.nan], False),
        ("val_loss", 2, [None, None], True),
        ("val_loss", 2, [None, None, 0.4], False),
    ],
)
def test_patience_counts_the_epochs_since_the_best_one(best, patience, values, expected):
    config = parse({"best": best, "patience": patience})
    task = types.SimpleNamespace(metrics=metrics.find())
    program = types.SimpleNamespace(config=config, task=task)
    assert out_of_patience(program, [{best: value} for value in values]) is expected


@pytest.mark.parametrize(("best", "ema_decay"), [("val_accuracy", 0.0), ("val_brier", 0.5)])
def test_the_weights_of_the_best_epoch_are_kept_bit_for_bit(best, ema_decay):
    model = {"name": "mlp", "hidden": (8,), "normalisation": "batch"}
    base = parse(
        SMALL
        | {"num_epochs": 6, "best": best, "metrics": ("brier",), "model": model}
        | {"ema_decay": ema_decay, "optimizer": {"name": "adam", "learning_rate": 0.1}}
    )
    configs = [dataclasses.replace(base, seed=seed) for seed in range(3)]
    with on_devices(1):
        program = prepare_many(configs)
    by_epoch, last = [], 0
    column, metric = best, metrics.of_column(program.task.metrics, best)

    def save(at):
        nonlocal last
        by_epoch.append(program.layout.members(evaluation_weights(at.state)))
        for i, rows in enumerate(at.rows):
            epoch = metrics.best_epoch(rows, column, metric)
            last += epoch != len(rows) - 1
            trees = at.best, by_epoch[epoch]
            kept, then = (jax.tree.map(lambda x, i=i: x[i], tree) for tree in trees)
            assert_same_bits(kept, then)

    at = trained(program, save)
    assert len(by_epoch) == 6
    assert at.status == ["finished"] * 3
    assert last > 0  # an epoch that was none of the best


@pytest.mark.parametrize("many", [False, True])
def test_what_was_kept_before_is_not_changed_while_it_is_written(many):
    config = parse(SMALL | {"num_epochs": 3, "best": "val_loss"})
    with on_devices(1):
        program = prepare_many([config, config]) if many else prepare_one(config)
    kept, copies = [], []

    def save(at):
        kept.append(at.best)
        copies.append(jax.tree.map(np.copy, at.best))

    trained(program, save)
    for ours, then in zip(kept, copies, strict=True):
        assert_same_bits(ours, then)


def test_without_validation_nothing_is_the_best():
    config = parse(SMALL | {"data": SMALL["data"] | {"val_split": ""}})
    with on_devices(1):
        program = prepare_one(config)
    at = trained(program)
    assert at.best == {}
    assert (at.rows[0][0]["val_loss"], at.rows[0][0]["val_accuracy"]) == (None, None)


def test_a_network_whose_very_last_update_spoils_it_has_diverged(user_module):
    """Its loss and its gradient are finite, and there is no validation to show what it is."""
    user_module("steep_loss", STEEP)
    one_step = {"train_split": "train[:32]", "val_split": ""}
    sgd = {"name": "sgd", "learning_rate": 1e38}
    config = parse(SMALL | {"data": one_step, "optimizer": sgd, "loss": "steep_loss:steep"})
    saved = []
    with on_devices(1):
        program = prepare_one(config)
    assert program.steps_per_epoch == 1
    at = trained(program, saved.append)
    (status,) = at.status
    assert status == (
        "diverged in epoch 1, step 1: the parameters, batch statistics, an average or the "
        "optimizer's state are not finite"
    )
    assert (saved, at.rows) == ([], [[]])


def test_a_network_whose_optimizer_overflows_has_diverged_within_a_chunk(user_module):
    """Its updates are then 0, and every number but the second moments is finite."""
    user_module("steep_loss", STEEP.replace("100.0", "1e22"))
    config = parse(SMALL | {"chunk_steps": 5, "loss": "steep_loss:steep"})
    saved = []
    with on_devices(1):
        program = prepare_one(config)
    at = trained(program, saved.append)
    assert at.status == [
        "diverged in epoch 1, steps 1 to 5: the parameters, batch statistics, an average or the "
        "optimizer's state are not finite"
    ]
    assert (saved, at.rows) == ([], [[]])


@pytest.mark.parametrize("split", ["train[640:900]", ""])
def test_a_network_that_loses_its_numbers_is_told_by_epoch_and_step(split):
    sgd = {"name": "sgd", "learning_rate": 1e30}
    config = parse(SMALL | {"optimizer": sgd, "data": SMALL["data"] | {"val_split": split}})
    saved = []
    with on_devices(1):
        program = prepare_one(config)
    at = trained(program, saved.append)
    assert at.status[0].startswith("diverged in epoch 1, step ")
    assert (saved, at.rows) == ([], [[]])


def test_a_network_that_makes_nothing_of_the_validation_split_has_diverged(user_module):
    user_module(
        "brittle",
        """
import jax.numpy as jnp
from mnist_jax.models.mlp import MLP

class Brittle(MLP):
    def __call__(self, images, *, train, keys=None):
        outputs = super().__call__(images, train=train, keys=keys)
        return outputs if train else outputs * jnp.inf
""",
    )
    config = parse(SMALL | {"num_epochs": 2, "model": {"name": "brittle:Brittle"}})
    saved = []
    with on_devices(1):
        program = prepare_one(config)
    at = trained(program, saved.append)
    assert at.status == ["diverged in epoch 1, validation: an output is not finite"]
    assert saved == []


def test_a_network_that_is_out_of_patience_stays_as_it_is_while_others_train():
    base = parse(SMALL | {"num_epochs": 5, "patience": 1, "best": "val_loss"})
    stuck = population.replace(base, {"optimizer.learning_rate": 0.0})
    with on_devices(1):
        program = prepare_many([stuck, base])
    states = []
    at = trained(program, lambda at: states.append(program.layout.members(at.state)))
    assert len(at.rows[0]) == 2 < len(at.rows[1])
    first, *_, last = (jax.tree.map(lambda x: x[0], its) for its in states[1:])
    assert_same_bits(last, first)
    assert int(last["step"]) == 40
