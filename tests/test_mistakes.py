"""Plain mistakes in configurations, overrides and the user's own code: one message each."""

import copy
import importlib
import os
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mnist_jax
from mnist_jax import compare, config, config_file, metrics, models, users_code
from mnist_jax.data import Spec
from mnist_jax.overrides import overridden
from mnist_jax.training import checkpoint, optimizer, population, task
from tests import datasets
from tests.commands import bits, read, refused, run

pytestmark = pytest.mark.usefixtures("undrawn")

TINY = Spec((4, 4, 1), ("a", "b"))


def small(**fields):
    made = mnist_jax.default()
    made.num_epochs = 1
    made.data.train_split, made.data.val_split = "train[:640]", ""
    made.model = dict(name="mlp", hidden=())
    for name, value in fields.items():
        made[name] = value
    return made


def message(made, **keywords) -> str:
    """The message, a single line, with which a configuration is refused."""
    said = told(made, **keywords)
    assert "\n" not in said
    return said


def told(made, **keywords) -> str:
    """The message with which a configuration is refused before anything is written."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        mnist_jax.train(made, workdir="refused", **keywords)
    assert len(str(error.value)) < 1000
    assert not os.path.exists("refused/config.json")
    return str(error.value)


# Values


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("num_epochs", np.int64(3), 3),
        ("label_smoothing", np.float32(0.5), 0.5),
        ("label_smoothing", jnp.float32(0.5), 0.5),
        ("optimizer.learning_rate", np.float64(0.5), 0.5),
        ("optimizer.learning_rate", np.float32(1), 1.0),
        ("optimizer.mu_dtype", jnp.bfloat16, "bfloat16"),
        ("optimizer.mu_dtype", np.float16, "float16"),
        ("optimizer.mu_dtype", np.dtype("float32"), "float32"),
        ("model.hidden", np.array([3, 4]), (3, 4)),
        ("model.hidden", range(2), (0, 1)),
    ],
)
def test_numbers_of_numpy_and_jax_are_numbers(name, value, expected):
    made = mnist_jax.default()
    section, _, field = name.rpartition(".")
    (made[section] if section else made)[field] = value
    parsed = config.parse(made.to_dict())
    found = getattr(parsed, section).keywords[field] if section else getattr(parsed, field)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_epochs", 2.5, "expected int, got 2.5"),
        ("num_epochs", 10**20, "must be from 1 to 2147483647"),
        ("num_epochs", 10**400, "is too large"),
        ("num_epochs", None, "expected int, got None"),
        ("clip_norm", 10**400, "too large"),
        ("clip_norm", float("inf"), "must be a finite number, got inf"),
        ("weight_decay", 1e39, "must be a finite number"),
        ("augment.elastic", 1e400, "must be from 0.0 to 10000.0, got inf"),
        ("augment.mixup", float("inf"), "must be a finite number, got inf"),
        ("optimizer.learning_rate", float("nan"), "must be a finite number, got nan"),
        ("optimizer.learning_rate", lambda step: 0.1, "name your own code as"),
        ("optimizer.learning_rate", b"0.1", "got b'0.1'"),
        ("model.hidden", (2**40,), "is too large"),
        ("model.hidden", {1, 2}, "got {1, 2}"),
        ("best", 3, "expected str, got 3"),
        ("metrics", {"top_3": 1}, "expected tuple"),
        ("loss", print, "name your own code as"),
        ("data", None, "is a section"),
        ("augment.functions", [[]], r"expected a name"),
    ],
)
def test_a_value_of_a_configuration_is_refused_by_its_field(name, value, message):
    made = mnist_jax.default()
    section, _, field = name.rpartition(".")

    def parsed():
        (made[section] if section else made)[field] = value
        return config.parse(made.to_dict())

    with pytest.raises(ValueError, match=f"^config.{name}.*{message}"):
        parsed()


def test_a_list_in_itself_is_refused():
    made = mnist_jax.default()
    made.model.hidden = []
    made.model.hidden.append(made.model.hidden)
    with pytest.raises(ValueError, match="is nested too deeply"):
        config.parse(made.to_dict())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("num_epochs=1e400", "expected int, got inf"),
        ("num_epochs=" + "9" * 5000, "expected int"),
        ("num_epochs=" + "(" * 300, "expected int"),
        ("num_epochs=" + "-" * 50_000 + "1", "expected int"),
        ("num_epochs=1is", "expected int"),
        ("seed={[]:1}", "expected int"),
        ("seed={1}", "got {1}"),
        ("seed=b'1'", "got b'1'"),
        ("seed=...", "got Ellipsis"),
        ("augment.noise=nan", "expected float, got 'nan'"),
        ("x" * 5000 + "=1", "there is no field"),
        ("=1", "there is no field ''"),
        ("model.hidden={[]:1}", "config.model.hidden[0]: expected int, got '{[]:1}'"),
        ("model.hidden=", "config.model.hidden[0]: expected int, got ''"),
        ("loggers={}", "a name must be given"),
        ("data.train_split.x=1", "there is no section 'train_split'"),
    ],
    ids=lambda text: text[:20],
)
def test_whatever_is_typed_gets_one_message(text, said):
    name, _, value = text.partition("=")
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        models.resolve(config_file.load("configs/mlp.py", [(name, value)]))
    assert len(str(error.value)) < 700


def test_a_field_that_is_read_is_suggested_like_one_that_is_set(user_module):
    user_module("mine", "from mnist_jax.config import default\n\nprint(default().sed)\n")
    with pytest.raises(ValueError, match=r"mine.py: there is no field 'sed'; .* 'seed'.*:3\)$"):
        config_file.load("mine.py")
    assert not hasattr(mnist_jax.default(), "sed")
    assert copy.deepcopy(mnist_jax.default()) == mnist_jax.default()


@pytest.mark.parametrize("given", ["mlp", "mlp.py", "configs/mpl.py", "config/mlp.py"])
def test_a_configuration_that_is_near_is_suggested(given):
    with pytest.raises(ValueError, match=r"Did you mean configs/mlp\.py\?$"):
        config_file.load(given)


def test_the_last_of_two_overrides_counts():
    assert config_file.load("configs/mlp.py", [("seed", "1"), ("seed", "2")]).seed == 2


@pytest.mark.parametrize("order", [1, -1])
def test_another_model_keeps_the_keywords_that_it_has_too(capsys, order):
    overrides = [("model.name", "cnn"), ("model.features", "4,8")][::order]
    choice = config_file.load("configs/mlp.py", overrides).model
    assert choice.name == "cnn"
    assert choice.keywords["features"] == (4, 8)
    assert "hidden" not in choice.keywords
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: config.model: cnn does not take these of mlp: hidden")


def test_another_optimizer_keeps_the_learning_rate(capsys):
    values = config.default().to_dict()
    values["optimizer"] |= {"b1": 0.8, "learning_rate": 0.5}
    found = config.parse(overridden(values, [("optimizer.name", "sgd")]))
    assert found.optimizer.keywords == {"learning_rate": 0.5}
    assert "sgd does not take these of adam: b1" in capsys.readouterr().err
    with pytest.raises(ValueError, match="there is no 'sdg'; did you mean 'sgd'"):
        overridden(config.default().to_dict(), [("optimizer.name", "sdg")])


# Optimizers


@pytest.mark.parametrize("name", sorted(optimizer.optimizers()))
def test_each_optimizer_takes_a_step_and_its_state_can_be_saved(name):
    made = config.parse(
        {
            "model": {"name": "mlp", "hidden": ()},
            "optimizer": {"name": name, "learning_rate": 0.01},
            "batch_size": 4,
        }
    )
    state = jax.eval_shape(lambda: population.try_step(made, TINY))
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    assert len({checkpoint.path_name(path) for path, _ in leaves}) == len(leaves)
    assert all(isinstance(leaf.dtype, np.dtype) for _, leaf in leaves)  # not a random key's


OPTIMIZER = {"name": "noisy_sgd", "learning_rate": 0.1}
NARROW = {"name": "adam", "learning_rate": 0.01, "mu_dtype": "bfloat16"}


@pytest.mark.parametrize("chosen", [OPTIMIZER, NARROW], ids=["keys", "bfloat16"])
@pytest.mark.slow
def test_a_state_with_keys_or_of_bfloat16_is_resumed_to_the_same_bits(
    tmp_path, monkeypatch, chosen
):
    monkeypatch.chdir(tmp_path)

    class Stop(Exception):
        pass

    def stop(rows):
        raise Stop

    whole = mnist_jax.train(small(optimizer=chosen), workdir="whole", num_epochs=2)
    with pytest.raises(Stop):
        mnist_jax.train(small(optimizer=chosen), workdir="parts", num_epochs=2, on_epoch=stop)
    parts = mnist_jax.train(small(optimizer=chosen), workdir="parts", num_epochs=2)
    assert bits(whole.workdir) == bits(parts.workdir)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"mu_dtype": "bf16"}, "mu_dtype: 'bf16' is none of float32, bfloat16, float16"),
        ({"mu_dtype": 3}, "mu_dtype: 3 is none of"),
        ({"learning_rate": (1, 2)}, r"learning_rate: expected a number, got \(1, 2\)"),
        ({"learning_rate": -0.1}, "learning_rate: must be from 0.0 to inf, got -0.1"),
        ({"learning_rate": None}, "learning_rate: expected a number, got None"),
        ({"b1": 1.5}, "b1: must be from 0.0 to 0.99"),
        ({"b2": (1,)}, "b2: expected a number"),
        ({"nesterov": 1}, "nesterov: expected bool, got 1"),
        ({"name": "sgd", "momentum": -1.0}, "momentum: must be from 0.0"),
        ({"name": "noisy_sgd", "key": 0.5}, "key: expected int, got 0.5"),
        ({"name": "adamw", "mask": (1, 2)}, "fails: "),
    ],
    ids=str,
)
def test_a_number_that_an_optimizer_cannot_mean_is_refused(tmp_path, monkeypatch, keywords, said):
    monkeypatch.chdir(tmp_path)
    chosen = {"name": "adam", "learning_rate": 0.1} | keywords
    assert re.match(f"config.optimizer.*{said}", message(small(optimizer=chosen)))


@pytest.mark.parametrize(
    ("scales", "said"),
    [
        (0.5, "give a dict from times to factors"),
        ([1, 2], "give a dict from times to factors"),
        ({0.5: "x"}, "give a dict from times to factors"),
        ({0.5: 0.1, 0.51: 0.2}, "are the same step of the run"),
    ],
    ids=str,
)
def test_boundaries_that_are_none_are_refused(scales, said):
    schedule = dict(name="piecewise_constant_schedule", init_value=0.1)
    made = small(optimizer="adam", schedule=schedule | {"boundaries_and_scales": scales})
    with pytest.raises(ValueError, match=f"config.schedule.boundaries_and_scales: .*{said}"):
        optimizer.build(config.parse(made.to_dict() | {"num_epochs": 2}), 10)


def test_names_of_two_types_are_refused():
    made = small(optimizer="adam", schedule=dict(name="piecewise_constant_schedule"))
    made.schedule.boundaries_and_scales = {0.5: 0.1, "1 epoch": 0.2}
    with pytest.raises(ValueError, match="let the names in a dict be all strings or all numbers"):
        mnist_jax.train(made, workdir="refused")


def test_more_steps_than_a_run_can_count_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "more steps than a run can count" in message(small(), num_epochs=2**31 - 1)


# Networks and functions of the user's own

OWN = """
import math, sys
import jax
import jax.numpy as jnp
from flax import nnx
from mnist_jax.models.layers import Dropout

