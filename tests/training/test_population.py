"""Which members train in one program, and that a lifted number is put where it belongs."""

import dataclasses

import pytest

from mnist_jax.config import parse
from mnist_jax.nested import leaves
from mnist_jax.training import population

BASE = {
    "model": {"name": "mlp", "hidden": (4,), "dropout": 0.1},
    "optimizer": {"name": "adam", "learning_rate": 1e-3, "b1": 0.9},
    "augment": {"rotation": 5.0, "elastic": 1.0},
    "weight_decay": 1e-4,
    "clip_norm": 1.0,
    "ema_decay": 0.9,
    "label_smoothing": 0.05,
    "batch_size": 8,
}
BASE_CONFIG = parse(BASE)
OWN = """
from flax import nnx

class Scaled(nnx.Module):
    def __init__(self, *, scale: float, rngs):
        self.scale = scale
        self.output = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        return self.output(images.reshape(len(images), -1) * self.scale)
"""
LIFTED = (
    "model.dropout",
    "optimizer.learning_rate",
    "optimizer.b1",
    "augment.rotation",
    "augment.elastic",
    "weight_decay",
    "clip_norm",
    "ema_decay",
    "label_smoothing",
)


@pytest.mark.parametrize("name", LIFTED)
def test_members_that_differ_in_a_number_train_together(name):
    other = population.replace(BASE_CONFIG, {name: 0.0, "seed": 3})
    assert population.together([BASE_CONFIG, other]) == [[0, 1]]
    assert population.stacked([BASE_CONFIG, other]).keys() == {name}


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"name": "mlp", "hidden": (5,)}},
        {"num_epochs": 3},
        {"batch_size": 16},
        {"optimizer": {"name": "sgd", "learning_rate": 1e-3}},
        {"data": {"train_split": "train[:100]"}},
    ],
    ids=["shape", "epochs", "batch", "optimizer", "data"],
)
def test_members_of_other_shapes_do_not(change):
    assert population.together([BASE_CONFIG, parse(BASE | change)]) == [[0], [1]]


def test_a_number_that_decides_a_shape_or_a_branch_tells_populations_apart():
    configs = [
        population.replace(BASE_CONFIG, {"augment.elastic_sigma": sigma, "seed": seed})
        for sigma in (4.0, 2.0)
        for seed in (0, 1)
    ]
    assert population.together(configs) == [[0, 1], [2, 3]]


def test_members_without_augmentation_do_not_pay_for_that_of_others():
    off = {"augment.rotation": 0.0, "augment.elastic": 0.0}
    configs = [population.replace(BASE_CONFIG, {**off, "weight_decay": w}) for w in (0.0, 1e-4)]
    assert population.together([BASE_CONFIG, *configs]) == [[0], [1, 2]]


def test_numbers_are_lifted_only_where_they_can_be_together():
    # Where nothing is displaced, the width of the displacement could be lifted: not with it.
    values = [(elastic, sigma) for elastic in (0.0, 1.0) for sigma in (4.0, 2.0)]
    configs = [
        population.replace(BASE_CONFIG, {"augment.elastic": e, "augment.elastic_sigma": s})
        for e, s in values
    ]
    assert population.together(configs) == [[0, 2], [1, 3]]


def test_a_number_of_the_users_own_network_is_not_lifted(user_module):
    user_module("scaled", OWN)
    base = parse({"model": {"name": "scaled:Scaled", "scale": 1.0}})
    other = population.replace(base, {"model.scale": 2.0})
    seed = population.replace(base, {"seed": 1, "optimizer.learning_rate": 0.1})
    assert population.together([base, other, seed]) == [[0, 2], [1]]


def test_durations_of_a_schedule_tell_populations_apart_and_its_rate_does_not():
    def scheduled(rate, steps):
        name = "cosine_decay_schedule"
        return parse(
            {
                "optimizer": {"name": "adam"},
                "schedule": {"name": name, "init_value": rate, "decay_steps": steps},
            }
        )

    configs = [scheduled(rate, steps) for steps in (1.0, 0.5) for rate in (1e-3, 1e-2)]
    assert population.together(configs) == [[0, 1], [2, 3]]


def test_populations_hold_each_member_once_in_the_order_of_the_first():
    configs = [
        dataclasses.replace(parse({"model": {"name": "mlp", "hidden": (width,)}}), seed=seed)
        for seed in range(3)
        for width in (4, 8)
    ]
    assert population.together(configs) == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("name", ["seed", *population.numbers(BASE_CONFIG)])
def test_replace_sets_that_field_alone(name):
    changed = population.replace(BASE_CONFIG, {name: 0.25})
    before, after = (leaves(c.to_dict()) for c in (BASE_CONFIG, changed))
    assert {n for n in after if after[n] != before[n]} == {name}
    assert after[name] == 0.25
