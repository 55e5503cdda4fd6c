"""Further members and seeds in the folder of a sweep: what was trained stays as it is."""

import shutil
from pathlib import Path

import pytest

from tests.commands import fingerprint, read, refused, rows, run, stop_in_first_chunk, table

pytestmark = pytest.mark.slow

SWEEP = """
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for width, rate in MEMBERS:
        members[f"{width} units, rate {rate}"] = config = default()
        config.num_epochs = 2
        config.data.train_split = "train[:1000]"
        config.data.val_split = "train[1000:1500]"
        config.model = dict(name="mlp", hidden=(width,))
        config.optimizer = dict(name="sgd", learning_rate=rate)
    return Sweep(members, seeds=SEEDS)
"""
FEW = "MEMBERS = ((8, 0.1), (16, 0.1))\nSEEDS = 1\n" + SWEEP
MANY = "MEMBERS = ((8, 0.1), (16, 0.1), (8, 0.2), (4, 0.1))\nSEEDS = 2\n" + SWEEP
OLD = [("8 units, rate 0.1", "0"), ("16 units, rate 0.1", "0")]
Named = tuple[str, str]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The folder of a sweep of all members, asked for at once."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "grown.py").write_text(MANY)
    run("sweep", "--config=grown.py", "--workdir=swept", cwd=folder)
    return folder / "swept"


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The current folder of a finished sweep of the first two, one seed each."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "grown.py").write_text(FEW)
    run("sweep", "--config=grown.py", "--workdir=swept", cwd=folder)
    return folder


def by_name(workdir: Path) -> dict[Named, dict[str, str]]:
    return {(row["architecture"], row["seed"]): row for row in table(workdir / "sweep.csv")}


def times(folder: Path) -> dict[str, int]:
    """When each file of a folder was written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def assert_alike(found: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    """Equal tables but for times, and for the rounding of other populations."""
    assert [list(row) for row in found] == [list(row) for row in expected]
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            if "accuracy" in name or "loss" in name:
                figures = [float(text) if text else None for text in (one[name], value)]
                near = 1e-3 if name.endswith(("_sd", "_se")) or "accuracy" in name else None
                assert figures[0] == pytest.approx(figures[1], rel=2e-4, abs=near)
            elif "seconds" not in name:
                assert one[name] == value


@pytest.mark.parametrize("stopped", [False, True], ids=["at once", "stopped"])
def test_only_the_new_networks_are_trained(few, many, tmp_path, stopped):
    shutil.copytree(few / "swept", tmp_path / "swept")
    (tmp_path / "grown.py").write_text(MANY)
    workdir = tmp_path / "swept"
    before, old = times(workdir / "populations"), by_name(workdir)
    arguments = ("--config=grown.py", "--workdir=swept")
    if stopped:
        stop_in_first_chunk("sweep", *arguments, cwd=tmp_path)
    said = run("sweep", *arguments, cwd=tmp_path).stdout
    assert "8 networks of 4 architectures" in said
    if not stopped:
        assert "2 of them finished" in said
    after = times(workdir / "populations")
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)
    now = by_name(workdir)
    assert list(old) == OLD
    for name, row in old.items():
        assert {field: now[name][field] for field in row} == row
    for name in ("sweep.csv", "summary.csv"):
        assert_alike(table(workdir / name), table(many / name))
    assert len(rows(workdir, "sweep.jsonl")) == len(rows(many, "sweep.jsonl")) == 16
    assert read(workdir / "result.json")["members"] == 8
    run("evaluate", "--workdir=swept", "--member=8 units, rate 0.2", "--seed=1", cwd=tmp_path)
    said = run("sweep", *arguments, cwd=tmp_path).stdout
    assert "finished; nothing to do" in said


def test_fewer_members_or_seeds_train_nothing_and_remove_nothing(many, tmp_path):
    (tmp_path / "grown.py").write_text(FEW)
    before = fingerprint(many)
    arguments = ("--config=grown.py", f"--workdir={many}")
    assert "finished; nothing to do" in run("sweep", *arguments, cwd=tmp_path).stdout
    assert fingerprint(many) == before
    assert len(table(many / "sweep.csv")) == 8


def test_fewer_seeds_report_all(many, tmp_path):
    shutil.copytree(many, tmp_path / "swept")
    (tmp_path / "grown.py").write_text(FEW)
    before = times(tmp_path / "swept" / "populations")
    (tmp_path / "swept" / "result.json").unlink()  # as if killed before the report
    (tmp_path / "swept" / "sweep.csv").unlink()
    run("sweep", "--config=grown.py", "--workdir=swept", cwd=tmp_path)
    assert times(tmp_path / "swept" / "populations") == before
    assert table(tmp_path / "swept" / "sweep.csv") == table(many / "sweep.csv")


@pytest.mark.parametrize("arguments", [["--config.num_epochs=3"], ["--config.batch_size=50"]])
def test_a_member_of_the_same_name_is_the_same_network(few, arguments):
    before = fingerprint(few / "swept")
    workdir = "--workdir=swept"
    message = refused("sweep", "--config=grown.py", *arguments, workdir, cwd=few)
    field, _, value = arguments[0].removeprefix("--config.").partition("=")
    assert "another member named '8 units, rate 0.1'" in message
    assert f"-> {value}" in message
    assert field in message
    assert "--workdir=swept-2" in message
    assert fingerprint(few / "swept") == before


def test_seeds_of_a_configuration_grow_from_its_own_on(tmp_path):
    arguments = (
        "--config=configs/mlp.py",
        "--config.num_epochs=1",
        "--config.seed=3",
        "--config.data.train_split=train[:1000]",
        "--config.data.val_split=train[1000:1500]",
        "--workdir=swept",
    )
    run("sweep", *arguments, "--seeds=1", cwd=tmp_path)
    run("sweep", *arguments, "--seeds=3", cwd=tmp_path)
    assert [row["seed"] for row in table(tmp_path / "swept" / "sweep.csv")] == ["3", "4", "5"]
    assert len(list((tmp_path / "swept" / "populations").iterdir())) == 2
