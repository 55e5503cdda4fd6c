import ast
import copy
import dataclasses
import json
from pathlib import Path
from typing import Annotated

import pytest

from mnist_jax import data, models
from mnist_jax.binding import Range, bind, convert, did_you_mean, find, find_function
from mnist_jax.config import (
    CHOICES,
    Augment,
    Choice,
    Config,
    Data,
    Init,
    default,
    difference,
    parse,
)
from mnist_jax.config_file import PROJECT_ROOT, find_file, load, stem
from mnist_jax.errors import UserError
from mnist_jax.overrides import overridden
from mnist_jax.training import optimizer

CONFIGS = sorted(
    path.relative_to(PROJECT_ROOT)
    for path in (PROJECT_ROOT / "configs").rglob("*.py")
    if "def get_config" in path.read_text()
)


NOISY = Augment(noise=1.0, erase=1.0, mixup=0.5)


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"clip_norm": 1}, "clip_norm", 1.0),
        ({"num_epochs": 3}, "num_epochs", 3),
        ({"data": {"name": "kmnist"}}, "data", Data(name="kmnist")),
        ({"augment": {"rotation": 5}}, "augment", Augment(rotation=5.0)),
        ({"model": {"name": "mlp", "hidden": [3, 2]}}, "model", Choice("mlp", {"hidden": (3, 2)})),
        ({"model": "cnn"}, "model", Choice("cnn")),
        ({"loss": "mine:focal"}, "loss", Choice("mine:focal")),
        ({"loss": {"name": "mine:focal"}}, "loss", Choice("mine:focal")),
        ({"loss": {"name": "mine:focal", "gamma": 2}}, "loss", Choice("mine:focal", {"gamma": 2})),
        ({"augment": {"functions": "mine:a"}}, "augment", Augment(functions=(Choice("mine:a"),))),
        (
            {"augment": {"functions": ["mine:a", {"name": "mine:b", "size": [1, 2]}]}},
            "augment",
            Augment(functions=(Choice("mine:a"), Choice("mine:b", {"size": (1, 2)}))),
        ),
        (
            {"augment": {"functions": {"name": "mine:a", "size": 1}}},
            "augment",
            Augment(functions=(Choice("mine:a", {"size": 1}),)),
        ),
        ({"augment": {"noise": 1, "erase": 1, "mixup": 0.5}}, "augment", NOISY),
        ({"schedule": {"name": ""}}, "schedule", Choice("")),
        ({"metrics": ["top_3", "brier"]}, "metrics", ("top_3", "brier")),
        ({"metrics": "top_3"}, "metrics", ("top_3",)),
        ({"init_from": "x", "init": {"member": "a", "seed": 3}}, "init", Init(member="a", seed=3)),
        ({"init_from": "x", "init": {"leave_out": "output"}}, "init", Init(leave_out=("output",))),
        ({"metrics": ["top_3"], "best": "val_top_3"}, "best", "val_top_3"),
        ({}, "optimizer", Choice("adam", {"learning_rate": 1e-3})),
    ],
)
def test_plain_values_become_typed_ones(values, field, expected):
    value = getattr(parse(values), field)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_epoch": 3}, r"^config: there is no field 'num_epoch'; did you mean 'num_epochs'\?"),
        ({"xyz": 3}, r"^config: there is no field 'xyz'; known: .*augment, .*batch_size"),
        ({"data": {"nam": "x"}}, r"^config.data: there is no field 'nam'; did you mean 'name'"),
        ({"augment": {"rotatoin": 1}}, r"^config.augment: .*'rotatoin'; did you mean 'rotation'"),
        ({"num_epochs": 2.5}, r"^config.num_epochs: expected int, got 2.5"),
        ({"num_epochs": True}, r"^config.num_epochs: expected int, got True"),
        ({"num_epochs": "3"}, r"^config.num_epochs: expected int, got '3'"),
        ({"label_smoothing": "a"}, r"^config.label_smoothing: expected float, got 'a'"),
        ({"label_smoothing": False}, r"^config.label_smoothing: expected float, got False"),
        ({"loss": 1}, r"^config.loss: expected a name, or dict\(name=\.\.\., .*\), got 1"),
        ({"loss": {"gamma": 1}}, r"^config.loss.name: a name must be given"),
        ({"augment": {"functions": 1}}, r"^config.augment.functions\[0\]: expected a name.*got 1"),
        ({"augment": {"functions": ("a:b", {})}}, r"^config.augment.functions\[1\].name: a name"),
        ({"data": "mnist"}, r"^config.data: is a section; .* such as config.data.name$"),
        ({"augment": 3}, r"^config.augment: is a section; .* such as config.augment.rotation$"),
        ({"data": {"name": 1}}, r"^config.data.name: expected str, got 1"),
        ({"model": {"hidden": (3,)}}, r"^config.model.name: a name must be given"),
        ({"model": 3}, r"^config.model: "),
        ({"num_epochs": 0}, r"^config.num_epochs: must be .*1.*, got 0"),
        ({"batch_size": -1}, r"^config.batch_size: must be .*1.*, got -1"),
        ({"seed": -1}, r"^config.seed: must be from 0 to 4294967295, got -1"),
        ({"seed": 2**32}, r"^config.seed: must be from 0 to 4294967295, got 4294967296"),
        ({"label_smoothing": 1.0}, r"^config.label_smoothing: must be from 0.0 to 0.99.*, got 1.0"),
        ({"clip_norm": float("nan")}, r"^config.clip_norm: must be from 0.0 to inf, got nan"),
        ({"augment": {"erase": 1.1}}, r"^config.augment.erase: must be from 0.0 to 1.0, got 1.1"),
        ({"augment": {"mixup": -1}}, r"^config.augment.mixup: must be from 0.0 to inf, got -1.0"),
        ({"init": {"member": "best"}}, r"^config.init: .* config.init_from, which is empty"),
        ({"best": "val_acc"}, r"^config.best: .*; did you mean 'val_accuracy'\?"),
        ({"best": "test_accuracy"}, r"^config.best: 'test_accuracy' is not a validation column"),
        ({"best": "val_top_3"}, r"^config.best: 'val_top_3' is not a validation column"),
        ({"patience": 2, "data": {"val_split": ""}}, r"^config.patience: needs a validation"),
        ({"init": {"seed": "1"}}, r"^config.init.seed: expected int | None, got '1'"),
        ({"keep_best": 1}, r"^config: there is no field 'keep_best'"),
    ],
)
def test_a_wrong_value_is_refused_by_its_field(values, message):
    with pytest.raises(UserError, match=message):
        parse(values)


