import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mnist_jax.config import default, parse
from mnist_jax.errors import UserError
from mnist_jax.training import optimizer
from mnist_jax.training.schedule import fractions

pytestmark = pytest.mark.usefixtures("quick_compiles")

STEPS_PER_EPOCH, EPOCHS = 10, 4
PARAMS = {
    "kernel": np.float32([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.1]]),
    "bias": np.float32([2.0, -1.0]),
}
GRADIENTS = {
    "kernel": np.float32([[3.0, -1.0], [0.5, 2.0], [-0.1, 4.0]]),
    "bias": np.float32([-2.0, 0.3]),
}


def built(**values):
    return optimizer.build(parse({"num_epochs": EPOCHS, **values}), STEPS_PER_EPOCH)


def after_three_steps(transformation):
    @jax.jit
    def train(params):
        state = transformation.init(params)
        for step in range(3):
            gradients = jax.tree.map(lambda g, step=step: g * (1.0 - 0.6 * step), GRADIENTS)
            updates, state = transformation.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        return params

    return train(PARAMS)


def assert_same(ours, theirs):
    results = after_three_steps(ours), after_three_steps(theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *results)
    assert not np.allclose(results[0]["kernel"], PARAMS["kernel"], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("adam", {"b1": 0.8}),
        ("sgd", {}),
        ("sgd", {"momentum": 0.9, "nesterov": True}),
        ("adamw", {"weight_decay": 0.1}),
        ("nadam", {}),
        ("lamb", {}),
        ("lion", {}),
        ("rmsprop", {"decay": 0.5, "centered": True}),
        ("adagrad", {}),
        ("adafactor", {}),
        ("radam", {"threshold": 4}),
    ],
)
def test_an_optimizer_is_optaxs_own(name, keywords):
    ours, schedule = built(optimizer={"name": name, "learning_rate": 0.1, **keywords})
    assert_same(ours, getattr(optax, name)(learning_rate=0.1, **keywords))
    assert schedule(7) == 0.1


def test_adam_is_the_default():
    ours, schedule = built()
    assert_same(ours, optax.adam(1e-3))
    assert schedule(0) == 1e-3


@pytest.mark.parametrize(
    ("name", "keywords", "steps"),
    [
        ("constant_schedule", {"value": 0.1}, {}),
        ("cosine_decay_schedule", {"init_value": 0.1, "decay_steps": 1.0}, {"decay_steps": 40}),
        (
            "cosine_decay_schedule",
            {"init_value": 0.1, "decay_steps": "1.5 epochs"},
            {"decay_steps": 15},
        ),
        (
            "cosine_onecycle_schedule",
            {"peak_value": 0.1, "transition_steps": 1.0},
            {"transition_steps": 40},
        ),
        (
            "warmup_cosine_decay_schedule",
            {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": "1 epoch", "decay_steps": 0.5},
            {"warmup_steps": 10, "decay_steps": 20},
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 0.1, "boundaries_and_scales": {"2 epochs": 0.1, "3 epochs": 0.5}},
            {"boundaries_and_scales": {20: 0.1, 30: 0.5}},
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 0.1, "boundaries_and_scales": {0.5: 0.1, 0.75: 0.5}},
            {"boundaries_and_scales": {20: 0.1, 30: 0.5}},
        ),
        (
            "linear_schedule",
            {"init_value": 1, "end_value": 0, "transition_steps": 0.5, "transition_begin": 0.25},
            {"transition_steps": 20, "transition_begin": 10},
        ),
        (
            "exponential_decay",
            {"init_value": 0.1, "decay_rate": 0.5, "transition_steps": "1 epoch"},
            {"transition_steps": 10},
        ),
    ],
)
def test_a_schedule_is_optaxs_own_with_durations_of_the_run(name, keywords, steps):
    ours, schedule = built(optimizer={"name": "adam"}, schedule={"name": name, **keywords})
    theirs = getattr(optax.schedules, name)(**keywords | steps)
    steps = jnp.arange(41)
    np.testing.assert_allclose(*(jax.vmap(f)(steps) for f in (schedule, theirs)), rtol=1e-6)
    assert_same(ours, optax.adam(theirs))


def test_a_duration_is_never_rounded_to_nothing():
    _, schedule = optimizer.build(
        parse(
            {
                "num_epochs": 1,
                "optimizer": {"name": "adam"},
                "schedule": {
                    "name": "cosine_decay_schedule",
                    "init_value": 1.0,
                    "decay_steps": 0.01,
                },
            }
        ),
        steps_per_epoch=3,
    )
    assert [float(schedule(0)), float(schedule(1))] == [1.0, 0.0]


