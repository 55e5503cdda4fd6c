"""What a user's own code gives is looked at before anything is trained."""

import re

import jax
import pytest

from mnist_jax.config import parse
from mnist_jax.data import Spec
from mnist_jax.errors import UserError
from mnist_jax.training import task

MNIST = Spec(image_shape=(28, 28, 1), class_names=tuple("0123456789"))
LINEAR = {"name": "mlp", "hidden": ()}
OWN = """
import jax
import jax.numpy as jnp
import optax
from flax import nnx

def good(outputs, targets, *, output_activation):
    return jnp.abs(outputs).sum(axis=-1) + (targets * 0 if targets.ndim == 1 else 0.0)

def mean(outputs, targets, *, output_activation):
    return outputs.mean()

def column(outputs, targets, *, output_activation):
    return outputs[:, :1]

def pair(outputs, targets, *, output_activation):
    return outputs[:, 0], outputs[:, 1]

def number(outputs, targets, *, output_activation):
    return 1.0

def unasked(outputs, targets):
    return outputs[:, 0]

def raises(outputs, targets, *, output_activation):
    return outputs @ outputs

def scaled(outputs, targets, *, output_activation, scale: float = 1.0):
    return outputs[:, 0] * scale

def by_row(outputs, targets, *, output_activation, rows: int = 1):
    return outputs[:rows, 0]

def swapped(images, targets, keys):
    return targets, images

def images_alone(images, targets, keys):
    return images

def flat(images, targets, keys):
    return images.reshape(len(images), -1), targets

def halves(images, targets, keys):
    return images.astype(jnp.float16), targets

def labels(images, targets, keys):
    return images, targets.argmax(axis=-1)

def doubled(images, targets, keys):
    return jnp.concatenate([images, images]), jnp.concatenate([targets, targets])

def sound(images, targets, keys, *, times: int = 1):
    draw = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))
    for _ in range(times):
        images = jnp.where(draw(keys) < 0.5, images, 0.0)
    return [images, targets[:, ::-1]]

def sgd(learning_rate, *, decay: float = 0.0):
    return optax.chain(optax.trace(decay), optax.scale_by_learning_rate(learning_rate))

def transformation(update):
    return optax.GradientTransformation(lambda params: (), update)

def summing(learning_rate):
    return transformation(lambda g, state, params: (jax.tree.map(jnp.sum, g), state))

def listing(learning_rate):
    return transformation(lambda g, state, params: (jax.tree.leaves(g), state))

def growing(learning_rate):
    return transformation(lambda g, state, params: (g, (jnp.zeros(3),)))

def stateless(learning_rate):
    return transformation(lambda g, state, params: g)

def failing(learning_rate):
    return transformation(lambda g, state, params: (g + params, state))

def constant(*, value: float = 0.1):
    return lambda step: jnp.full_like(step, value, jnp.float32)

def vector():
    return lambda step: jnp.zeros(2)

def pair_of_rates():
    return lambda step: (0.1, 0.1)

def text():
    return lambda step: "0.1"

class Nine(nnx.Module):
    def __init__(self, *, rngs):
        self.output = nnx.Linear(784, 9, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        return self.output(images.reshape(len(images), -1))
"""
WRONG = [
    ("mean", r"returns float32\[\]"),
    ("column", r"returns float32\[11, 1\]"),
    ("pair", r"returns \(float32\[11\], float32\[11\]\)"),
    ("number", r"returns float32\[\]"),
    ("unasked", "fails: TypeError: .*output_activation"),
    ("raises", r"fails: .*own_code.py:\d+ in raises: TypeError"),
]


@pytest.fixture(autouse=True)
def own(user_module):
    user_module("own_code", OWN)


def check(spec=MNIST, **values):
    return task.check(task.build(parse(values), spec, steps_per_epoch=10))


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_what_is_right_passes(model):
    model = {"name": model, "output_activation": "sigmoid"}
    check(model=model, metrics=("top_3", "brier", "own_code:good"))
    other = Spec(image_shape=(12, 10, 3), class_names=("a", "b"))
    check(other, model=model, metrics=("top_3", "brier"))


@pytest.mark.parametrize(("name", "message"), WRONG)
def test_a_metric_that_is_none_is_refused(name, message):
    with pytest.raises(UserError, match=f"^config.metrics: {name} {message}") as error:
        check(metrics=(f"own_code:{name}",))
    assert f"it is called as {name}(outputs [11, 10], targets [11], output_activation=" in str(
        error.value
    )
    assert "must return an array [11]" in str(error.value)


@pytest.mark.parametrize(("name", "message"), WRONG)
def test_a_loss_that_is_none_is_refused(name, message):
    with pytest.raises(UserError, match=f"^config.loss: own_code:{name} {message}") as error:
        check(loss=f"own_code:{name}")
    assert f"it is called as {name}(outputs [11, 10], targets [11, 10], " in str(error.value)


def test_a_loss_of_ones_own_passes():
    check(loss="own_code:good")
    check(loss={"name": "own_code:scaled", "scale": 2.0})
    check(loss={"name": "own_code:by_row", "rows": 11})


