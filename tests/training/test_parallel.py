"""A step of SGD at a learning rate of 1 takes the gradient away, so no factor can hide in it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_jax.analysis.evaluation import evaluate
from mnist_jax.config import parse
from mnist_jax.data import Split
from mnist_jax.errors import UserError
from mnist_jax.training import parallel
from mnist_jax.training.inference import Inference
from mnist_jax.training.loss import cross_entropy, probabilities
from mnist_jax.training.step import run_steps, train_step

COMMON = {
    "batch_size": 16,
    "optimizer": {"name": "sgd", "learning_rate": 1.0},
    "label_smoothing": 0.1,
    "ema_decay": 0.5,
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
    *(("convolution", mode, n) for mode, n in (("jit", 2), ("pmap", 4), ("shard_map", 8))),
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
    layout = parallel.layout(config, jax.devices()[:count])
    task, state = make_task(layout.axis_name, **values, parallel=mode)
    state = jax.device_put(state, layout.replicated)
    batches = jax.tree.map(lambda x: x[None], batch)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batches)
    steps = functools.partial(run_steps, task, lambda data, row: row)
    return jax.device_get(layout.compile(steps, state, (), shapes)(state, (), batches))


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
    layout = parallel.layout(parse({"parallel": mode}), jax.devices()[:count])
    assert (layout.mode, layout.axis_name, len(layout.devices)) == (chosen, axis, count)


def test_all_devices_are_taken_where_none_are_named():
    assert parallel.layout(parse({})).devices == tuple(jax.devices())
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
        parallel.layout(parse(values))


@pytest.mark.parametrize("count", [1, 37, 4001])
def test_evaluation_takes_each_example_once_on_all_devices(make_task, count):
    """The padding that makes whole blocks for eight devices never changes a figure."""
    values = {"name": "mlp", "hidden": (4,), "normalisation": "batch", "dropout": 0.5}
    task, state = make_task(model=values)
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, 28, 28, 1), np.uint8)
    labels = random.integers(0, 10, count).astype(np.int32)
    split = Split(images, labels, tuple("0123456789"), "mnist", "test")
    found = Inference(task.model, cross_entropy, split)(state["params"], state["variables"])

    pixels = images.astype(np.float32) / 255.0
    outputs, _ = task.model.apply(state["params"], state["variables"], pixels, train=False)
    targets = jax.nn.one_hot(jnp.asarray(labels), 10)
    losses = cross_entropy(outputs, targets, output_activation="softmax")
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    expected = probabilities(outputs, output_activation="softmax")
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5, atol=1e-7)
    figures = evaluate(found)
    assert figures["count"] == count
    assert figures["accuracy"] == float((np.asarray(outputs).argmax(1) == labels).mean())
    assert figures["loss"] == pytest.approx(float(losses.mean()), rel=1e-5)