class Base(nnx.Module):
    def __init__(self, *, rngs):
        self.a = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        return self.a(images.reshape(len(images), -1))

class NoRngs(Base):
    def __init__(self):
        super().__init__(rngs=nnx.Rngs(0))

class Raises(Base):
    def __init__(self, *, rngs):
        raise RuntimeError("boom")

class Exits(Base):
    def __init__(self, *, rngs):
        sys.exit("bye")

class Pair(Base):
    def __call__(self, images, *, train, keys=None):
        return super().__call__(images, train=train), 1

class Unknown(Base):
    def __call__(self, images, *, train, keys=None):
        return self.b(images)

class Key(Base):
    def __call__(self, images, *, train, keys=None):
        return {}["a"]

class InTraining(Base):
    def __call__(self, images, *, train, keys=None):
        if train:
            undefined
        return super().__call__(images, train=train)

class Whole(Base):
    def __init__(self, *, rngs):
        super().__init__(rngs=rngs)
        self.n = nnx.Param(jnp.zeros(3, jnp.int32))

class Grows(Base):
    def __init__(self, *, rngs):
        super().__init__(rngs=rngs)
        self.n = nnx.Variable(jnp.zeros(3, jnp.int32))

    def __call__(self, images, *, train, keys=None):
        if train:
            self.n[...] = self.n[...] + 0.5
        return super().__call__(images, train=train)

