"""`reduction = 'elastic'`: the number of devices, and how they are used, changes no bit."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from mnist_jax.config import parse
from mnist_jax.data import Split
from mnist_jax.errors import UserError
from mnist_jax.training import layout as layouts
from mnist_jax.training.inference import Examiner, examine
from mnist_jax.training.program import prepare_one
from mnist_jax.training.reduction import Elastic
from mnist_jax.training.step import train_step
from tests.training.small import (
    SMALL,
    assert_same_bits,
    largest_difference,
    on_devices,
    state_of,
    trained,
    untimed,
)

ELASTIC = SMALL | {"reduction": "elastic"}
EVERYTHING = ELASTIC | {
    "model": {"name": "mlp", "hidden": (8,), "dropout": 0.2, "normalisation": "batch"},
    "augment": {"rotation": 10.0},
    "clip_norm": 1.0,
    "weight_decay": 1e-3,
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
    "metrics": ("brier",),
}
DEEP = EVERYTHING | {
    "num_epochs": 2,
    "chunk_steps": 7,  # which do not divide the epoch
    "model": {"name": "mlp", "hidden": (12, 9), "dropout": 0.2, "normalisation": "batch"},
    "data": {"train_split": "train[:640]", "val_split": "train[640:1640]"},  # two whole blocks
}
CNN = ELASTIC | {
    "model": {
        "name": "cnn",
        "features": (4, 6),
        "kernel": (5, 3),
        "dense": (16,),
        "dropout": 0.2,
        "normalisation": "batch",
    },
    "augment": {"elastic": 1.0, "mixup": 0.2},
}


def left_by(values, count, mode):
    """All that a training on so many devices leaves: the state, the best weights, the rows."""
    with on_devices(count):
        program = prepare_one(parse(values | {"parallel": mode}))
    at = trained(program)
    assert len(program.layout.devices) == count
    return state_of(program, at), jax.device_get(at.best), untimed(at.rows[0])


@pytest.fixture(scope="module")
def on_one_device():
    """A function from a configuration to what its training on a single device leaves."""
    done = {}

    def train(values):
        if repr(values) not in done:
            done[repr(values)] = left_by(values, 1, "jit")
        return done[repr(values)]

    return train


def assert_same(values, count, mode, expected):
    state, best, rows = left_by(values, count, mode)
    assert_same_bits(state, expected[0])
    assert_same_bits(best, expected[1])
    assert rows == expected[2]


def cases(*few):
    """Every mode on every number of devices; all but a few are slow."""
    return [
        pytest.param(mode, n, marks=[] if (mode, n) in few else pytest.mark.slow)
        for mode in ("jit", "pmap", "shard_map")
        for n in (1, 2, 4, 8)
        if (mode, n) != ("jit", 1)
    ]


@pytest.mark.parametrize(("mode", "count"), cases(("shard_map", 4), ("pmap", 8)))
def test_any_number_of_devices_gives_the_same_bits(on_one_device, mode, count):
    """Dropout, batch statistics, rotation, average, clipping, decay, smoothing and a metric."""
    assert_same(EVERYTHING, count, mode, on_one_device(EVERYTHING))


def test_so_do_batches_from_the_host(on_one_device):
    data = EVERYTHING["data"] | {"placement": "host"}
    assert_same(EVERYTHING | {"data": data}, 2, "auto", on_one_device(EVERYTHING))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "mode", "count"),
    [(DEEP, "pmap", 2), (DEEP, "pmap", 8), (CNN, "shard_map", 4), (CNN, "pmap", 8)],
    ids=["deep-pmap-2", "deep-pmap-8", "cnn-shard_map-4", "cnn-pmap-8"],
)
def test_so_do_larger_networks(on_one_device, values, mode, count):
    """In chunks of several lengths; and with mixup, which pairs the examples of a part."""
    assert_same(values, count, mode, on_one_device(values))


def test_all_of_the_state_is_compared(on_one_device):
    state, best, (row,) = on_one_device(EVERYTHING)
    assert all(state[part] for part in ("params", "variables", "optimizer", "average"))
    assert best.keys() == {"params", "variables"}
    assert row["val_accuracy"] > 0.2
    assert {"train_brier", "val_brier"} <= row.keys()


@pytest.mark.parametrize("count", [260, 1000])
def test_a_split_is_examined_to_the_same_bits(make_task, count):
    """In one block or two: fewer than there are devices."""
    values = {"reduction": "elastic", "metrics": ("brier",)}
    task, state = make_task(model={"name": "mlp", "hidden": (6,), "normalisation": "batch"})
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, 28, 28, 1), np.uint8)
    labels = random.integers(0, 10, count).astype(np.int32)
    split = Split(images, labels, tuple("0123456789"), "mnist", "test")
    found = []
    for devices in (1, 2, 8):
        layout = layouts.for_batch(parse(values), jax.devices()[:devices])
        weights = {"params": state["params"], "variables": state["variables"]}
        weights = layout.place(jax.tree.map(lambda x: x[None], weights))

        def function(weights, numbers, blocks, each=layout.reduction.over_blocks):
            return examine(task.model, task.loss, task.metrics, weights, blocks, each, p=True)

        outputs = Examiner(layout, function, weights, {}, split)(weights)
        found.append((outputs.values, outputs.probabilities))
    assert found[0][1].shape == (1, count, 10)
    for other in found[1:]:
        assert_same_bits(other, found[0])


def test_the_gradient_is_that_of_the_whole_batch(make_task, fake_batch, quick_compiles):
    """One step of SGD at a learning rate of 1 takes it away; batch statistics would differ."""
    values = {
        "model": {"name": "mlp", "hidden": (6,), "dropout": 0.3},
        "optimizer": {"name": "sgd", "learning_rate": 1.0},
        "augment": {"rotation": 15.0},
        "label_smoothing": 0.1,
    }
    batch = fake_batch(32)
    task, state = make_task(**values)
    expected = jax.device_get(jax.jit(functools.partial(train_step, task))(state, batch))
    config = parse({"reduction": "elastic"})
    layout = layouts.for_batch(config, jax.devices()[:4])
    task, state = make_task(layout.reduction, **values)
    step = jax.shard_map(
        functools.partial(train_step, task),
        mesh=layout.shared.mesh,
        in_specs=(P(), P(layouts.DATA)),
        out_specs=P(),
        check_vma=False,
    )
    found = jax.device_get(jax.jit(step)(state, batch))
    assert largest_difference(found["params"], state["params"]) > 0.01
    assert largest_difference(found["params"], expected["params"]) < 1e-5
    assert largest_difference(found["sums"], expected["sums"]) < 1e-4


@pytest.mark.parametrize(
    ("mode", "count", "chosen"),
    [
        ("auto", 1, "shard_map"),
        ("auto", 2, "pmap"),
        ("jit", 4, "shard_map"),
        ("pmap", 8, "pmap"),
    ],
)
def test_the_compiler_does_not_split_the_batch(mode, count, chosen):
    config = parse({"parallel": mode, "reduction": "elastic"})
    layout = layouts.for_batch(config, jax.devices()[:count])
    assert (layout.mode, layout.reduction) == (chosen, Elastic("data"))
    assert layout.reduction.model_axis is None


@pytest.mark.parametrize(
    ("values", "count", "message"),
    [
        ({}, 3, "config.reduction: 'elastic' divides each batch into 8 parts, which 3 devices"),
        (
            {"batch_size": 100},
            2,
            "config.batch_size: 100 cannot be divided .*; use a multiple of 8",
        ),
        ({"batch_size": 4}, 1, "config.batch_size: 4 cannot be divided"),
    ],
)
def test_what_has_no_eight_equal_parts_is_refused(values, count, message):
    config = parse(values | {"reduction": "elastic"})
    with pytest.raises(UserError, match=message):
        layouts.for_batch(config, jax.devices()[:count])


def test_parts_of_an_odd_number_of_examples_cannot_be_mixed():
    with on_devices(2), pytest.raises(UserError, match=r"in each part .* use a multiple of 16"):
        prepare_one(parse(ELASTIC | {"batch_size": 24, "augment": {"mixup": 0.2}}))


def test_a_sweep_refuses_it():
    with pytest.raises(UserError, match=r"config.reduction: a sweep .* use 'mean', not 'elastic'"):
        layouts.for_members(parse(ELASTIC), 2)