def function(
    width: Annotated[int, Range(1, 9)],
    *,
    rate: float = 0.5,
    sizes: tuple[int, ...] = (1,),
    mode: str | None = None,
) -> None:
    """Something that a configuration can name."""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"width": 1, "rate": 2}, {"width": 1, "rate": 2.0, "sizes": (1,), "mode": None}),
        ({"width": 1, "sizes": [3, 4]}, {"width": 1, "rate": 0.5, "sizes": (3, 4), "mode": None}),
        ({"width": 1, "sizes": 3}, {"width": 1, "rate": 0.5, "sizes": (3,), "mode": None}),
        ({"width": 1, "sizes": ()}, {"width": 1, "rate": 0.5, "sizes": (), "mode": None}),
        ({"width": 1, "mode": "x"}, {"width": 1, "rate": 0.5, "sizes": (1,), "mode": "x"}),
    ],
)
def test_a_signature_is_a_schema(values, expected):
    assert bind(function, values, "here") == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"^here: width must be given"),
        ({"width": 1, "rat": 2}, r"^here: there is no field 'rat'; did you mean 'rate'"),
        ({"width": 1, "sizes": (1, 2.5)}, r"^here.sizes\[1\]: expected int, got 2.5"),
        ({"width": 1, "sizes": {}}, r"^here.sizes: expected tuple\[int, ...\], got \{\}"),
        ({"width": 1, "mode": 3}, r"^here.mode: expected str \| None, got 3"),
        ({"width": 0}, r"^here.width: must be from 1 to 9, got 0"),
        ({"width": 10}, r"^here.width: must be from 1 to 9, got 10"),
        ({"width": "1"}, r"^here.width: expected int, got '1'"),
    ],
)
def test_what_a_signature_does_not_take_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        bind(function, values, "here")