class Empty(nnx.Module):
    def __init__(self, *, rngs):
        pass

    def __call__(self, images, *, train, keys=None):
        return images.reshape(len(images), -1)[:, :10]

class Twice(Base):
    def __init__(self, *, rngs):
        super().__init__(rngs=rngs)
        self.first, self.second = Dropout(0.5, name="x"), Dropout(0.5, name="x")

class Activation(Base):
    output_activation = "Softmax"

class Rounded(Base):
    def __call__(self, images, *, train, keys=None):
        return super().__call__(images, train=train).astype(int)

class Detached(Base):
    def __call__(self, images, *, train, keys=None):
        return jax.lax.stop_gradient(super().__call__(images, train=train))

class Quantised(Base):
    def __call__(self, images, *, train, keys=None):
        outputs = super().__call__(images, train=train)
        return outputs if train else jnp.round(outputs)

class NoRow:
    def __call__(self):
        pass

class Labels(Base):
    def __call__(self, images, *, train, keys=None):
        return super().__call__(images, train=train).argmax(axis=-1)

class Soft(Base):
    def __call__(self, images, *, train, keys=None):
        return jax.nn.softmax(super().__call__(images, train=train))

class Declared(Soft):
    output_activation = "linear"

def build(*, rngs):
    return Base(rngs=rngs)

