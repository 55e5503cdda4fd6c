import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mnist_jax.data import Spec
from mnist_jax.training.loss import cross_entropy
from mnist_jax.training.state import NO_STEP, SOME_STEP, evaluation_weights
from mnist_jax.training.step import augmented, run_steps, train_step

ADAM = {"name": "adam", "learning_rate": 0.01}
SGD = {"name": "sgd", "learning_rate": 1.0}
TINY = {"name": "mlp", "hidden": (4,)}
DISTORTED = {"rotation": 15.0, "translation": 2.0, "scale": 0.1, "shear": 5.0, "elastic": 1.0}


def stepper(task):
    return jax.jit(functools.partial(train_step, task))


@pytest.fixture(scope="module")
def gradient(make_task):
    """What one step of SGD at a learning rate of 1 takes away, and the state after it."""

    programs = {}

    def step(batch, **values):
        if repr(values) not in programs:
            task, before = make_task(optimizer=SGD, **values)
            programs[repr(values)] = jax.device_get(before), stepper(task)
        before, program = programs[repr(values)]
        after = jax.device_get(program(before, batch))
        return jax.tree.map(np.subtract, before["params"], after["params"]), after

    return step


def assert_close(actual, expected, **tolerance):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), actual, expected)


# The mean loss and the gradient's norm before the step, and some weights after one of Adam.
REFERENCE = {
    "mlp": {
        "loss": 2.518817,
        "correct": 1,
        "gradient_norm": 2.924594,
        "first_kernel": [-0.04068178, 0.003787044, 0.05490226],
        "output_kernel": [0.2602380, -0.3570626, 0.3878128],
        "output_bias": [0.00999993, -0.00999993, 0.00999993],
    },
    "cnn": {
        "loss": 2.330451,
        "correct": 1,
        "gradient_norm": 0.9326357,
        "first_kernel": [0.05001957, 0.02731467, -0.08676232],
        "output_kernel": [0.2882206, -0.1613711, -0.05033513],
        "output_bias": [0.00999993, 0.00999993, 0.00999993],
    },
}


@pytest.mark.parametrize(
    "model",
    [TINY, {"name": "cnn", "features": (3,), "kernel": (5,), "dense": (4,)}],
    ids=lambda model: model["name"],
)
def test_golden_step(make_task, gradient, fake_batch, model):
    batch = fake_batch(16)
    gradients, after = gradient(batch, model=model)
    task, state = make_task(model=model, optimizer=ADAM)
    trained = stepper(task)(state, batch)["params"]["layers"]
    first = trained["dense_1" if "dense_1" in trained else "conv_1"]["kernel"]
    found = {
        "loss": float(after["sums"]["loss"]) / 16,
        "correct": float(after["sums"]["accuracy"]),
        "gradient_norm": float(optax.tree.norm(gradients)),
        "first_kernel": first[..., 0].reshape(-1)[:3].tolist(),
        "output_kernel": trained["output"]["kernel"][0, :3].tolist(),
        "output_bias": trained["output"]["bias"][:3].tolist(),
    }
    expected = {name: pytest.approx(v, rel=1e-4) for name, v in REFERENCE[model["name"]].items()}
    assert found == expected, (
        "One step of training gives other numbers than it did. If the initial weights, the "
        "network, the loss or Adam were meant to change, put the new numbers into REFERENCE and "
        "measure the results in README again; if not, the change broke training."
    )


@pytest.mark.usefixtures("quick_compiles")
def test_a_step_counts_itself_and_its_examples(make_task, fake_batch):
    task, state = make_task(model=TINY, optimizer=SGD)
    step, batch = stepper(task), fake_batch(16)
    outputs, _ = task.model.apply(
        state["params"], {}, batch["image"] / np.float32(255), train=False
    )
    correct = int((outputs.argmax(1) == batch["label"]).sum())
    once = step(state, batch)
    twice = step(once, batch)
    assert [int(s["step"]) for s in (state, once, twice)] == [0, 1, 2]
    assert [int(s["sums"]["count"]) for s in (state, once, twice)] == [0, 16, 32]
    assert float(once["sums"]["accuracy"]) == correct
    losses = task.loss(outputs, jax.nn.one_hot(batch["label"], 10), output_activation="softmax")
    assert float(once["sums"]["loss"]) == pytest.approx(float(losses.sum()), rel=1e-5)
    np.testing.assert_array_equal(state["key"], twice["key"])


