"""The sweep, as a user runs it."""

import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from mnist_jax import compare
from mnist_jax.training import checkpoint, checkpoints
from tests.commands import (
    SMALL,
    interrupt,
    read,
    refused,
    rows,
    run,
    stop_in_first_chunk,
    table,
    untimed,
)

SWEEP = """
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for hidden, rate in (((8,), 0.1), ((8,), 1e30), ((8, 8), 0.1), ((), 0.1)):
        config = default()
        config.num_epochs = 3
        config.chunk_steps = 6
        config.data.train_split = "train[:1500]"
        config.data.val_split = "train[1500:2000]"
        config.model = dict(name="mlp", hidden=hidden)
        config.optimizer = dict(name="sgd", learning_rate=rate)
        members[f"{len(hidden)} hidden, rate {rate:g}"] = config
    return Sweep(members, seeds=2)
"""
ARCHITECTURES = [
    "1 hidden, rate 0.1",
    "1 hidden, rate 1e+30",
    "2 hidden, rate 0.1",
    "0 hidden, rate 0.1",
]
DIVERGED = ARCHITECTURES[1]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "some.py").write_text(SWEEP)
    output = run("sweep", "--config=some.py", cwd=folder, devices=2, drawn=True).stdout
    return folder / "runs" / "some-sweep", output


def lines(workdir: Path) -> list[dict]:
    return rows(workdir, "sweep.jsonl")


def figures(workdir: Path) -> list[dict[str, str]]:
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in table(workdir / "sweep.csv")
    ]


def digests(workdir: Path) -> dict[str, dict[str, Any]]:
    """Of the arrays of each population's newest checkpoint, by the population's name."""
    found = {}
    for folder in (workdir / "populations").glob("*/checkpoints"):
        step = checkpoints.steps(folder)[-1]
        checkpoint.check(folder, step)
        found[folder.parent.name] = checkpoint._read_seal(folder / str(step))["digests"]
    return found


def test_the_tables_hold_what_the_contract_names(uninterrupted):
    workdir, _ = uninterrupted
    its = table(workdir / "sweep.csv")
    contract = "architecture seed parameters epochs seconds val_accuracy val_loss test_accuracy"
    assert set(f"{contract} test_loss status".split()) <= its[0].keys()
    assert {"model.hidden", "optimizer.learning_rate"} <= its[0].keys()
    assert [(r["architecture"], r["seed"]) for r in its] == [
        (name, seed) for name in ARCHITECTURES for seed in "01"
    ]
    for row in its:
        sound = row["architecture"] != DIVERGED
        assert (row["status"] == "finished") == sound
        assert bool(row["test_accuracy"]) == bool(row["val_loss"]) == sound
        if sound:
            assert 0.3 < float(row["test_accuracy"]) < 0.95
            assert row["epochs"] == "3"
    assert its[-1]["parameters"] == "7850"
    summary = {r["architecture"]: r for r in table(workdir / "summary.csv")}
    assert [summary[name]["seeds"] for name in ARCHITECTURES] == ["2", "0", "2", "2"]
    mean = sum(float(r["test_accuracy"]) for r in its[:2]) / 2
    assert float(summary[ARCHITECTURES[0]]["test_accuracy"]) == pytest.approx(mean)


def test_a_line_per_member_and_epoch(uninterrupted):
    workdir, _ = uninterrupted
    found = lines(workdir)
    assert sorted((r["architecture"], r["seed"], r["epoch"]) for r in found) == sorted(
        (name, seed, epoch)
        for name in ARCHITECTURES
        if name != DIVERGED
        for seed in (0, 1)
        for epoch in (1, 2, 3)
    )
    last = {(r["architecture"], str(r["seed"])): r for r in found if r["epoch"] == 3}
    for row in table(workdir / "sweep.csv"):
        if row["status"] == "finished":
            line = last[row["architecture"], row["seed"]]
            assert float(row["val_accuracy"]) == line["val_accuracy"]


def test_a_diverged_member_is_reported_and_members_of_a_shape_train_together(uninterrupted):
    workdir, output = uninterrupted
    assert "8 networks of 4 architectures, in 3 compiled programs" in output
    assert f"{DIVERGED}  2 of 2 diverged" in output
    assert "diverged in epoch 1" in (workdir / "report.html").read_text()


