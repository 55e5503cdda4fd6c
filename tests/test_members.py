"""Sweep files: which members they name, and what is refused."""

from pathlib import Path

import pytest

from mnist_jax import config, members
from mnist_jax.errors import UserError
from tests.commands import ROOT

SWEEPS = sorted(path.name for path in (ROOT / "configs" / "sweeps").glob("*.py"))
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


def named(plan):
    return [(m.architecture, m.config.seed) for m in plan]


def test_each_architecture_has_its_seeds(two):
    plan = members.load(two)
    assert named(plan) == [("width 8", 0), ("width 8", 1), ("width 16", 0), ("width 16", 1)]
    assert [m.config.model.keywords["hidden"] for m in plan] == [(8,), (8,), (16,), (16,)]


def test_seeds_from_the_command_line_count_from_the_configurations_own(two):
    assert len(members.load(two, seeds=5)) == 10
    plan = members.load(two, [("seed", "7")], seeds=2)
    assert named(plan)[:2] == [("width 8", 7), ("width 8", 8)]


def test_an_override_reaches_every_member(two):
    plan = members.load(two, [("batch_size", "64"), ("optimizer.learning_rate", "0.01")])
    assert {m.config.batch_size for m in plan} == {64}
    assert {m.config.optimizer.keywords["learning_rate"] for m in plan} == {0.01}


def test_a_plain_configuration_is_one_architecture():
    plan = members.load("configs/mlp.py", seeds=3)
    assert named(plan) == [("mlp", 0), ("mlp", 1), ("mlp", 2)]
    assert plan[1].config == config.load("configs/mlp.py", [("seed", "1")])


def test_overriding_what_tells_the_members_apart_is_refused(two):
    with pytest.raises(UserError, match=r"--config\.model\.hidden: the members of the sweep"):
        members.load(two, [("model.hidden", "4")])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Sweep(members, seeds=2)", "members", r"get_sweep\(\) must return a Sweep"),
        ("Sweep(members, seeds=2)", "Sweep({})", "at least one member and one seed"),
        ("seeds=2", "seeds=0", "at least one member and one seed"),
        ("Sweep(members,", "Sweep({'one': 1},", "member 'one': must be a configuration"),
        ('f"width {width}"', "width", "named by a non-empty string, not 8"),
        ('config.model = dict(name="mlp", ', "config.batchsize = dict(", "did you mean 'batch_"),
    ],
    ids=["plain dict", "empty", "no seeds", "number", "name", "misspelt"],
)
def test_mistakes_in_a_sweep_file_are_named(two, old, new, message):
    Path(two).write_text(TWO.replace(old, new))
    with pytest.raises(UserError, match=message):
        members.load(two)


def test_a_value_of_another_type_is_refused_by_the_members_name(two):
    with pytest.raises(UserError, match=r"member 'width 8': config\.batch_size: expected int"):
        members.load(two, [("batch_size", "many")])


def test_main_sends_a_sweep_to_its_own_command(two):
    with pytest.raises(UserError, match=r"python -m mnist_jax\.sweep --config="):
        config.load(two)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_projects_sweeps_name_networks_that_can_be_built(name):
    from mnist_jax.training.sweep import resolve

    plan = members.load(f"configs/sweeps/{name}", seeds=1)
    assert len(resolve(plan)) == len(plan) >= 10


def test_the_sequential_and_the_looped_form_are_the_same_sweep():
    looped = members.load("configs/sweeps/looped.py")
    assert looped == members.load("configs/sweeps/sequential.py")
    assert len({m.architecture for m in looped}) >= 24
    assert {m.config.num_epochs for m in looped} == {5}