def test_a_loss_is_tried_with_its_keywords():
    with pytest.raises(
        UserError, match=r"^config.loss: own_code:by_row returns float32\[3\]; .*11"
    ):
        check(loss={"name": "own_code:by_row", "rows": 3})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swapped", r"returns \(float32\[6, 10\], float32\[6, 28, 28, 1\]\)"),
        ("images_alone", r"returns float32\[6, 28, 28, 1\]"),
        ("flat", r"returns \(float32\[6, 784\], float32\[6, 10\]\)"),
        ("halves", r"returns \(float16\[6, 28, 28, 1\], float32\[6, 10\]\)"),
        ("labels", r"returns \(float32\[6, 28, 28, 1\], int32\[6\]\)"),
        ("doubled", r"returns \(float32\[12, 28, 28, 1\], float32\[12, 10\]\)"),
    ],
)
def test_an_augmentation_that_is_none_is_refused(name, message):
    functions = ("own_code:sound", f"own_code:{name}")
    with pytest.raises(UserError) as error:
        check(augment={"functions": functions}, batch_size=6)
    found = str(error.value)
    assert re.match(rf"config.augment.functions\[1\]: own_code:{name} {message}", found)
    assert "images float32[6, 28, 28, 1], targets float32[6, 10] and keys [6]" in found


def test_augmentations_of_ones_own_pass():
    functions = ("own_code:sound", {"name": "own_code:sound", "times": 2})
    check(augment={"functions": functions})
    spec = Spec(image_shape=(12, 10, 3), class_names=("a", "b"))
    check(spec, augment={"functions": functions})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ({"name": "own_code:sound", "time": 2}, r"there is no field 'time'; did you mean 'times'"),
        ({"name": "own_code:sound", "images": 2}, r"there is no field 'images'"),
        ("own_code:sond", r"own_code has no 'sond'; did you mean 'sound'"),
        ("sound", r"there is no 'sound'"),
    ],
)
def test_an_augmentation_is_found_by_its_name_and_keywords(function, message):
    with pytest.raises(UserError, match=rf"^config.augment.functions\[0\]: .*{message}"):
        check(augment={"functions": (function,)})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("summing", r"gives updates of other shapes .*bias.*'\[10\]' -> '\[\]'"),
        ("listing", r"gives updates of other shapes .*\(absent\)"),
        ("growing", r"gives its state of other shapes .*'\(absent\)' -> 'float32\[3\]'"),
        ("stateless", "fails: "),
        ("failing", r"fails: .*own_code.py:\d+ in <lambda>: TypeError"),
    ],
)
def test_an_optimizer_that_is_none_is_refused(name, message):
    with pytest.raises(UserError, match=rf"^config.optimizer.name: own_code:{name} {message}"):
        check(model=LINEAR, optimizer={"name": f"own_code:{name}", "learning_rate": 0.1})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vector", r"gives float32\[2\]; .*single number"),
        ("pair_of_rates", r"gives \(float32\[\], float32\[\]\); .*single number"),
        ("text", "fails: TypeError.*single number"),
    ],
)
def test_a_schedule_that_is_none_is_refused(name, message):
    with pytest.raises(UserError, match=rf"^config.schedule.name: own_code:{name} {message}"):
        check(optimizer={"name": "adam"}, schedule={"name": f"own_code:{name}"})


@pytest.mark.parametrize(
    "schedule", [{}, {"name": "own_code:constant", "value": 1}, {"name": "constant_schedule"}]
)
def test_an_optimizer_and_a_schedule_of_ones_own_pass(schedule):
    rate = {} if schedule else {"learning_rate": 0.1}
    if schedule.get("name") == "constant_schedule":
        schedule = schedule | {"value": 0.1}
    own = {"name": "own_code:sgd", "decay": 0.9, **rate}
    check(model=LINEAR, optimizer=own, schedule=schedule or "", weight_decay=0.1, clip_norm=1.0)


def test_code_that_is_not_the_users_is_not_tried(monkeypatch):
    """Tracing takes time, which every start of every run would pay."""
    traced = []
    original = jax.eval_shape
    monkeypatch.setattr(jax, "eval_shape", lambda *a, **k: [traced.append(a), original(*a, **k)][1])
    built = task.build(parse({"metrics": ("top_3",)}), MNIST, steps_per_epoch=10)
    traced.clear()
    task.check(built)
    assert len(traced) == 2  # the first weights, and the network


@pytest.mark.parametrize("size", [7, 127])
def test_a_batch_that_mixup_cannot_pair_is_refused(size):
    message = rf"^config.batch_size: mixup .*{size} is an odd number.* use a multiple of 2, or"
    with pytest.raises(UserError, match=message):
        check(batch_size=size, augment={"mixup": 0.1})
    check(batch_size=size)
    check(batch_size=size + 1, augment={"mixup": 0.1})


def test_a_network_of_other_classes_is_refused():
    with pytest.raises(UserError, match=r"config\.model.*\(1, 9\).*10"):
        check(model={"name": "own_code:Nine"})


def test_a_network_for_other_images_is_refused():
    spec = Spec(image_shape=(12, 10, 3), class_names=tuple("123456789"))
    with pytest.raises(UserError, match=r"\(12, 10, 3\)"):
        check(spec, model={"name": "own_code:Nine"})
