"""The same command twice, and the field that asks for the same bits on a GPU."""

import json
import sys
from pathlib import Path

import jax
import pytest

import tests.commands
from benchmarks.reliability import determinism, forked, left
from benchmarks.reliability.repeating import costs
from benchmarks.reliability.repeating.commands import Commands
from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.training import deterministic
from mnist_jax.training.program import prepare_many, prepare_one
from tests.training.small import SMALL, on_devices


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Commands, and the rows of their quick form."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forked, "server", tests.commands._server)
        its = Commands(tmp_path_factory.mktemp("determinism"), quick=True)
        yield its, determinism.rows(its)


def test_the_same_command_leaves_the_same_bits(trained):
    _, rows = trained
    assert [row.lost for row in rows] == [[]] * len(rows)
    twice, circumstances, asked, on_gpu = rows
    assert [its.tried for its in (twice, circumstances, asked, on_gpu)] == [1, 1, 1, 0]
    assert twice.what.startswith("the same command twice")
    assert on_gpu.found.startswith("not yet measured: there was no GPU; on a machine with one, ")


def test_another_seed_leaves_other_bits(trained):
    """Else the comparison could compare nothing."""
    commands, _ = trained
    its = [commands.usual(determinism.QUICK), commands.main(determinism.QUICK, "seed=1")]
    (line,) = left.compared("two seeds", *its)
    assert "./checkpoints/" in line
    same = {name for name in its[0] if its[0][name] == its[1].get(name)}
    of_rows = {"metrics.jsonl", "metrics.csv"}
    assert of_rows <= its[0].keys()
    assert (of_rows | {"config.json", "result.json", "evaluation.json"}).isdisjoint(same)
    assert {name for name in same if name.endswith(".png")} <= {"plots/network.png"}  # its shape


@pytest.mark.parametrize("other", [None, sys.executable])
def test_the_long_form_needs_two_pythons(monkeypatch, tmp_path, other):
    monkeypatch.setattr(determinism, "_trainings", lambda commands, names, python: {})
    pythons = [sys.executable, *filter(None, [other])]
    row = determinism._twice(Commands(tmp_path, quick=False), [], pythons)
    (line,) = row.lost
    assert line == "only one Python was measured: set OTHER_PYTHON to a second one"


def test_the_row_names_both_pythons(monkeypatch, tmp_path):
    monkeypatch.setattr(determinism, "_trainings", lambda commands, names, python: {})
    monkeypatch.setattr(determinism, "_version", lambda python: f"Python {python}")
    row = determinism._twice(Commands(tmp_path, quick=False), [], ["1", "2"])
    assert row.what.endswith(", with Python 1 and Python 2")
    assert row.lost == []


def test_a_training_that_fails_is_one_lost_line(monkeypatch, tmp_path):
    commands = Commands(tmp_path, quick=True)

    def fails(*arguments, **keywords):
        raise TimeoutError("timed out")

    for name in ("usual", "main"):
        monkeypatch.setattr(commands, name, fails)
    lost = [row.lost for row in determinism.rows(commands)]
    assert [len(lines) for lines in lost] == [1, 1, 1, 0]
    assert all("TimeoutError: timed out" in line for (line,) in lost[:-1])


@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.csv", "result.json"])
def test_only_timings_are_left_out(tmp_path: Path, name):
    path = tmp_path / name
    rows = [{"epoch": 1, "val_loss": 0.5, "seconds": s} for s in (1.0, 2.0)]
    contents = []
    for row in (*rows, rows[0] | {"val_loss": 0.25}):
        table = f"{','.join(row)}\n{','.join(map(str, row.values()))}\n"
        path.write_text(table if name.endswith("csv") else json.dumps(row) + "\n")
        contents.append(left.left(tmp_path))
    assert contents[0] == contents[1] != contents[2]


def test_options_are_for_gpus_alone_and_only_if_asked():
    assert deterministic.options("gpu", asked=True)["xla_gpu_deterministic_ops"] is True
    assert deterministic.options("gpu", asked=False) == {}
    assert (
        deterministic.options("cpu", asked=True) == deterministic.options("tpu", asked=True) == {}
    )


def test_xla_knows_the_options():
    """Those of a GPU are parsed on a CPU, too, where they do nothing."""
    lowered = jax.jit(lambda x: x + 1).lower(1.0)
    assert deterministic.compiled(lowered, "gpu", asked=True)(1.0) == 2.0


@pytest.mark.usefixtures("quick_compiles")
@pytest.mark.parametrize(
    ("parallel", "devices"), [("jit", 1), ("pmap", 2), ("shard_map", 2), ("members", 1)]
)
def test_options_go_with_every_program(monkeypatch, parallel, devices):
    """With one that XLA does not know, as a stand-in, each is refused, and none without."""
    monkeypatch.setattr(deterministic, "OPTIONS", {"cpu": {"xla_no_such_option": True}})

    def prepare(asked):
        mode = "auto" if parallel == "members" else parallel
        config = parse(SMALL | {"parallel": mode, "deterministic": asked})
        with on_devices(devices):
            return prepare_one(config) if parallel != "members" else prepare_many([config] * 2)

    program = prepare(False)
    with pytest.raises(UserError, match=r"config.deterministic: XLA of jax .* lacks what it needs"):
        prepare(True)
    layout = type(program.layout)
    compiled = layout.compile_blocks

    def without_blocks(self, *arguments):
        pytest.fail("the steps were compiled without the options")

    monkeypatch.setattr(layout, "compile_blocks", without_blocks)
    with pytest.raises(UserError):
        prepare(True)
    monkeypatch.setattr(layout, "compile_blocks", compiled)
    monkeypatch.setattr(layout, "compile_steps", lambda *arguments: (None, None))
    monkeypatch.setattr("mnist_jax.training.memory.needed", lambda compiled: 0)
    with pytest.raises(UserError):
        prepare(True)


@pytest.mark.slow
def test_the_cost_is_measured():
    assert "ms per step of mlp_tiny instead of" in costs.told(["mlp_tiny"], at_least=0.01)