def test_pictures_report_and_drawings_are_there(uninterrupted):
    workdir, _ = uninterrupted
    plots = {path.name for path in (workdir / "plots").glob("*.png")}
    assert {"curves.png", "ranking.png", "parameters.png"} <= plots
    assert len(list((workdir / "plots" / "networks").glob("*/network.svg"))) == 3
    report = (workdir / "report.html").read_text()
    assert report.count("data:image/png;base64,") >= 7
    assert "http" not in report.replace("http://www.w3.org", "")
    result = read(workdir / "result.json")
    assert (result["members"], result["architectures"], result["diverged"]) == (8, 4, 2)


@pytest.mark.slow
def test_a_member_ends_as_main_does(uninterrupted, tmp_path):
    workdir, _ = uninterrupted
    (tmp_path / "one.py").write_text(
        SWEEP.replace("get_sweep", "get_config").replace(
            "return Sweep(members, seeds=2)", f"return members[{ARCHITECTURES[2]!r}]"
        )
    )
    run("main", "--config=one.py", "--config.seed=1", cwd=tmp_path)
    result = read(tmp_path / "runs" / "one" / "result.json")
    its = table(workdir / "sweep.csv")
    row = next(r for r in its if (r["architecture"], r["seed"]) == (ARCHITECTURES[2], "1"))
    for name in ("test_accuracy", "test_loss", "val_accuracy"):
        assert float(row[name]) == pytest.approx(result[name], rel=1e-4)
    assert int(row["parameters"]) == result["parameters"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_an_interrupted_sweep_ends_as_if_it_had_not_been(uninterrupted, tmp_path, number):
    (tmp_path / "some.py").write_text(SWEEP)
    for after in ("compiled programs", "2/3"):
        status = interrupt(number, after, "--config=some.py", cwd=tmp_path, name="sweep")
        assert status == (75 if number == signal.SIGTERM else -number)
    output = run("sweep", "--config=some.py", cwd=tmp_path, devices=2).stdout
    workdir, _ = uninterrupted
    resumed = tmp_path / "runs" / "some-sweep"
    assert output.count("diverged") <= 1
    assert figures(resumed) == figures(workdir)
    assert untimed(lines(resumed)) == untimed(lines(workdir))
    assert digests(resumed) == digests(workdir)


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_an_epoch_and_not_the_sweep(uninterrupted, tmp_path):
    (tmp_path / "some.py").write_text(SWEEP)
    interrupt(signal.SIGKILL, "2/3", "--config=some.py", cwd=tmp_path, name="sweep")
    populations = tmp_path / "runs" / "some-sweep" / "populations"
    folder = next(path.parent for path in populations.glob("*/results.json"))
    (folder / "results.json").unlink()  # as if killed while it was evaluated
    newest = folder / "checkpoints" / str(checkpoints.steps(folder / "checkpoints")[-1])
    (newest / "commit_success.txt").unlink()
    message = run("sweep", "--config=some.py", cwd=tmp_path, devices=2).stderr
    assert "is damaged" in message
    assert figures(folder.parent.parent) == figures(uninterrupted[0])


def test_a_finished_sweep_is_left_alone(uninterrupted):
    workdir, _ = uninterrupted
    cwd = workdir.parent.parent
    before = (workdir / "result.json").stat().st_mtime_ns
    assert "finished; nothing to do" in run("sweep", "--config=some.py", cwd=cwd).stdout
    assert "holds a sweep" in refused("main", *SMALL, f"--workdir={workdir}")
    assert (workdir / "result.json").stat().st_mtime_ns == before


def test_a_folder_of_another_version_is_refused_by_name(tmp_path):
    """The version before this format wrote no format, and numbered its populations."""
    (tmp_path / "sweep.json").write_text('{"members": []}')
    for name, arguments in (("sweep", SMALL), ("evaluate", ()), ("verify", ())):
        message = refused(name, *arguments, f"--workdir={tmp_path}")
        assert "written by another version" in message
        assert "--workdir=" in message
    assert (tmp_path / "sweep.json").read_text() == '{"members": []}'


def test_main_and_sweep_know_whose_file_it_is(uninterrupted):
    cwd = uninterrupted[0].parent.parent
    message = refused("main", "--config=some.py", cwd=cwd)
    assert "python -m mnist_jax.sweep --config=some.py" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.model.hidden=4"], "the members of the sweep differ in this field"),
        (["--config.parallel=pmap"], "a sweep assigns whole members to devices"),
        (["--config.model.hiden=4"], "did you mean 'hidden'"),
        (["--seeds=0"], "at least one member and one seed"),
        (["--config.batch_size=5000"], "more than the 1500 examples"),
        (["--config.data.val_split=train[64:"], "cannot be read"),
        (["--config.init_from=nowhere"], "nowhere holds no run"),
        (["--config.seed=4294967295"], "exceed 4294967295"),
        (["--config.loss=nowhere:loss"], "cannot import 'nowhere'"),
        (["--config.metrics=nowhere:metric"], "cannot import 'nowhere'"),
        (["--config.data.val_split=all"], "holds 10000 rows of the test split"),
        (
            ["--config.data.val_split=train[1400:2000]"],
            "--config.data.val_split='train[1500:2000]'",
        ),
    ],
    ids=[
        "varied",
        "parallel",
        "misspelt",
        "seeds",
        "batch",
        "split",
        "init_from",
        "seed",
        "loss",
        "metric",
        "test",
        "overlap",
    ],
)
def test_mistakes_are_named_and_no_folder_is_taken(uninterrupted, tmp_path, arguments, message):
    (tmp_path / "some.py").write_text(SWEEP)
    assert message in refused("sweep", "--config=some.py", *arguments, cwd=tmp_path)
    assert not (tmp_path / "runs" / "some-sweep" / "sweep.json").exists()


