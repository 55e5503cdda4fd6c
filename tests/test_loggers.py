"""Loggers: the user's own code that is called with the row of each epoch."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import mnist_jax
from tests.commands import bits, read, refused, rows, run, stop_in_first_chunk, untimed
from tests.test_readme import section

pytestmark = pytest.mark.usefixtures("undrawn")

MINE = """
import json

def append(row, *, path="logged.jsonl"):
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\\n")

class Track:
    def __init__(self, *, path: str = "tracked.txt", config, workdir):
        self.file = open(path, "a")
        self.file.write(json.dumps([config, str(workdir)]) + "\\n")

    def __call__(self, row):
        self.file.write(f"{row['epoch']}\\n")
        row.clear()  # it is a copy

    def close(self):
        self.file.write("closed\\n")
        self.file.close()

class Failing:
    def __call__(self, row):
        if row["epoch"] == 2:
            raise RuntimeError("no network\\nand more lines")
        with open("failing.txt", "a") as file:
            file.write(f"{row['epoch']}\\n")

    def close(self):
        with open("failing.txt", "a") as file:
            file.write("closed\\n")
        raise RuntimeError("still no network")

class NeverMade:
    def __init__(self):
        raise OSError("no account")

    def __call__(self, row):
        pass

class CloseFails:
    def __call__(self, row):
        pass

    def close(self):
        raise ValueError("cannot close")

class NotCalled:
    pass

class Static:
    @staticmethod
    def __call__(row):
        append(row, path="static.jsonl")

number = 3
"""
SMALL = (
    "--config=configs/mlp.py",
    "--config.num_epochs=3",
    "--config.data.train_split=train[:640]",
    "--config.data.val_split=train[640:960]",
    "--config.model.hidden=8",
    "--workdir=run",
)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def named(name: str, **keywords: Any) -> str:
    """The argument that names a logger with keywords."""
    return f"--config.loggers={ {'name': name, **keywords} }"


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A folder with a run with several loggers, some of which fail, and what it printed."""
    folder = tmp_path_factory.mktemp("logged")
    (folder / "mine.py").write_text(MINE)
    names = ("append", "Track", "Failing", "NeverMade", "CloseFails")
    loggers = f"--config.loggers={','.join(f'mine:{name}' for name in names)}"
    return folder, run("main", *SMALL, loggers, cwd=folder)


@pytest.fixture
def mine(tmp_path):
    """A folder with the loggers."""
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def test_a_function_gets_each_row_in_order(logged):
    folder, _ = logged
    assert lines(folder / "logged.jsonl") == rows(folder / "run")
    assert [row["epoch"] for row in rows(folder / "run")] == [1, 2, 3]


def test_a_class_is_made_once_and_closed(logged):
    folder, _ = logged
    head, *others = (folder / "tracked.txt").read_text().splitlines()
    assert json.loads(head) == [read(folder / "run" / "config.json"), "run"]
    assert others == ["1", "2", "3", "closed"]


def test_a_logger_that_fails_is_warned_of_once_and_not_called_again(logged):
    folder, done = logged
    said = [line for line in done.stderr.splitlines() if "config.loggers" in line]
    assert len(said) == 3
    for logger, cause in (
        ("Failing", "RuntimeError: no network"),
        ("NeverMade", "OSError: no account"),
        ("CloseFails", "ValueError: cannot close"),
    ):
        (line,) = (line for line in said if f"mine:{logger} " in line)
        assert line.startswith("warning: ")
        assert cause in line
    assert (folder / "failing.txt").read_text() == "1\nclosed\n"


@pytest.mark.slow
def test_a_run_is_the_same_without_loggers(logged, tmp_path):
    folder, _ = logged
    run("main", *SMALL, cwd=tmp_path)
    assert bits(folder / "run") == bits(tmp_path / "run")
    assert untimed(rows(folder / "run")) == untimed(rows(tmp_path / "run"))
    with_loggers, without = (read(its / "run" / "result.json") for its in (folder, tmp_path))
    for name in ("test_accuracy", "test_loss", "val_loss", "epochs"):
        assert with_loggers[name] == without[name]


def test_other_loggers_are_no_other_run(logged, tmp_path):
    folder, _ = logged
    before = read(folder / "run" / "config.json")
    assert "finished; nothing to do" in run("main", *SMALL, cwd=folder).stdout
    assert read(folder / "run" / "config.json") == before