@pytest.mark.parametrize("boundaries", [{"2 epochs": 0.1}, {0.5: 0.1}], ids=str)
def test_boundaries_of_a_schedule_survive_a_config_file_and_config_json(boundaries):
    config = default()
    config.optimizer = dict(name="adam")
    config.schedule = dict(
        name="piecewise_constant_schedule", init_value=1.0, boundaries_and_scales=boundaries
    )
    first = parse(config.to_dict())
    again = parse(json.loads(json.dumps(first.to_dict())))
    assert again == first
    _, schedule = optimizer.build(again, STEPS_PER_EPOCH)
    assert float(schedule(100)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "schedule", [{}, {"name": "cosine_decay_schedule", "init_value": 0.1, "decay_steps": 1.0}]
)
def test_weight_decay_with_adam_is_adamw_on_kernels(schedule):
    rate = optax.cosine_decay_schedule(0.1, 40) if schedule else 0.1
    keywords = {} if schedule else {"learning_rate": 0.1}
    ours, _ = built(
        optimizer={"name": "adam", **keywords}, schedule={"name": "", **schedule}, weight_decay=0.2
    )
    theirs = optax.adamw(rate, weight_decay=0.2, mask={"kernel": True, "bias": False})
    assert_same(ours, theirs)


def test_weight_decay_by_hand():
    ours, _ = built(optimizer={"name": "sgd", "learning_rate": 0.5}, weight_decay=0.1)
    zero = jax.tree.map(jnp.zeros_like, GRADIENTS)
    updates, _ = ours.update(zero, ours.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["kernel"], -0.05 * PARAMS["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], [0.0, 0.0])


@pytest.mark.parametrize("limit", [1.0, 100.0])
def test_clip_norm_by_hand(limit):
    ours, _ = built(optimizer={"name": "sgd", "learning_rate": 1.0}, clip_norm=limit)
    updates, _ = ours.update(GRADIENTS, ours.init(PARAMS), PARAMS)
    norm = np.sqrt(sum((g**2).sum() for g in GRADIENTS.values()))
    assert 1.0 < norm < 100.0
    for name, g in GRADIENTS.items():
        np.testing.assert_allclose(updates[name], -g * min(1.0, limit / norm), rtol=1e-6)


def test_clipping_comes_before_the_optimizer_and_decay_after():
    ours, _ = built(
        optimizer={"name": "adagrad", "learning_rate": 0.1}, clip_norm=1.0, weight_decay=0.2
    )
    decay = optax.add_decayed_weights(-0.02, mask={"kernel": True, "bias": False})
    assert_same(ours, optax.chain(optax.clip_by_global_norm(1.0), optax.adagrad(0.1), decay))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"name": "adm"}, r"config.optimizer.name: .*'adm'; did you mean 'adam'"),
        ({"name": "chain"}, r"config.optimizer.name: there is no 'chain'"),
        (
            {"name": "adam", "learning_rte": 0.1},
            r"config.optimizer: there is no field 'learning_rte'; did you mean 'learning_rate'",
        ),
        (
            {"name": "adam", "learning_rate": 1.0, "nesterov": "x"},
            r"config.optimizer.nesterov: expected bool, got 'x'",
        ),
        ({"name": "adam"}, r"config.optimizer: learning_rate must be given"),
    ],
)
def test_an_optimizer_that_optax_does_not_have_is_refused(keywords, message):
    with pytest.raises(UserError, match=message):
        built(optimizer=keywords)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"name": "cosine_decay"}, r"config.schedule.name: .*mean 'cosine_decay_schedule'"),
        ({"decay_step": 1.0}, r"config.schedule: .*'decay_step'; did you mean 'decay_steps'"),
        ({"decay_steps": 500}, r"config.schedule.decay_steps: give a fraction .* got 500"),
        ({"decay_steps": "3 weeks"}, r"config.schedule.decay_steps: .* got '3 weeks'"),
        ({"decay_steps": "x epochs"}, r"config.schedule.decay_steps: .* got 'x epochs'"),
    ],
)
def test_a_schedule_that_optax_does_not_have_is_refused(keywords, message):
    with pytest.raises(UserError, match=message):
        built(
            optimizer={"name": "adam"},
            schedule={"name": "cosine_decay_schedule", "init_value": 1.0, **keywords},
        )


