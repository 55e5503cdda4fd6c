"""A step of SGD at a learning rate of 1 takes the gradient away, so no factor can hide in it."""

import collections
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_jax import metrics
from mnist_jax.config import parse
from mnist_jax.data import Split
from mnist_jax.errors import UserError
from mnist_jax.models.outputs import probabilities
from mnist_jax.training import layout as layouts
from mnist_jax.training.inference import Examiner, examine
from mnist_jax.training.layout import BatchLayout
from mnist_jax.training.loss import cross_entropy
from mnist_jax.training.program import prepare_one
from mnist_jax.training.step import run_steps, train_step
from tests.training.small import SMALL, on_devices

COMMON = {
    "batch_size": 16,
    "optimizer": {"name": "sgd", "learning_rate": 1.0},
    "label_smoothing": 0.1,
    "ema_decay": 0.5,
    "metrics": ("brier",),
}
MLP = {"name": "mlp", "hidden": (6,), "normalisation": "batch"}
CNN = {"name": "cnn", "features": (2, 9), "kernel": (2, 3), "stride": (2, 1), "dense": ()}
CONFIGS = {
    "plain": COMMON | {"model": MLP},
    "random": COMMON
    | {"model": MLP | {"dropout": 0.3}, "augment": {"rotation": 15.0, "translation": 2.0}},
    "convolution": COMMON | {"model": CNN | {"normalisation": "batch"}},
}
# The network is quickly compiled but for the convolutions, on which XLA has much to do.
CASES = [
    *(("plain", mode, n) for mode in ("jit", "pmap", "shard_map") for n in (1, 2, 4, 8)),
    *(("random", mode, n) for mode, n in (("jit", 8), ("pmap", 8), ("shard_map", 4))),
    *(
        pytest.param("convolution", mode, n, marks=pytest.mark.slow)
        for mode, n in (("jit", 2), ("pmap", 4), ("shard_map", 8))
    ),
]


@pytest.fixture(scope="module")
def on_one_device(make_task, fake_batch):
    """A function from a configuration to the state after a step that knows of no devices."""

    @functools.cache
    def after(name):
        task, state = make_task(**CONFIGS[name])
        return jax.device_get(jax.jit(functools.partial(train_step, task))(state, fake_batch(16)))

    return after


def after_a_step(make_task, batch, mode, count, values):
    config = parse(values | {"parallel": mode})
    layout = layouts.for_batch(config, jax.devices()[:count])
    task, state = make_task(layout.reduction, **values, parallel=mode)
    state = layout.place(jax.tree.map(lambda x: x[None], state))
    rows = jax.tree.map(lambda x: x[None, None], batch)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), rows)

    def steps(state, numbers, rows, resident):
        return run_steps(task, lambda data, row: row, state, resident, rows)

    program, _ = layout.compile_steps(steps, state, {}, shapes, ())
    after = layout.members(program(state, {}, np.ones(1, np.bool_), rows, ()))
    return jax.tree.map(lambda x: x[0], after)