@pytest.mark.slow
def test_each_epoch_is_logged_once_over_a_stop_and_a_resume(mine):
    arguments = (*SMALL, "--config.loggers=mine:append")
    stop_in_first_chunk("main", *arguments, cwd=mine)
    assert [row["epoch"] for row in lines(mine / "logged.jsonl")] == [1]
    run("main", *arguments, cwd=mine)
    assert lines(mine / "logged.jsonl") == rows(mine / "run")
    assert len(rows(mine / "run")) == 3


@pytest.mark.slow
def test_an_epoch_that_is_lost_in_a_kill_is_not_logged_twice(mine):
    arguments = (*SMALL, "--config.loggers=mine:append")
    stop_in_first_chunk("main", *arguments, cwd=mine)
    shutil.rmtree(mine / "run" / "checkpoints")
    run("main", *arguments, cwd=mine)
    found = lines(mine / "logged.jsonl")
    assert untimed(found) == untimed(rows(mine / "run"))
    assert len(found) == 3


@pytest.mark.slow
def test_a_run_goes_on_with_other_loggers(mine):
    stop_in_first_chunk("main", *SMALL, named("mine:append", path="a.jsonl"), cwd=mine)
    run("main", *SMALL, named("mine:append", path="b.jsonl"), cwd=mine)
    assert lines(mine / "a.jsonl") + lines(mine / "b.jsonl") == rows(mine / "run")
    assert len(lines(mine / "a.jsonl")) == 1
    (newest,) = read(mine / "run" / "config.json")["loggers"]
    assert newest == {"name": "mine:append", "path": "b.jsonl"}
    assert read(mine / "run" / "result.json")["config"]["loggers"] == [newest]


@pytest.mark.parametrize("name", ["main", "sweep"])
@pytest.mark.parametrize(
    ("logger", "message"),
    [
        (named("mine:append", pth="a.jsonl"), "'pth'; did you mean 'path'"),
        (named("mine:Track", pth="a.txt"), "'pth'; did you mean 'path'"),
        (named("mine:Track", path=3), "path: expected str, got 3"),
        ("--config.loggers=mine:apend", "did you mean 'append'"),
        ("--config.loggers=mine:number", "is not a function"),
        ("--config.loggers=mine:NotCalled", "without __call__(self, row)"),
        ("--config.loggers=yours:append", "cannot import 'yours'"),
    ],
)
def test_what_is_no_logger_is_refused_before_anything_is_trained(mine, name, logger, message):
    said = refused(name, *SMALL, logger, cwd=mine)
    assert "config.loggers[0]" in said
    assert message in said
    for file in ("config.json", "sweep.json", "checkpoints", "populations"):
        assert not (mine / "run" / file).exists()


# Sweeps

SWEEP = """
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for width in (4, 8):
        members[f"{width} units"] = config = default()
        config.num_epochs = 2
        config.data.train_split = "train[:640]"
        config.data.val_split = "train[640:960]"
        config.model = dict(name="mlp", hidden=(width,))
        config.loggers = LOGGERS[width]
    return Sweep(members, seeds=2)
"""
SWEPT = ("--config=some.py", "--workdir=run")
NAMES = {("4 units", 0), ("4 units", 1), ("8 units", 0), ("8 units", 1)}


def by_name(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda row: (row["architecture"], row["seed"], row["epoch"]))


@pytest.mark.slow
def test_a_sweep_logs_the_lines_of_each_network_once(mine):
    loggers = {4: ("mine:append", "mine:Track"), 8: ("mine:append",)}
    (mine / "some.py").write_text(f"LOGGERS = {loggers}\n{SWEEP}")
    stop_in_first_chunk("sweep", *SWEPT, cwd=mine)
    first = lines(mine / "logged.jsonl")
    assert {row["epoch"] for row in first} == {1}
    assert (mine / "tracked.txt").read_text().endswith("closed\n")
    (mine / "tracked.txt").unlink()
    run("sweep", *SWEPT, cwd=mine)
    found = lines(mine / "logged.jsonl")
    assert by_name(found) == by_name(rows(mine / "run", "sweep.jsonl"))
    assert {(row["architecture"], row["seed"]) for row in found} == NAMES
    assert len(found) == 8
    head, *others = (mine / "tracked.txt").read_text().splitlines()
    configs, workdir = json.loads(head)
    assert (list(configs), workdir) == (["4 units", "8 units"], "run")
    assert configs["4 units"]["model"]["hidden"] == [4]
    assert others == ["2", "2", "closed"]  # of the two seeds with 4 units, in this process
    assert len(list((mine / "run" / "populations").iterdir())) == 2