def test_given_parameters_are_not_for_a_configuration():
    assert bind(function, {}, "here", given=("width",), defaults=False) == {}
    with pytest.raises(UserError, match="there is no field 'width'"):
        bind(function, {"width": 1}, "here", given=("width",))


class Adder:
    """An object that is called like a function, and whose annotations are not its own."""

    def __call__(self, a, b, *, c: float = 0.0):
        return a + b + c


def add(first, second, *, third: float = 0.0, fourth=0.0):
    return first + second + third + fourth


def test_a_function_is_found_with_its_keywords():
    known = {"add": add, "adder": Adder(), "number": 3}

    def found(name, **keywords):
        choice = Choice(name, keywords)
        return find_function(choice, known, "here", arguments=2, given=("fourth",))

    assert found("add")(1, 2, fourth=4.0) == 7.0
    assert found("add", third=3)(1, 2, fourth=4.0) == 10.0
    assert type(found("add", third=3)(0, 0)) is float  # as its annotation says
    assert found("adder", c=3)(1, 2) == 6
    with pytest.raises(UserError, match=r"^here: there is no field 'thrid'; did you mean 'third'"):
        found("add", thrid=3)
    for given in ("first", "fourth"):
        with pytest.raises(UserError, match=f"^here: there is no field '{given}'"):
            found("add", **{given: 3})
    with pytest.raises(UserError, match=r"^here: 'number' is not a function, but 3"):
        found("number")
    with pytest.raises(UserError, match=r"^here: second must be given"):
        find_function(Choice("add"), known, "here", arguments=1)


def test_an_exact_int_is_kept_where_a_union_takes_it():
    assert convert(3, int | float, "here") == 3
    assert convert(None, int | None, "here") is None


def test_did_you_mean():
    assert did_you_mean("relo", ["relu", "tanh"]) == "; did you mean 'relu'?"
    assert did_you_mean("zzz", ["tanh", "relu"]) == "; known: relu, tanh"
    assert did_you_mean("zzz", []) == "; known: none"


def test_find_takes_a_known_name_or_the_users_own(user_module):
    user_module("found_here", "thing = 3\n")
    assert find("a", {"a": 1}, "here") == 1
    assert find("found_here:thing", {}, "here") == 3
    assert find("json:dumps", {}, "here") is json.dumps
    with pytest.raises(UserError, match=r"here: cannot import 'no_such.module'"):
        find("no_such.module:thing", {}, "here")
    with pytest.raises(UserError, match="here: found_here has no 'thin'; did you mean 'thing'"):
        find("found_here:thin", {}, "here")


@pytest.mark.parametrize("text", ["mlp:", ":MLP", ":", "a b:c", "..:x"])
def test_a_name_that_is_no_module_and_class_is_a_clear_error(text):
    with pytest.raises(UserError, match="here"):
        find(text, {}, "here")


def test_a_configuration_survives_json():
    config = parse(
        {
            "label_smoothing": 0.1,
            "model": {"name": "cnn", "features": (16, 32), "kernel": (5, 3)},
            "schedule": {"name": "linear_schedule", "transition_steps": "2 epochs"},
            "augment": {"elastic": 2, "functions": ["mine:a", {"name": "mine:b", "size": (1,)}]},
            "loss": {"name": "mine:focal", "gamma": 2.0},
        }
    )
    assert parse(json.loads(json.dumps(config.to_dict()))) == config
    assert parse(Config().to_dict()) == Config()
    assert parse(default().to_dict()) == Config()