def test_an_unknown_argument_is_refused(tmp_path):
    """`--seed` is none of `sweep`, and is not taken for `--seeds`."""
    message = run("sweep", "--config=configs/mlp.py", "--seed=3", cwd=tmp_path, status=2).stderr
    assert "--seed=3" in message
    assert "Traceback" not in message
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of one configuration and one of another, trained by main."""
    folder = tmp_path_factory.mktemp("runs")
    for name, more in (
        ("wide-0", []),
        ("wide-1", ["--config.seed=1"]),
        ("narrow", ["--config.model.hidden=8"]),
    ):
        run("main", *SMALL, *more, f"--workdir={folder / name}")
    return folder


@pytest.mark.slow
def test_finished_runs_of_main_are_compared(runs):
    folders = [str(runs / name) for name in ("wide-0", "wide-1", "narrow")]
    run("sweep", "--compare", *folders, f"--workdir={runs / 'both'}", drawn=True)
    its = table(runs / "both" / "sweep.csv")
    assert [(r["architecture"], r["seed"]) for r in its] == [
        ("wide", "0"),
        ("wide", "1"),
        ("narrow", "0"),
    ]
    for row, folder in zip(its, folders, strict=True):
        result = read(Path(folder) / "result.json")
        assert float(row["test_accuracy"]) == result["test_accuracy"]
    assert (runs / "both" / "report.html").exists()
    assert (runs / "both" / "plots" / "ranking.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wide-0", "missing"], "missing holds no run"),
        (["wide-0", "wide-0/../wide-0"], "hold the same run"),
        (["wide-0", "--seeds=3"], "no --seeds"),
        (["wide-0", "narrow", "--workdir=narrow"], "holds a run or a sweep of its own"),
    ],
    ids=["missing", "twice", "seeds", "workdir"],
)
def test_what_cannot_be_compared_is_refused(runs, arguments, message):
    assert message in refused("sweep", "--workdir=neither", "--compare", *arguments, cwd=runs)
    assert not (runs / "neither" / "sweep.csv").exists()
    assert not (runs / "narrow" / "sweep.csv").exists()


@pytest.mark.slow
def test_runs_of_one_name_and_two_configurations_are_two_architectures(runs, tmp_path):
    for place, name in (("a", "wide-0"), ("b", "narrow")):
        (tmp_path / place / "mlp").mkdir(parents=True)
        for file in ("config.json", "result.json", "metrics.jsonl"):
            (tmp_path / place / "mlp" / file).write_text((runs / name / file).read_text())
    compare.compare_runs([tmp_path / "a" / "mlp", tmp_path / "b" / "mlp"], tmp_path / "c")
    names = [row["architecture"] for row in table(tmp_path / "c" / "sweep.csv")]
    assert names == [str(tmp_path / "a" / "mlp"), str(tmp_path / "b" / "mlp")]
    assert len(list((tmp_path / "c" / "plots" / "networks").glob("*/network.png"))) == 2


def test_a_folder_that_holds_other_members_is_not_believed(uninterrupted, tmp_path):
    """A population's folder is named by a digest of its members."""
    shutil.copytree(uninterrupted[0], tmp_path / "runs" / "some-sweep")
    (tmp_path / "some.py").write_text(SWEEP)
    workdir = tmp_path / "runs" / "some-sweep"
    (workdir / "result.json").unlink()
    first, second, *_ = sorted((workdir / "populations").glob("*/members.json"))
    second.write_text(first.read_text())
    message = refused("sweep", "--config=some.py", cwd=tmp_path)
    assert second.parent.name in message


