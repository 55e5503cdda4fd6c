"""A metric looks on: naming one more changes no bit of what is trained."""

import dataclasses

import jax
import numpy as np
import pytest

from mnist_jax.config import parse
from mnist_jax.training.program import prepare_many, prepare_one
from tests.training.small import SMALL, assert_same_bits, begin, on_devices

NETWORKS = {
    "mlp": {"name": "mlp", "hidden": (32, 16), "dropout": 0.2},
    "cnn": {"name": "cnn", "features": (3,), "dense": (), "normalisation": "batch"},
}
OWN = """
import jax.numpy as jnp

def margin(outputs, labels, *, output_activation):
    sorted_outputs = jnp.sort(outputs, axis=-1)
    return (sorted_outputs[:, -1] - sorted_outputs[:, -2]) * (labels + 1)

def size(outputs, labels, *, output_activation):
    return jnp.exp(outputs).sum(axis=-1) ** 2 + labels
"""
FURTHER = ("brier", "top_3", "looking_on:margin", "looking_on:size")


def after_an_epoch(config, count):
    """The state of `count` networks after 20 steps; 0 for a run of one."""
    configs = [dataclasses.replace(config, seed=seed) for seed in range(count)]
    with on_devices(1):
        program = prepare_many(configs) if count else prepare_one(config)
    state, active = begin(program).state, np.ones(max(count, 1), np.bool_)
    for chunk in program.feed.chunks(0):
        state = program.advance(state, chunk, active)
    return program.layout.members(state)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("count", [pytest.param(0, id="one"), pytest.param(2, id="population")])
def test_a_further_metric_changes_no_bit_of_the_weights(user_module, network, count):
    user_module("looking_on", OWN)
    data = SMALL["data"] | {"val_split": ""}
    model = {"model": NETWORKS[network], "data": data, "parallel": "auto", "ema_decay": 0.9}
    config = parse(SMALL | model)
    without = after_an_epoch(config, count)
    looked_on = after_an_epoch(dataclasses.replace(config, metrics=FURTHER), count)
    sums, further = without.pop("sums"), looked_on.pop("sums")
    assert further.keys() - sums.keys() == {"brier", "top_3", "margin", "size"}
    assert_same_bits(looked_on, without)
    assert_same_bits({name: further[name] for name in sums}, sums)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(further))


@pytest.mark.usefixtures("quick_compiles")
def test_what_the_networks_share_and_what_they_do_not():
    rate = {"name": "adam", "learning_rate": 1e-2}
    slow = {"name": "adam", "learning_rate": 1e-3}
    configs = [
        parse(SMALL | {"optimizer": its, "seed": seed}) for its in (rate, slow) for seed in (0, 5)
    ]
    with on_devices(2):
        program = prepare_many(configs)
    assert program.config is configs[0]
    assert program.seeds.tolist() == [0, 5, 0, 5]
    assert program.numbers.keys() == {"optimizer.learning_rate"}
    assert program.learning_rates(3) == [1e-2, 1e-2, 1e-3, 1e-3]
    assert program.chunks.keys() == {20}
    assert program.bytes_needed > 0
    assert program.fits
    state = program.layout.members(program.start())
    assert len({key.tobytes() for key in state["key"]}) == 2
    kernels = state["params"]["layers"]["dense_1"]["kernel"]
    np.testing.assert_array_equal(kernels[0], kernels[2])
    assert not np.array_equal(kernels[0], kernels[1])


@pytest.mark.usefixtures("quick_compiles")
def test_each_network_has_the_rate_of_its_own_schedule():
    its = [{"name": "linear_schedule", "init_value": rate, "end_value": 0.0} for rate in (0.1, 0.4)]
    configs = [
        parse(
            SMALL | {"optimizer": {"name": "sgd"}, "schedule": schedule | {"transition_steps": 1.0}}
        )
        for schedule in its
    ]
    with on_devices(1):
        program = prepare_many(configs)
    steps = program.steps_per_epoch * configs[0].num_epochs
    assert program.learning_rates(0) == [0.1, 0.4]
    assert program.learning_rates(steps // 4) == pytest.approx([0.075, 0.3])
    assert program.learning_rates(steps) == pytest.approx([0.0, 0.0], abs=1e-7)