def looped(outputs, targets, *, output_activation):
    total = jax.lax.while_loop(lambda c: c[1] > 0, lambda c: (c[0] * 2, c[1] - 1.0), (outputs, 3.0))
    return total[0].sum(axis=-1)

def gap(outputs, labels, *, output_activation):
    return jnp.where(labels == 3, jnp.nan, 0.0)
"""


SHARE = """
def share(outputs, targets, *, output_activation):
    return (outputs.argmax(-1) != targets.argmax(-1)).astype(float)

def right(outputs, targets, *, output_activation):
    return ((outputs - targets) ** 2).sum(-1)
"""


@pytest.fixture
def own(user_module):
    user_module("own_mistakes", OWN)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NoRngs", "must take rngs"),
        ("Raises", r"own_mistakes.py:\d+: RuntimeError: boom"),
        ("Exits", r"own_mistakes.py:\d+: SystemExit: bye"),
        ("Pair", "Pair returns tuple, but must return one array"),
        ("Unknown", r"own_mistakes.py:\d+ in __call__: AttributeError"),
        ("Key", r"own_mistakes.py:\d+ in __call__: KeyError: 'a'"),
        ("InTraining", r"own_mistakes.py:\d+ in __call__: NameError"),
        ("Whole", "the parameter n of Whole is int32"),
        ("Grows", "changes the shapes or types of its variables|own_mistakes.py"),
        ("Empty", "has no parameters"),
        ("Twice", "the Dropout layers first and second have the same name"),
        ("Activation", "'Softmax', which is no activation's name; did you mean 'softmax'"),
        ("Rounded", "the outputs of Rounded are int32, but must be real numbers"),
        ("Labels", "the outputs of Labels are int32"),
        ("build", "must be a subclass of flax.nnx.Module"),
    ],
)
def test_a_network_that_is_none_is_refused_before_training(own, name, said):
    assert re.match(f"config.model.*({said})", message(small(model=f"own_mistakes:{name}")))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("loss", "own_mistakes:looped", "a loss must have a gradient"),
        ("loss", "os:system", r"is called with 2 arguments by position, but takes \(command\)"),
        ("metrics", ("os:system",), "fails: "),
        ("metrics", ("builtins:type",), "fails: "),
        ("metrics", ("top_3", "top_3"), "two metrics named 'top_3'; leave one out"),
        ("loss", "math:pi", "is not a function, but 3.14"),
        ("loss", "broken_module:f", r"broken_module.py:1: SyntaxError"),
        ("loggers", ("broken_module:f",), r"broken_module.py:1: SyntaxError"),
        ("loggers", ("builtins:iter",), "does not say which arguments"),
        ("loggers", ("os:getcwd",), r"is called with 1 argument by position, but takes \(\)"),
        ("loggers", ("own_mistakes:NoRow",), r"NoRow.__call__ is called with 2 .* takes \(self\)"),
        ("loss", "os:getcwd", r"is called with 2 arguments by position, but takes \(\)"),
        ("model", dict(name="mlp", hidden=(8,) * 1001), "1,001 layers are more than a network may"),
        (
            "model",
            dict(name="cnn", features=(8,) * 1001),
            "1,001 layers are more than a network may",
        ),
        ("model", "own_mistakes:Bas", "did you mean 'Base'"),
        (
            "model",
            "needing:Net",
            r"\.name: cannot import 'needing': .*needing.py:1: ModuleNotFoundError: .*'need'",
        ),
        ("model", "own_mistakes:xyz", "has no 'xyz'; known: Activation,"),
        ("optimizer", "adma", "did you mean 'adam'"),
        ("model", "CNN", "did you mean 'cnn'"),
        (
            "model",
            dict(name="mlp", output_activation="softmx"),
            r"\.output_activation: there is no 'softmx'; did you mean 'softmax'",
        ),
        ("data", dict(train_split="trian"), r"\.train_split: the split 'trian' cannot be read"),
        ("data", dict(val_split="validation"), r"\.val_split: the split 'validation' cannot"),
        ("optimizer", "broken_module:f", r"broken_module.py:1: SyntaxError"),
        ("data", dict(name="broken_module:f"), r"broken_module.py:1: SyntaxError"),
    ],
)
def test_a_function_that_is_none_is_refused_before_training(own, user_module, field, value, said):
    user_module("broken_module", "def f(row:\n")
    user_module("needing", "import need\n")
    made = small()
    if field == "data":
        made.data.update(value)
    else:
        made[field] = value
    first, *_ = told(made).splitlines()
    assert re.match(rf"config\.{field}.*{said}", first)


@pytest.mark.slow
def test_outputs_that_are_probabilities_already_are_warned_of_once(own, capsys):
    warned = "the outputs of Soft are probabilities already"
    found = mnist_jax.train(small(model="own_mistakes:Soft"), workdir="soft")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "probabilities" in line]
    assert line.startswith(f"warning: config.model: {warned}")
    assert 'self.output_activation = "linear"' in line
    assert found.result["warnings"] == [line.removeprefix("warning: ")]
    others = [small(model=f"own_mistakes:{name}") for name in ("Declared", "Base")]
    assert not task.warnings(config.parse(other.to_dict()) for other in others)


def test_a_gradient_that_is_0_everywhere_is_warned_of(own, user_module):
    """Such a training learns nothing, and would end without a word."""
    user_module("errors_of_mine", SHARE)
    made = [
        small(loss="errors_of_mine:share"),
        small(model="own_mistakes:Detached"),
        small(model="own_mistakes:Base", loss="errors_of_mine:right"),
        small(model="own_mistakes:Quantised"),  # it has a gradient in training
    ]
    said = task.warnings(config.parse(its.to_dict()) for its in made)
    assert [text.split(" is 0 everywhere")[0] for text in said] == [
        "config.loss: the gradient of errors_of_mine:share",
        "config.model: the gradient of own_mistakes:Detached",
    ]


def test_what_is_shown_of_a_value_is_one_line(user_module):
    user_module("some", "from mnist_jax.config import default\nget_sweep = default\n")
    with pytest.raises(ValueError, match=r"must return a Sweep, not [^\n]*$"):
        mnist_jax.sweep("some.py", workdir="swept")


@pytest.mark.slow
def test_a_metric_that_is_nan_is_warned_of(own, capsys):
    made = small(metrics=("own_mistakes:gap",), batch_size=312)
    made.data.val_split = "train[640:960]"
    found = mnist_jax.train(made, workdir="gap")
    assert found.history[0]["val_gap"] is None
    assert found.history[0]["step"] == 2  # of 640 = 2 * 312 + 16 images
    said = [line for line in capsys.readouterr().err.splitlines() if "is not finite" in line]
    assert [line.split(" ")[2] for line in said] == ["train_gap", "val_gap"]
    missing = {"epoch": 1, "train_loss": 0.1, "train_gap": 0.1, "val_loss": None, "val_gap": None}
    assert metrics.without_value(missing, set()) == []  # there is no validation split


# A process that lives long

NET = """
from flax import nnx
from helping import SCALE