@pytest.mark.usefixtures("quick_compiles")
def test_the_gradient_is_that_of_the_mean_loss(gradient, fake_batch):
    batch = fake_batch(16)
    twice = {name: np.concatenate([x, x]) for name, x in batch.items()}
    once, after = gradient(batch, model=TINY)
    again, after_twice = gradient(twice, model=TINY)
    assert_close(again, once, rtol=1e-4, atol=1e-6)
    assert float(after_twice["sums"]["loss"]) == pytest.approx(
        2 * float(after["sums"]["loss"]), rel=1e-5
    )


COUNTING = """
import jax
import jax.numpy as jnp
from flax import nnx
from mnist_jax.models.mlp import MLP

class Counting(MLP):
    def __init__(self, *, image_shape, num_classes, rngs):
        super().__init__(
            hidden=(4,), normalisation="batch", image_shape=image_shape, num_classes=num_classes,
            rngs=rngs,
        )
        self.calls = nnx.Variable(jnp.int32(0))

    def __call__(self, images, *, train, keys=None):
        self.calls[...] += 1
        return super().__call__(images, train=train, keys=keys)
"""


@pytest.mark.usefixtures("quick_compiles")
def test_the_average_by_hand(make_task, fake_batch, user_module):
    """Of the parameters and the batch statistics; a counter is as it is."""
    user_module("counting", COUNTING)
    decay = 0.15
    sgd = {"name": "sgd", "learning_rate": 0.1}
    task, state = make_task(model={"name": "counting:Counting"}, optimizer=sgd, ema_decay=decay)
    step = stepper(task)

    def raw(state):
        return {part: state[part] for part in ("params", "variables")}

    def mean(average, value, now):
        real = np.issubdtype(value.dtype, np.inexact)
        return now * average + (1 - now) * value if real else value

    jax.tree.map(np.testing.assert_array_equal, state["average"], raw(state))
    expected = jax.device_get(raw(state))
    for t in range(3):
        state = step(state, fake_batch(16))
        now = min(decay, (1 + t) / (10 + t))  # 0.1, then 0.15
        expected = jax.tree.map(
            functools.partial(mean, now=now), expected, jax.device_get(raw(state))
        )
        assert_close(state["average"], expected, rtol=1e-5, atol=1e-6)
    assert int(state["average"]["variables"]["calls"]) == 3
    statistics = state["variables"]["layers"], state["average"]["variables"]["layers"]
    differences = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), *statistics)
    assert max(jax.tree.leaves(differences)) > 1e-3


@pytest.mark.usefixtures("strict_dtypes", "quick_compiles")
def test_the_networks_are_evaluated_with_all_of_the_average(make_task, fake_batch):
    model = TINY | {"normalisation": "batch"}
    task, state = make_task(model=model, optimizer=SGD, ema_decay=0.9)
    state = stepper(task)(state, fake_batch(16))
    assert evaluation_weights(state) is state["average"]
    assert state["average"].keys() == {"params", "variables"}
    task, state = make_task(model=model)
    assert state["average"] == {}
    expected = {"params": state["params"], "variables": state["variables"]}
    assert jax.tree.structure(evaluation_weights(state)) == jax.tree.structure(expected)


def root_loss(outputs, targets, *, output_activation):
    """Its value is finite where its gradient is not: at 0. Of one output alone."""
    return jnp.sqrt(jnp.abs(outputs[..., 3]) * 0.0)