# Each seed has its luck: for some all outputs are NaN from the start on.
FRAGILE = """
import jax
import jax.numpy as jnp
from flax import nnx

from mnist_jax.config import default
from mnist_jax.members import Sweep

class Fragile(nnx.Module):
    def __init__(self, *, odds: float = 0.5, rngs: nnx.Rngs) -> None:
        self.odds = odds
        self.luck = nnx.Param(jax.random.uniform(rngs.params(), (1,)))
        self.output = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        lost = jax.lax.stop_gradient(self.luck[...]) > self.odds
        return jnp.where(lost, jnp.nan, self.output(images.reshape(len(images), -1)))

def get_sweep():
    members = {}
    for name, odds, rate in (("poor", 1.0, 1e-6), ("fragile", 0.5, 1e-2), ("lost", -1.0, 1e-2)):
        members[name] = config = default()
        config.num_epochs = 1
        config.data.train_split = "train[:1000]"
        config.data.val_split = "train[1000:1500]"
        config.model = dict(name="fragile:Fragile", odds=odds)
        config.optimizer = dict(name="adam", learning_rate=rate)
    return Sweep(members, seeds=4)
"""


@pytest.mark.slow
def test_an_architecture_of_which_a_seed_diverged_ranks_after_all_others(tmp_path):
    """Its survivors are better here, but they are those that were lucky."""
    (tmp_path / "fragile.py").write_text(FRAGILE)
    run("sweep", "--config=fragile.py", cwd=tmp_path)
    workdir = tmp_path / "runs" / "fragile-sweep"
    summary = {row["architecture"]: row for row in table(workdir / "summary.csv")}
    assert [summary[name]["diverged"] for name in ("poor", "lost")] == ["0", "4"]
    assert 0 < int(summary["fragile"]["diverged"]) < 4
    accuracy = {name: row["val_accuracy"] for name, row in summary.items()}
    assert float(accuracy["fragile"]) > float(accuracy["poor"]) + 0.2
    report = (workdir / "report.html").read_text()
    shown = report.split("<h2>Summary</h2>")[1].split("</table>")[0]
    assert re.findall(r"poor|fragile|lost", shown) == ["poor", "fragile", "lost"]
    run("evaluate", "--workdir=runs/fragile-sweep", "--member=best", cwd=tmp_path)
    assert [path.name[:4] for path in (workdir / "members").iterdir()] == ["poor"]


@pytest.mark.slow
def test_a_sweep_stops_within_an_epoch(tmp_path):
    """A chunk is bounded in the work of all networks: 20 end after a part of an epoch."""
    arguments = (
        "--config=configs/fast.py",
        "--config.data.train_split=train[:12800]",
        "--seeds=20",
        f"--workdir={tmp_path}",
    )
    assert "progress is saved" in stop_in_first_chunk("sweep", *arguments)
    (folder,) = (tmp_path / "populations").glob("*/checkpoints")
    (step,) = checkpoints.steps(folder)
    assert 0 < step < 12800 // 128