def test_what_has_no_keywords_is_written_as_its_name():
    """As `config.loss` was when a loss had none, so that folders of that time are still equal."""
    both = Choice("mine:a"), Choice("mine:b", {"size": 1})
    for choice, expected in zip(both, ["mine:a", {"name": "mine:b", "size": 1}], strict=True):
        values = Config(loss=choice, augment=Augment(functions=(choice,))).to_dict()
        assert values["loss"] == expected
        assert values["augment"]["functions"] == (expected,)
    assert Config(model=Choice("mlp")).to_dict()["model"] == {"name": "mlp"}


def test_a_misspelt_field_in_a_config_file_is_an_error_there_and_then():
    config = default()
    with pytest.raises(AttributeError, match="num_epochs"):
        config.num_epoch = 3
    with pytest.raises(AttributeError, match="num_epochs"):
        config["num_epoch"] = 3
    with pytest.raises(AttributeError, match="rotation"):
        config.augment.rotatoin = 3.0
    with pytest.raises(AttributeError, match=r"known: .*rotation"):
        config.augment.xyz = 3.0
    for name in CHOICES:
        config[name].anything = 3  # its fields are those of the model, the loss, ...
        config[name] = {"name": "mlp"}
        config[name].anything = 3


@pytest.mark.parametrize("copied", [lambda config: config, copy.deepcopy], ids=["", "copied"])
def test_a_name_and_keywords_can_be_set_in_any_order(copied):
    def parsed():
        return parse(config.to_dict())

    config = copied(default())
    for name in CHOICES:
        config[name] = "mine:first"
        assert getattr(parsed(), name) == Choice("mine:first")
        config[name].size = 2
        assert getattr(parsed(), name) == Choice("mine:first", {"size": 2})
        config[name] = dict(name="mine:second", model="mlp", loss="kl")
        expected = Choice("mine:second", {"model": "mlp", "loss": "kl"})
        assert getattr(parsed(), name) == expected
        config[name].size = 2
        config[name].name = "mine:first"
        assert getattr(parsed(), name) == Choice("mine:first", {**expected.keywords, "size": 2})
        config[name] = "mine:first"  # without the keywords of the others
        assert getattr(parsed(), name) == Choice("mine:first")
    config.augment = dict(erase=0.5)
    config.augment.functions = ["mine:a"]
    assert parsed().augment == Augment(erase=0.5, functions=(Choice("mine:a"),))
    config.update(default())
    assert parsed().loss == Choice("cross_entropy")


def test_difference_names_each_leaf():
    old = {"a": 1, "b": {"c": 2, "d": 3}, "e": {"f": 1}}
    new = {"a": 1, "b": {"c": 5, "d": 3}, "g": 1}
    assert difference(old, new) == [
        "b.c: 2 -> 5",
        "e.f: 1 -> '(absent)'",
        "g: '(absent)' -> 1",
    ]
    assert difference(old, old) == []


FILE = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs = 3
    config.model = dict(name="mlp", hidden=(64,))
    return config
