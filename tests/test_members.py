"""Sweep files: which members they name, and what is refused."""

import re
import textwrap
from pathlib import Path

import pytest

from mnist_jax import config_file, members
from mnist_jax.analysis.sweep.table import Comparison
from mnist_jax.errors import UserError
from tests.analysis.members import member
from tests.commands import ROOT

SWEEPS = sorted(
    path.name
    for path in (ROOT / "configs" / "sweeps").glob("*.py")
    if "def get_sweep" in path.read_text()
)
TWO = """
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for width in (8, 16):
        members[f"width {width}"] = config = default()
        config.model = dict(name="mlp", hidden=(width,))
    return Sweep(members, seeds=2)
"""


@pytest.fixture
def two(tmp_path) -> str:
    (tmp_path / "two.py").write_text(TWO)
    return str(tmp_path / "two.py")


def load(path, overrides=(), seeds=None):
    return members.plan(members.read(path), path, overrides, seeds)


def named(plan):
    return [(m.architecture, m.config.seed) for m in plan]


def test_each_architecture_has_its_seeds(two):
    plan = load(two)
    assert named(plan) == [("width 8", 0), ("width 8", 1), ("width 16", 0), ("width 16", 1)]
    assert [m.config.model.keywords["hidden"] for m in plan] == [(8,), (8,), (16,), (16,)]


def test_seeds_from_the_command_line_count_from_the_configurations_own(two):
    assert len(load(two, seeds=5)) == 10
    plan = load(two, [("seed", "7")], seeds=2)
    assert named(plan)[:2] == [("width 8", 7), ("width 8", 8)]


def test_an_override_reaches_every_member(two):
    plan = load(two, [("batch_size", "64"), ("optimizer.learning_rate", "0.01")])
    assert {m.config.batch_size for m in plan} == {64}
    assert {m.config.optimizer.keywords["learning_rate"] for m in plan} == {0.01}


def test_a_plain_configuration_is_one_architecture():
    plan = load("configs/mlp.py", seeds=3)
    assert named(plan) == [("mlp", 0), ("mlp", 1), ("mlp", 2)]
    assert plan[1].config == config_file.load("configs/mlp.py", [("seed", "1")])


def test_overriding_what_tells_the_members_apart_is_refused(two):
    with pytest.raises(UserError, match=r"--config\.model\.hidden: the members of the sweep"):
        load(two, [("model.hidden", "4")])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Sweep(members, seeds=2)", "members", r"get_sweep\(\) must return a Sweep"),
        ("Sweep(members, seeds=2)", "Sweep({})", "at least one member and one seed"),
        ("seeds=2", "seeds=0", "at least one member and one seed"),
        ("seeds=2", 'seeds="3"', "the number of seeds must be an int, not '3'"),
        ("Sweep(members,", "Sweep({'one': 1},", "member 'one': must be a configuration"),
        ('f"width {width}"', "width", "named by a non-empty string, not 8"),
        ('config.model = dict(name="mlp", ', "config.batchsize = dict(", "did you mean 'batch_"),
    ],
    ids=["plain dict", "empty", "no seeds", "text", "number", "name", "misspelt"],
)
def test_mistakes_in_a_sweep_file_are_named(two, old, new, message):
    Path(two).write_text(TWO.replace(old, new))
    with pytest.raises(UserError, match=message):
        load(two)


def test_a_value_of_another_type_is_refused_by_the_members_name(two):
    with pytest.raises(UserError, match=r"member 'width 8': config\.batch_size: expected int"):
        load(two, [("batch_size", "many")])


def test_main_sends_a_sweep_to_its_own_command(two):
    with pytest.raises(UserError, match=r"python -m mnist_jax\.sweep --config="):
        config_file.load(two)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_projects_sweeps_name_networks_that_can_be_built(name):
    from mnist_jax.training.sweep import resolve

    plan = load(f"configs/sweeps/{name}", seeds=1)
    assert len(resolve(plan)) == len(plan) >= 6


ANALYSIS = """
def analyse(networks):
    return []

constant = 3
"""


def test_an_analysis_is_found_like_a_configuration_file_or_a_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "widths.py").write_text(ANALYSIS)
    for name in ("widths.py:analyse", f"{tmp_path}/widths.py:analyse", "widths:analyse"):
        found = members.find_analysis(name)
        assert found is not None
        assert found([]) == []
    of_project = members.find_analysis("configs/sweeps/depth_claims.py:analyse")
    assert of_project is not None
    assert of_project.__doc__
    assert members.find_analysis(len) is len
    assert members.find_analysis("") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("widths.py", "must be 'FILE.py:function' or 'package.module:function'"),
        (3, "must be 'FILE.py:function' or 'package.module:function', not 3"),
        ("nowhere.py:analyse", "there is no configuration file nowhere.py"),
        ("widths.py:analyze", "'widths.py:analyze' is not the name of a function"),
        ("widths.py:constant", "is not the name of a function"),
        ("widths:constant", "is not the name of a function"),
        ("widths:analyze", "did you mean 'analyse'"),
        ("nowhere:analyse", "cannot import 'nowhere'"),
    ],
)
def test_an_analysis_that_is_none_is_named(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "widths.py").write_text(ANALYSIS)
    with pytest.raises(UserError, match=re.escape(message)):
        members.find_analysis(name)


def test_the_analysis_of_the_modules_docstring_works():
    assert members.__doc__
    blocks = re.split(r"\n(?=\S)", members.__doc__)
    (source,) = [
        textwrap.dedent(block.partition("\n")[2]) for block in blocks if "def analyse" in block
    ]
    said: dict = {}
    exec(source, said)
    networks = [member("a", 0, 0.9), member("a", 1, 0.92), member("b", hidden=(16, 8), test=0.95)]
    (section,) = said["analyse"](Comparison(networks).networks)
    assert section.rows == [((8,), "0.9100"), ((16, 8), "0.9500")]


def test_the_sequential_and_the_looped_form_are_the_same_sweep():
    looped = load("configs/sweeps/looped.py")
    assert looped == load("configs/sweeps/sequential.py")
    assert len({m.architecture for m in looped}) >= 24
    assert {m.config.num_epochs for m in looped} == {5}