@pytest.mark.usefixtures("quick_compiles")
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_the_first_step_with_a_loss_or_gradient_not_finite_is_kept(make_task, fake_batch, what):
    task, state = make_task(model={"name": "mlp", "hidden": ()}, optimizer=SGD)
    good, batch = stepper(task), fake_batch(8)
    state = good(good(state, batch), batch)
    assert int(state["bad_step"]) == -1
    if what == "loss":
        bad = good
        state["params"] = jax.tree.map(lambda p: p * jnp.inf, state["params"])
    else:
        bad = stepper(dataclasses.replace(task, loss=root_loss))
    state = bad(state, batch)
    assert bool(jnp.isfinite(state["sums"]["loss"])) == (what == "gradient")
    for _ in range(2):
        assert int(state["bad_step"]) == 2
        state = bad(state, batch)


def steep_loss(outputs, targets, *, output_activation):
    return 100.0 * cross_entropy(outputs, targets, output_activation=output_activation)


@pytest.mark.usefixtures("quick_compiles")
@pytest.mark.parametrize("steps", [1, 3])
def test_parameters_that_the_last_update_of_a_chunk_has_spoilt_are_found(
    make_task, fake_batch, steps
):
    """The loss and the gradient of that step are finite, and there is no next one to show it."""
    huge = {"name": "sgd", "learning_rate": 1e38}
    task, state = make_task(model=TINY, optimizer=huge)
    task = dataclasses.replace(task, loss=steep_loss)
    batch = fake_batch(8)
    after = stepper(task)(state, batch)
    assert int(after["bad_step"]) == -1
    assert not all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(after["params"]))

    rows = jax.tree.map(lambda x: np.broadcast_to(x, (steps, *x.shape)), batch)
    chunk = jax.jit(functools.partial(run_steps, task, lambda data, row: row))
    assert int(chunk(state, (), rows)["bad_step"]) == (SOME_STEP if steps == 1 else 1)
    task, state = make_task(model=TINY, optimizer=SGD)
    chunk = jax.jit(functools.partial(run_steps, task, lambda data, row: row))
    assert int(chunk(state, (), rows)["bad_step"]) == -1


@pytest.mark.usefixtures("quick_compiles")
def test_batch_statistics_that_are_not_finite_are_found(make_task, fake_batch):
    task, state = make_task(model=TINY | {"normalisation": "batch"}, optimizer=SGD)
    state["variables"] = jax.tree.map(lambda x: x * jnp.nan, state["variables"])
    rows = jax.tree.map(lambda x: x[None], fake_batch(8))
    after = jax.jit(functools.partial(run_steps, task, lambda data, row: row))(state, (), rows)
    assert int(after["bad_step"]) == SOME_STEP


@pytest.mark.usefixtures("quick_compiles")
def test_a_second_moment_that_overflows_is_found(make_task, fake_batch):
    """Loss, gradient and parameters stay finite, and the network would learn no more."""
    task, state = make_task(model=TINY, optimizer=ADAM)
    batch = fake_batch(8)
    chunk = jax.jit(functools.partial(run_steps, task, lambda data, row: row))
    rows = jax.tree.map(lambda x: np.broadcast_to(x, (3, *x.shape)), batch)
    assert int(chunk(state, (), rows)["bad_step"]) == NO_STEP

    def steep(outputs, targets, *, output_activation):
        return 1e22 * cross_entropy(outputs, targets, output_activation=output_activation)

    steeply = dataclasses.replace(task, loss=steep)
    after = jax.jit(functools.partial(run_steps, steeply, lambda data, row: row))(state, (), rows)
    moments = after["optimizer"][0][0]
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(after["params"]))
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(moments.mu))
    assert not all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(moments.nu))
    assert int(after["bad_step"]) == SOME_STEP