class Net(nnx.Module):
    def __init__(self, *, rngs):
        self.a = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        return 1.0 * SCALE * self.a(images.reshape(len(images), -1))
"""


@pytest.mark.slow
def test_the_code_that_is_trained_is_that_of_the_file(user_module, tmp_path, monkeypatch):
    """After an edit, and in another folder."""

    def trained(folder):
        run = mnist_jax.train(small(model="lasting:Net"), workdir=folder)
        return run.history[0]["train_loss"], read(run.workdir / "code.json")["lasting"]

    def write(net, scale):
        user_module("lasting", net)
        user_module("helping", f"SCALE = {scale}\n")

    write(NET, 1.0)
    loss, code = trained("first")
    write(NET.replace("1.0 *", "3.0 *"), 1.0)
    edited, its = trained("edited")
    assert edited != loss
    assert its["sha256"] != code["sha256"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "lasting.py").write_text(NET)
    (other / "helping.py").write_text("SCALE = 1.0\n")
    monkeypatch.chdir(other)
    assert trained("there") == (loss, code | {"file": str(other / "lasting.py")})
    (other / "lasting.py").write_text(NET.replace("1.0 *", "3.0 *"))
    with pytest.raises(ValueError, match="its code has changed"):
        mnist_jax.train(small(model="lasting:Net"), workdir="there", num_epochs=2)


def test_a_module_that_was_imported_before_it_was_edited_is_imported_again(
    user_module, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    user_module("early", "VALUE = 1\n")
    early = importlib.import_module("early")
    assert users_code.import_named("early", "here") is early
    users_code.refresh()
    assert sys.modules["early"] is early
    user_module("early", "VALUE = 2\n")
    users_code.refresh()
    assert users_code.import_named("early", "here").VALUE == 2
    user_module("later", "from early import VALUE\n")
    assert users_code.import_named("later", "here").VALUE == 2
    user_module("early", "VALUE = 4\n")
    users_code.refresh()  # what has changed, and what uses it
    assert users_code.import_named("later", "here").VALUE == 4
    del sys.modules["early"], users_code._imported["early"]
    early = importlib.import_module("early")
    user_module("early", "VALUE = 3\n")
    assert users_code.import_named("early", "here").VALUE == 3


# Folders of somebody else

EVIL = """
print("EVIL RAN")
from own_mistakes import Base
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A run whose configuration, as somebody has changed it, names code in its own folder."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "own_mistakes.py").write_text(OWN)
    overrides = ("--config.model.name=own_mistakes:Base", "--config.num_epochs=1")
    small = ("--config.data.train_split=train[:640]", "--config.data.val_split=")
    run("main", "--config=configs/mlp.py", *overrides, *small, "--workdir=runs/it", cwd=folder)
    path = folder / "runs" / "it" / "config.json"
    path.write_text(path.read_text().replace("own_mistakes:Base", "runs.it.evil:Base"))
    (path.parent / "evil.py").write_text(EVIL)
    (path.parent / "__init__.py").write_text(EVIL)
    return folder