def test_durations_that_are_fractions_of_the_run_are_told():
    def found(**schedule):
        name = {"optimizer": {"name": "adam"}, "schedule": schedule}
        return fractions(parse(name))

    assert found(name="") == []
    assert found(name="constant_schedule", value=0.1) == []
    warm = {"name": "warmup_cosine_decay_schedule", "init_value": 0.0, "peak_value": 0.1}
    assert found(**warm, warmup_steps="1 epoch", decay_steps="9 epochs") == []
    assert found(**warm, warmup_steps=0.25, decay_steps=1) == [
        "config.schedule.warmup_steps = 0.25",
        "config.schedule.decay_steps = 1",
    ]
    assert found(**warm, warmup_steps=0, decay_steps="9 epochs") == []  # nothing of any length
    steps = {"name": "piecewise_constant_schedule", "init_value": 0.1}
    assert found(**steps, boundaries_and_scales={"2 epochs": 0.1}) == []
    assert found(**steps, boundaries_and_scales={0.5: 0.1, "3 epochs": 0.1}) == [
        "config.schedule.boundaries_and_scales at 0.5"
    ]


OWN = """
from typing import Literal
import jax.numpy as jnp
import optax

def momentum(learning_rate, *, decay: float = 0.0, mode="plain", way: Literal["down"] = "down"):
    sign = {"plain": 1.0, "against": -1.0}[mode]
    return optax.chain(optax.trace(decay), optax.scale_by_learning_rate(learning_rate * sign))

def annotated(learning_rate: optax.ScalarOrSchedule, *, mode: str | None = None):
    return optax.sgd(learning_rate)

def picky(learning_rate: float):
    raise ValueError("too fast")

def ramp(*, peak: float, warmup_steps: int):
    assert type(peak) is float and type(warmup_steps) is int
    return lambda step: jnp.minimum(peak, peak * step / warmup_steps)

def number():
    return 0.1
"""


@pytest.fixture
def own_optimizers(user_module):
    user_module("own_optimizers", OWN)


def test_an_optimizer_of_ones_own_takes_keywords(own_optimizers):
    own = {"name": "own_optimizers:momentum", "learning_rate": 0.1, "decay": 0.9, "way": "down"}
    ours, schedule = built(optimizer=own)
    assert_same(ours, optax.sgd(0.1, momentum=0.9))
    assert schedule(7) == 0.1
    ours, _ = built(optimizer=own | {"mode": "against"})
    assert_same(ours, optax.sgd(-0.1, momentum=0.9))
    ours, _ = built(
        optimizer={"name": "own_optimizers:annotated", "mode": "any"},
        schedule={"name": "constant_schedule", "value": 0.1},
    )
    assert_same(ours, optax.sgd(0.1))


@pytest.mark.parametrize(("duration", "steps"), [(0.5, 20), ("2 epochs", 20), (1, 40)])
def test_a_schedule_of_ones_own_receives_its_durations_as_steps(own_optimizers, duration, steps):
    ours, schedule = built(
        optimizer={"name": "adam"},
        schedule={"name": "own_optimizers:ramp", "peak": 1, "warmup_steps": duration},
    )
    theirs, at = optax.linear_schedule(0.0, 1.0, steps), jnp.arange(2 * steps)
    np.testing.assert_allclose(*(jax.vmap(f)(at) for f in (schedule, theirs)), atol=1e-6)
    assert_same(ours, optax.adam(schedule))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"optimizer": {"name": "own_optimizers:momentum", "learning_rate": 1, "deacy": 1.0}},
            r"config.optimizer: there is no field 'deacy'; did you mean 'decay'",
        ),
        (
            {"optimizer": {"name": "own_optimizers:picky", "learning_rate": 1.0}},
            r"config.optimizer: own_optimizers:picky rejects these values: too fast",
        ),
        (
            {"optimizer": {"name": "own_optimizers:number"}},
            r"config.optimizer.name: own_optimizers:number returns 0.1, but must return an optax",
        ),
        (
            {"optimizer": {"name": "adam"}, "schedule": {"name": "own_optimizers:number"}},
            r"config.schedule.name: own_optimizers:number returns 0.1, but must return a function",
        ),
        (
            {"optimizer": {"name": "adam"}, "schedule": {"name": "own_optimizers:ramp"}},
            r"config.schedule: peak, warmup_steps must be given",
        ),
        (
            {"optimizer": {"name": "own_optimizers:annotated", "learning_rate": "x"}},
            r"config.optimizer.learning_rate: expected a number, got 'x'",
        ),
    ],
)
def test_an_optimizer_or_a_schedule_of_ones_own_that_is_none_is_refused(
    own_optimizers, values, message
):
    with pytest.raises(UserError, match=f"^{message}"):
        built(**values)