@pytest.mark.usefixtures("quick_compiles")
def test_what_an_optimizer_holds_as_infinite_from_the_start_may_stay_so(make_task, fake_batch):
    task, state = make_task(model=TINY, optimizer=SGD)

    def update(gradients, held, params):
        updates, inner = task.optimizer.update(gradients, held["inner"], params)
        return updates, held | {"inner": inner}

    optimizer = optax.GradientTransformation(lambda params: None, update)
    state["optimizer"] = {"best": jnp.array(jnp.inf), "inner": state["optimizer"]}
    rows = jax.tree.map(lambda x: x[None], fake_batch(8))
    chunk = functools.partial(run_steps, dataclasses.replace(task, optimizer=optimizer))
    after = jax.jit(functools.partial(chunk, lambda data, row: row))(state, (), rows)
    assert int(after["bad_step"]) == NO_STEP
    assert float(after["optimizer"]["best"]) == np.inf


@pytest.mark.usefixtures("quick_compiles")
def test_sums_of_the_loss_and_the_accuracy_must_be_finite_and_further_ones_need_not(
    make_task, fake_batch
):
    task, state = make_task(model=TINY, optimizer=SGD, metrics=("brier",))
    step = stepper(task)
    for name, expected in (("loss", 0), ("accuracy", 0), ("brier", NO_STEP)):
        spoilt = {**state, "sums": {**state["sums"], name: jnp.float32(jnp.nan)}}
        assert int(step(spoilt, fake_batch(8))["bad_step"]) == expected, name


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiles")
def test_images_and_classes_of_another_data_set(make_task):
    """Nothing of a step knows the size of an image or how many classes there are."""
    spec = Spec(image_shape=(12, 10, 3), class_names=tuple("abcdefg"))
    batch = {
        "image": np.random.default_rng(0).integers(0, 256, (8, 12, 10, 3), np.uint8),
        "label": np.arange(8, dtype=np.int32) % 7,
        "position": np.arange(8, dtype=np.int32),
    }
    models = TINY, {"name": "cnn", "features": (2,), "dense": ()}
    for model in models:
        values = {"model": model, "augment": DISTORTED, "metrics": ("top_3",)}
        task, state = make_task(spec=spec, optimizer=ADAM, **values)
        after = stepper(task)(state, batch)
        assert after["params"]["layers"]["output"]["bias"].shape == (7,)
        assert int(after["sums"]["count"]) == 8
        assert np.isfinite(float(after["sums"]["loss"]))
        assert 0 <= float(after["sums"]["top_3"]) <= 8


@pytest.mark.usefixtures("strict_dtypes", "quick_compiles")
def test_augmentation_changes_training_only_where_it_is_configured(gradient, fake_batch):
    batch = fake_batch(8)
    moved = {**batch, "position": batch["position"] + np.int32(8)}
    still = [gradient(b, model=TINY)[0] for b in (batch, moved)]
    assert_close(still[0], still[1], rtol=0)
    off = gradient(batch, model=TINY, augment={"elastic_sigma": 2.0})[0]
    assert_close(off, still[0], rtol=0)
    first, second = (gradient(b, model=TINY, augment=DISTORTED)[0] for b in (batch, moved))
    kernels = [g["layers"]["dense_1"]["kernel"] for g in (still[0], first, second)]
    assert not np.allclose(kernels[0], kernels[1], atol=1e-4)
    assert not np.allclose(kernels[1], kernels[2], atol=1e-4)


@pytest.mark.usefixtures("quick_compiles")
def test_augmentation_and_dropout_differ_from_step_to_step(make_task, fake_batch):
    batch = fake_batch(8)
    for values in ({"augment": DISTORTED}, {"model": TINY | {"dropout": 0.5}}):
        task, state = make_task(**{"model": TINY, "optimizer": SGD, **values})
        step = stepper(task)
        later = {**state, "step": jnp.int32(5)}
        assert float(step(state, batch)["sums"]["loss"]) != float(
            step(later, batch)["sums"]["loss"]
        )