@pytest.mark.parametrize(
    "call",
    [
        lambda: mnist_jax.load("runs/it"),
        lambda: mnist_jax.train(small(init_from="runs/it"), workdir="new"),
        lambda: compare.compare_runs([users_code.Path("runs/it")], users_code.Path("compared")),
        lambda: mnist_jax.train(small(), workdir="runs/it"),
    ],
    ids=["load", "init_from", "compare", "train"],
)
def test_code_in_the_folder_of_a_run_is_never_run(shared, monkeypatch, capsys, call):
    monkeypatch.chdir(shared)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    assert "inside that folder" in str(error.value) or "another configuration" in str(error.value)
    assert "EVIL" not in capsys.readouterr().out
    assert not [name for name in sys.modules if name.startswith("runs")]


def test_evaluate_runs_no_code_in_the_folder_of_a_run(shared):
    said = refused("evaluate", "--workdir=runs/it", cwd=shared)
    assert "names the module 'runs.it.evil'" in said
    assert "EVIL" not in said


# Comparisons


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        ({"lr-0.1": 1, "other": 0}, ["lr-0.1", "other"]),
        ({"v2.0": 0, "v2.1": 1}, ["v2.0", "v2.0"]),
        ({"mlp-0": 0, "mlp-1": 1}, ["mlp", "mlp"]),
        ({"mlp_seed0": 0, "mlp_seed1": 1}, ["mlp", "mlp"]),
        ({"mlp-1": 1}, ["mlp-1"]),
        ({"width-8": 8, "width-16": 16}, ["width", "width"]),
    ],
)
def test_only_the_seed_is_cut_off_the_name_of_a_folder(folders, names):
    alike = len(set(names)) == 1
    runs = [
        {"architecture": name, "seed": seed, "config": {"seed": seed, "is": alike or name}}
        for name, seed in folders.items()
    ]
    assert [compare._name(run, runs) for run in runs] == names