"""


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)
    return "mine.py"


@pytest.mark.parametrize(
    ("name", "text", "field", "expected"),
    [
        ("num_epochs", "7", "num_epochs", 7),
        ("clip_norm", "1", "clip_norm", 1.0),
        ("data.val_split", "", "data", Data(val_split="")),
        ("data.name", "kmnist", "data", Data(name="kmnist")),
        ("model.hidden", "8,4", "model", Choice("mlp", {"hidden": (8, 4)})),
        ("model.hidden", "(8,)", "model", Choice("mlp", {"hidden": (8,)})),
        ("model.dropout", "0.5", "model", Choice("mlp", {"hidden": (64,), "dropout": 0.5})),
        ("optimizer.learning_rate", "true", "optimizer", Choice("adam", {"learning_rate": True})),
        ("init_from", "123", "init_from", "123"),
        ("augment.rotation", "5", "augment", Augment(rotation=5.0)),
        ("metrics", "('top_3', 'brier')", "metrics", ("top_3", "brier")),
        ("metrics", "mine:top_2", "metrics", ("mine:top_2",)),
        ("init.member", "8 units", "init", Init(member="8 units")),
        ("init.seed", "1", "init", Init(seed=1)),
        ("init.leave_out", "output", "init", Init(leave_out=("output",))),
        ("model", "{'name': 'mlp'}", "model", Choice("mlp")),
        ("model", "cnn", "model", Choice("cnn")),
        ("loss", "mine:focal", "loss", Choice("mine:focal")),
        ("loss.gamma", "3", "loss", Choice("cross_entropy", {"gamma": 3})),
        ("loss", {"name": "mine:focal", "gamma": 3}, "loss", Choice("mine:focal", {"gamma": 3})),
        (
            "augment.functions",
            "mine:a,mine:b",
            "augment",
            Augment(functions=(Choice("mine:a"), Choice("mine:b"))),
        ),
        (
            "augment.functions",
            "[{'name': 'mine:a', 'size': 3}]",
            "augment",
            Augment(functions=(Choice("mine:a", {"size": 3}),)),
        ),
        ("model.hidden", (4, 2), "model", Choice("mlp", {"hidden": (4, 2)})),  # from Python
    ],
)
def test_overrides(config_file, name, text, field, expected):
    source = [("init_from", "x")] if name.startswith("init.") else []
    config = load(config_file, [*source, (name, text)])
    assert getattr(config, field) == expected
    assert config.num_epochs == (7 if name == "num_epochs" else 3)


@pytest.mark.parametrize("values", [Config().to_dict(), default().to_dict()], ids=["", "a file's"])
def test_overrides_come_one_after_the_other(values):
    def loss(*overrides):
        return parse(overridden(copy.deepcopy(values), overrides)).loss

    name, gamma = ("loss", "mine:focal"), ("loss.gamma", "3")
    assert loss(name, gamma, ("loss.alpha", "true")) == Choice(
        "mine:focal", {"gamma": 3, "alpha": True}
    )
    assert loss(gamma, name) == Choice("mine:focal")  # the keywords were those of another loss
    assert loss(gamma, ("loss.name", "mine:focal")) == Choice("mine:focal", {"gamma": 3})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("num_epoch", "7", r"config: there is no field 'num_epoch'; did you mean 'num_epochs'"),
        ("data.nam", "x", r"config.data: there is no field 'nam'; did you mean 'name'"),
        ("dta.name", "x", r"config: there is no section 'dta'; did you mean 'data'"),
        ("num_epochs.x", "x", r"config: there is no section 'num_epochs'"),
        ("num_epochs", "many", r"config.num_epochs: expected int, got 'many'"),
        ("num_epochs", "", r"config.num_epochs: expected int, got ''"),
        ("loss.a.b", "3", r"config.loss: there is no section 'a'"),
        ("data", "mnist", r"config.data: is a section"),
    ],
)
def test_a_wrong_override_is_refused_by_its_field(config_file, name, text, message):
    with pytest.raises(UserError, match=message):
        load(config_file, [(name, text)])


def test_a_config_file_is_looked_for_here_and_then_at_the_projects_root(config_file, tmp_path):
    assert find_file("mine.py") == tmp_path / "mine.py"
    assert find_file("configs/mlp.py") == PROJECT_ROOT / "configs/mlp.py"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/mlp.py").write_text(FILE)
    assert find_file("configs/mlp.py") == tmp_path / "configs/mlp.py"
    assert find_file(str(tmp_path / "mine.py")) == tmp_path / "mine.py"


def test_a_config_file_that_is_not_there_names_both_places(config_file, tmp_path):
    with pytest.raises(UserError, match="there is no configuration file") as error:
        load("configs/mpl.py")
    for folder in (tmp_path, PROJECT_ROOT):
        assert str(folder / "configs/mpl.py") in str(error.value)


def test_a_configuration_takes_an_argument(config_file):
    source = FILE.replace("get_config()", "get_config(epochs)").replace("= 3", "= int(epochs)")
    Path(config_file).write_text(source)
    assert load("mine.py:12").num_epochs == 12
    assert load("mine.py:12", [("seed", "4")]).seed == 4
    assert stem("a/mine.py:12") == "mine-12"
    assert stem("a/mine.py:a b/c") == "mine-a-b-c"
    assert stem("a/mine.py") == "mine"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", r"mine.py: has no function get_config"),
        (FILE.replace("num_epochs", "num_epoch"), r"mine.py: .*'num_epoch'.*'num_epochs'"),
        (FILE.replace("num_epochs", "xyz"), r"mine.py: there is no field 'xyz'; known: .*seed"),
        (FILE.replace("num_epochs", "data.nam"), r"mine.py: .*'nam'; did you mean 'name'"),
        ("def get_config():\n    return None\n", r"mine.py: get_config\(\)"),
    ],
)
def test_a_config_file_that_gives_no_configuration_is_refused(config_file, source, message):
    Path(config_file).write_text(source)
    with pytest.raises(UserError, match=message):
        load(config_file)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (FILE.replace("= 3", "= (3).three"), r"mine.py:6: AttributeError: 'int' object has no att"),
        (FILE.replace("= 3", "= 1 / 0"), r"mine.py:6: ZeroDivisionError: division by zero"),
        (FILE.replace("= 3", "="), r"mine.py:6: SyntaxError: invalid syntax"),
        (FILE.replace("= 3", "= 3, num"), r"mine.py:6: NameError: name 'num' is not defined"),
        (f"import no_such_package\n{FILE}", r"mine.py:1: ModuleNotFoundError: No module named 'no"),
        (f"raise SystemExit(3)\n{FILE}", r"mine.py:1: SystemExit: 3"),
        (FILE.replace("= 3", "= get_config()"), r"mine.py:\d+: RecursionError"),
        (FILE.replace("get_config()", "get_config(width)"), r"--config=mine.py:ARGUMENT"),
        (FILE.encode("utf-16"), r"(Syntax|Value)Error: .*null bytes"),
        (b"\x00\x01", r"(Syntax|Value)Error: .*null bytes"),
    ],
    ids=lambda text: None if isinstance(text, bytes) else text[-20:],
)
def test_an_error_in_a_config_files_own_code_is_one_message_with_its_line(
    config_file, source, message
):
    Path(config_file).write_bytes(source if isinstance(source, bytes) else source.encode())
    with pytest.raises(UserError, match=f"^mine.py: .*{message}") as error:
        load(config_file)
    assert "\n" not in str(error.value)


def test_a_function_that_takes_no_argument_gets_none(config_file):
    with pytest.raises(UserError, match=r"takes no argument: give --config=mine.py$"):
        load("mine.py:12")


def test_a_config_file_that_changes_is_read_anew(config_file):
    """Even within the second in which Python's compiled code of the first one was written."""
    for epochs in "345":
        Path(config_file).write_text(FILE.replace("= 3", f"= {epochs}"))
        assert load(config_file).num_epochs == int(epochs)