@pytest.mark.usefixtures("quick_compiles")
def test_an_example_is_distorted_and_dropped_by_its_position_alone(gradient, fake_batch):
    """The order of the rows in memory changes nothing but the order of the sums."""
    batch, order = fake_batch(16), np.random.default_rng(0).permutation(16)
    shuffled = {name: x[order] for name, x in batch.items()}
    values = {"model": TINY | {"dropout": 0.3, "normalisation": "batch"}, "augment": DISTORTED}
    (a, after_a), (b, after_b) = (gradient(x, **values) for x in (batch, shuffled))
    assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert_close(after_a["variables"], after_b["variables"], rtol=1e-5, atol=1e-6)
    assert float(after_a["sums"]["accuracy"]) == float(after_b["sums"]["accuracy"])


@pytest.mark.usefixtures("quick_compiles")
def test_labels_are_smoothed_in_training(gradient, fake_batch):
    plain, smooth = (gradient(fake_batch(16), model=TINY, label_smoothing=s)[1] for s in (0.0, 0.5))
    assert float(plain["sums"]["loss"]) != float(smooth["sums"]["loss"])
    assert float(plain["sums"]["accuracy"]) == float(smooth["sums"]["accuracy"])


SQUARED = """
import jax.numpy as jnp

def squared(images, targets, keys, *, value: float = 2.0):
    return jnp.full_like(images, 0.5), targets ** value
"""


@pytest.mark.usefixtures("quick_compiles")
def test_augmentation_takes_smoothed_labels_and_gives_the_losses_targets(
    make_task, fake_batch, user_module
):
    user_module("squaring", SQUARED)
    batch = fake_batch(16)
    augment = {"functions": ({"name": "squaring:squared", "value": 3.0},)}
    task, state = make_task(model=TINY, optimizer=SGD, label_smoothing=0.5, augment=augment)
    grey = np.full(batch["image"].shape, 0.5, np.float32)
    outputs, _ = task.model.apply(state["params"], {}, grey, train=False)
    targets = np.where(np.eye(10)[batch["label"]] == 1.0, 0.55, 0.05) ** 3
    expected = -(targets * jax.nn.log_softmax(outputs)).sum()
    sums = stepper(task)(state, batch)["sums"]
    assert float(sums["loss"]) == pytest.approx(float(expected), rel=1e-5)
    correct = int((outputs.argmax(1) == batch["label"]).sum())
    assert float(sums["accuracy"]) == correct  # measured against the labels of the data


@pytest.mark.usefixtures("quick_compiles")
def test_mixup_gives_the_loss_mixed_targets_and_the_accuracy_the_labels(make_task, fake_batch):
    batch = fake_batch(16)
    task, state = make_task(model=TINY, optimizer=SGD, augment={"mixup": 1.0})
    images, targets = augmented(task, state, batch)
    assert (np.asarray(targets).max(axis=1) < 0.99).any()
    outputs, _ = task.model.apply(state["params"], {}, images, train=False)
    expected = -(targets * jax.nn.log_softmax(outputs)).sum()
    sums = stepper(task)(state, batch)["sums"]
    assert float(sums["loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(sums["accuracy"]) == int((outputs.argmax(1) == batch["label"]).sum())


@pytest.mark.usefixtures("quick_compiles")
def test_a_chunk_is_its_steps_one_after_the_other(make_task, fake_batch):
    task, state = make_task(model=TINY | {"dropout": 0.2}, optimizer=ADAM, ema_decay=0.9)
    batches = jax.tree.map(lambda x: x.reshape(3, 8, *x.shape[1:]), fake_batch(24))
    rows = [jax.tree.map(lambda x, i=i: x[i], batches) for i in range(3)]
    chunk = jax.jit(functools.partial(run_steps, task, lambda data, row: data[0] | row))
    together = chunk(state, ({},), batches)
    step = stepper(task)
    for row in rows:
        state = step(state, row)
    assert_close(together, state, rtol=1e-5, atol=1e-6)