def test_a_dict_for_a_model_of_ones_own_reaches_it(user_module):
    user_module(
        "own_options",
        "from mnist_jax.models import mlp\n"
        "class Options(mlp.MLP):\n"
        "    def __init__(self, *, image_shape, num_classes, options: dict | None = None, rngs):\n"
        "        sizes = {'image_shape': image_shape, 'num_classes': num_classes, 'rngs': rngs}\n"
        "        super().__init__(hidden=((options or {'width': 4})['width'],), **sizes)\n",
    )
    made = small(model=dict(name="own_options:Options", options={"width": 3}))
    found = models.resolve(config.parse(made.to_dict()))
    assert dict(found.model.keywords["options"]) == {"width": 3}
    built = models.build(found.model, TINY)
    params, _ = jax.eval_shape(built.init, jax.random.key(0))
    assert any(leaf.shape == (16, 3) for leaf in jax.tree.leaves(params))


# Texts


def test_what_is_left_out_of_an_epoch_is_said():
    for file in ("README.md", "docs/models.md", "mnist_jax/config.py"):
        text = (config_file.PROJECT_ROOT / file).read_text().replace("\n    #", "")
        assert re.search(r"does\s+not\s+fill\s+a\s+batch", text), file


# Data sets of the user's own


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def _info(self):", "def _info(self):\n        x", "NameError"),
        ("num_classes=47", "num_classes=1 / 0", "ZeroDivisionError"),
        ("return {split: self._generate_examples(split, count)", "return {[]: 1", "TypeError"),
        ('yield key, {"image": image', 'yield key, {"image": {}["a"]', "KeyError: 'a'"),
        ('yield key, {"image": image', 'exit(3); yield key, {"image": image', "SystemExit: 3"),
        ('tfds.core.Version("1.2.0")', "tfds.core.Version(1 / 0)", "ZeroDivisionError"),
    ],
)
def test_a_data_set_that_fails_is_one_message_with_its_line(
    user_module, tmp_path, monkeypatch, old, new, said
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    assert old in datasets.MODULE
    user_module("made_up", datasets.MODULE.replace(old, new))
    made = small()
    made.data.name, made.data.train_split = datasets.LETTERS, "train"
    assert re.search(rf"made_up.py:\d+: {said}", message(made))