def test_there_are_the_configurations_of_the_readme():
    assert {"logistic", "mlp_tiny", "mlp", "mlp_wide", "cnn"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=str)
@pytest.mark.parametrize("overrides", [[], [("num_epochs", "1")]], ids=["as it is", "one epoch"])
def test_every_configuration_builds(path, overrides):
    config = load(str(path), overrides)
    models.build(config.model, data.spec(config.data.name), config.dtype)
    _, rate = optimizer.build(config, steps_per_epoch=429)
    assert float(rate(429 * config.num_epochs // 2)) > 0.0
    assert parse(json.loads(json.dumps(config.to_dict()))) == config


def leaves(section: type) -> set[str]:
    fields = dataclasses.fields(section)
    nested = {"data": Data, "augment": Augment, "init": Init}
    names = {f.name for f in fields if f.name not in nested}
    return names.union(*(leaves(nested[f.name]) for f in fields if f.name in nested))


def test_every_field_is_read_somewhere():
    read = set()
    for path in (PROJECT_ROOT / "mnist_jax").rglob("*.py"):
        if path.name != "config.py":
            tree = ast.walk(ast.parse(path.read_text()))
            read |= {node.attr for node in tree if isinstance(node, ast.Attribute)}
    assert leaves(Config) - read == set()
    assert set(CHOICES) <= leaves(Config)