@pytest.mark.slow
def test_a_sweep_goes_on_with_other_loggers(mine):
    def log_to(path):
        logger = {"name": "mine:append", "path": path}
        (mine / "some.py").write_text(f"LOGGERS = { {4: (logger,), 8: ()} }\n{SWEEP}")
        return logger

    log_to("a.jsonl")
    stop_in_first_chunk("sweep", *SWEPT, cwd=mine)
    newest = log_to("b.jsonl")
    run("sweep", *SWEPT, cwd=mine)
    found = rows(mine / "run", "sweep.jsonl")
    assert len(found) == 8
    first, second = lines(mine / "a.jsonl"), lines(mine / "b.jsonl")
    assert [row["epoch"] for row in first] == [1, 1]
    logged = [row for row in found if row["architecture"] == "4 units"]
    assert by_name([*first, *second]) == by_name(logged)
    its = {
        member["architecture"]: member["config"]["loggers"]
        for member in read(mine / "run" / "sweep.json")["members"]
    }
    assert its == {"4 units": [newest], "8 units": []}
    log_to("c.jsonl")
    assert "finished; nothing to do" in run("sweep", *SWEPT, cwd=mine).stdout


@pytest.mark.slow
def test_networks_with_other_loggers_train_together(mine):
    source = SWEEP.replace("hidden=(width,)", "hidden=(4,)")
    (mine / "some.py").write_text(f"LOGGERS = { {4: ('mine:append',), 8: ()} }\n{source}")
    said = run("sweep", *SWEPT, cwd=mine).stdout
    assert "4 networks of 2 architectures, in 1 compiled program" in said
    assert {row["architecture"] for row in lines(mine / "logged.jsonl")} == {"4 units"}
    assert "loggers" not in (mine / "run" / "sweep.csv").read_text()


@pytest.mark.slow
def test_runs_with_other_loggers_are_compared_as_one_architecture(logged, mine):
    """Two seeds, of which one was logged."""
    run("main", *SMALL[:-1], "--config.seed=1", "--workdir=run-1", cwd=mine)
    shutil.copytree(logged[0] / "run", mine / "run-0")
    run("sweep", "--compare", "run-0", "run-1", "--workdir=both", cwd=mine)
    found = (mine / "both" / "sweep.csv").read_text().splitlines()[1:]
    assert [line.split(",")[:2] for line in found] == [["run", "0"], ["run", "1"]]


# From Python


def test_a_call_that_needs_no_instance_is_called_with_the_row_alone(mine):
    run("main", *SMALL, "--config.num_epochs=1", "--config.loggers=mine:Static", cwd=mine)
    assert lines(mine / "static.jsonl") == rows(mine / "run")


@pytest.mark.slow
def test_from_python(user_module, tmp_path):
    user_module("mine", MINE)
    config = mnist_jax.default()
    config.loggers = (dict(name="mine:append", path="a.jsonl"), "mine:Track")
    config.data.train_split, config.data.val_split = "train[:640]", "train[640:960]"
    config.model = dict(name="mlp", hidden=(4,))
    found = mnist_jax.train(config, workdir="run", num_epochs=2)
    assert lines(tmp_path / "a.jsonl") == found.history
    assert (tmp_path / "tracked.txt").read_text().endswith("\n1\n2\nclosed\n")
    (tmp_path / "a.jsonl").unlink()
    swept = mnist_jax.sweep(config, workdir="swept", num_epochs=1, seeds=2)
    assert by_name(lines(tmp_path / "a.jsonl")) == by_name(swept.history)


# README

WANDB = """
import json

run = None

class Run:
    def __init__(self, project):
        self.project = project

    def log(self, values, step):
        with open(f"{self.project}.jsonl", "a") as file:
            file.write(json.dumps([step, values]) + "\\n")

def init(project):
    global run
    assert run is None
    run = Run(project)
    return run
"""


@pytest.mark.slow
def test_the_logger_in_readme(tmp_path):
    """With an offline replacement of the experiment tracker."""
    text = section("Loggers of your own")
    (source,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert "`--config.loggers=mine:track`" in text
    (tmp_path / "mine.py").write_text(source)
    (tmp_path / "wandb.py").write_text(WANDB)
    run("main", *SMALL, "--config.loggers=mine:track", cwd=tmp_path)
    assert lines(tmp_path / "mnist.jsonl") == [[r["epoch"], r] for r in rows(tmp_path / "run")]
