"""The same command twice, and the field that asks for the same bits on a GPU."""

import json
from pathlib import Path

import jax
import pytest

from benchmarks.reliability import determinism
from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.training import deterministic
from mnist_jax.training.program import prepare_many, prepare_one
from tests.training.small import SMALL, on_devices


@pytest.fixture(scope="module")
def rows():
    return determinism.measure(quick=True)


def test_the_same_command_leaves_the_same_bits(rows):
    assert [row.lost for row in rows] == [[]] * len(rows)
    twice, circumstances, asked, on_gpu = rows
    assert [its.tried for its in (twice, circumstances, asked, on_gpu)] == [1, 1, 1, 0]
    assert "not measured: this machine has no GPU" in on_gpu.found


def test_another_seed_leaves_other_bits(tmp_path):
    """Else the comparison could compare nothing."""
    commands = determinism.Commands(tmp_path)
    its = [commands.main("mlp_tiny", "num_epochs=1", *more) for more in ((), ("seed=1",))]
    (line,) = determinism.compared("two seeds", *its)
    assert "./checkpoints/" in line
    same = {name for name in its[0] if its[0][name] == its[1].get(name)}
    assert {"config.json", "result.json", "evaluation.json", "metrics.jsonl"}.isdisjoint(same)
    assert {name for name in same if name.endswith(".png")} <= {"plots/network.png"}  # its shape


def test_only_timings_are_left_out(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"epoch": 1, "val_loss": 0.5, "seconds": s} for s in (1.0, 2.0)]
    contents = []
    for line in (*lines, lines[0] | {"val_loss": 0.25}):
        path.write_text(json.dumps(line) + "\n")
        contents.append(determinism._content(path))
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


def test_the_cost_is_measured():
    assert "ms per step of mlp_tiny instead of" in determinism.costs(["mlp_tiny"], at_least=0.01)