def assert_same_state(actual, expected):
    """The batch is summed in another order: a few units in the last place of values near 1."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(compare, actual, expected)


@pytest.mark.parametrize(("name", "mode", "count"), CASES)
def test_a_step_is_that_of_a_single_device(
    make_task, fake_batch, on_one_device, request, name, mode, count
):
    """Gradient, batch statistics of the global batch, dropout, augmentation, average and sums."""
    if name != "convolution":
        request.getfixturevalue("quick_compiles")
    actual = after_a_step(make_task, fake_batch(16), mode, count, CONFIGS[name])
    assert_same_state(actual, on_one_device(name))


def test_the_update_is_large_enough_for_a_factor_to_show(make_task, on_one_device):
    for name in CONFIGS:
        before = make_task(**CONFIGS[name])[1]["params"]["layers"]["output"]["kernel"]
        after = on_one_device(name)["params"]["layers"]["output"]["kernel"]
        assert np.abs(after - before).max() > 0.01


BOOKKEEPING = {"parameter", "bitcast", "reshape", "tuple", "get-tuple-element"}


def operations(compiled) -> collections.Counter:
    """How often each operation stands in what XLA made of a program.

    Without bookkeeping, and without copies of a single number outside the loop: where a donated
    counter is `[1]` and not `[]`, XLA makes two more of them, 4 bytes each, once per chunk.
    """
    found, outside = collections.Counter(), False
    for line in compiled.as_text().splitlines():
        outside |= line.startswith("ENTRY")
        parts = re.match(r"\s+(?:ROOT )?%?[\w.-]+ = (.*?) ([a-z][a-z\d-]*)\(", line)
        if parts is None or parts[2] in BOOKKEEPING:
            continue
        single = re.fullmatch(r"\w+\[1?\](\{0\})?", parts[1])
        if not (outside and single and parts[2] == "copy"):
            found[parts[2]] += 1
    return found


@pytest.mark.slow
def test_the_axis_of_members_costs_one_network_nothing():
    """The program of `main` has the operations of the same function without that axis."""
    with on_devices(1):
        program = prepare_one(parse(SMALL | {"parallel": "jit", "ema_decay": 0.9}))
    (rows,) = program.feed.shapes().values()
    resident = program.feed.resident
    _, ours = program.compile(rows)

    def one(leaf):
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)

    state, rows = jax.tree.map(one, program.shapes), jax.tree.map(one, rows)
    plain = jax.jit(program.lane.steps, donate_argnums=0).lower(state, {}, rows, resident)
    expected = operations(plain.compile())
    assert expected["dot"] + expected["custom-call"] > 2  # the pattern finds something
    assert operations(ours) == expected


@pytest.mark.parametrize(
    ("mode", "count", "chosen", "axis"),
    [
        ("auto", 1, "jit", None),
        ("auto", 2, "pmap", "data"),
        ("jit", 8, "jit", None),
        ("pmap", 1, "pmap", "data"),
        ("shard_map", 4, "shard_map", "data"),
    ],
)
def test_mode(mode, count, chosen, axis):
    layout = layouts.for_batch(parse({"parallel": mode}), jax.devices()[:count])
    assert (layout.mode, layout.reduction.model_axis, len(layout.devices)) == (chosen, axis, count)


def test_all_devices_are_taken_where_none_are_named():
    assert layouts.for_batch(parse({})).devices == tuple(jax.devices())
    assert len(jax.devices()) == 8


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"batch_size": 100},
            "config.batch_size: 100 cannot be split over 8 devices; .*multiple of 8",
        ),
        ({"parallel": "pmapp"}, "config.parallel: 'pmapp' is none of auto, jit, pmap, shard_map"),
        ({"reduction": "elastik"}, "config.reduction: 'elastik'"),
    ],
)
def test_what_cannot_be_laid_out_is_refused_by_name(values, message):
    with pytest.raises(UserError, match=message):
        layouts.for_batch(parse(values))


@pytest.mark.parametrize(("count", "devices"), [(1, 1), (37, 8), (4001, 8)])
def test_evaluation_takes_each_example_once_on_all_devices(make_task, count, devices):
    """The padding that makes whole blocks for eight devices never changes a figure."""
    values = {"name": "mlp", "hidden": (4,), "normalisation": "batch", "dropout": 0.5}
    task, state = make_task(model=values, metrics=("brier",))
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, 28, 28, 1), np.uint8)
    labels = random.integers(0, 10, count).astype(np.int32)
    split = Split(images, labels, tuple("0123456789"), "mnist", "test")
    layout = BatchLayout("jit", tuple(jax.devices()[:devices]))
    weights = {"params": state["params"], "variables": state["variables"]}
    weights = layout.place(jax.tree.map(lambda x: x[None], weights))

    def function(weights, numbers, blocks):
        return examine(task.model, task.loss, task.metrics, weights, blocks, p=True)

    found = Examiner(layout, function, weights, {}, split)(weights)

    pixels = images.astype(np.float32) / 255.0
    outputs, _ = task.model.apply(state["params"], state["variables"], pixels, train=False)
    targets = jax.nn.one_hot(jnp.asarray(labels), 10)
    losses = cross_entropy(outputs, targets, output_activation="softmax")
    brier = metrics.brier(outputs, labels, output_activation="softmax")
    expected = probabilities(outputs, output_activation="softmax")
    assert found.values.keys() == {"loss", "accuracy", "brier"}
    assert {its.shape for its in found.values.values()} == {(1, count)}
    np.testing.assert_allclose(found.values["loss"][0], losses, rtol=1e-5)
    np.testing.assert_allclose(found.values["brier"][0], brier, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.probabilities[0], expected, rtol=1e-5, atol=1e-7)
    assert found.finite.tolist() == [True]
    (means,) = found.means()
    assert means["accuracy"] == float((np.asarray(outputs).argmax(1) == labels).mean())
    assert means["loss"] == pytest.approx(float(losses.mean()), rel=1e-5)
