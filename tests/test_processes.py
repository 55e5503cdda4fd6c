"""A run or a sweep of several processes, started by `launch/local.py` or by hand."""

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_jax import processes
from mnist_jax.config import parse
from mnist_jax.errors import LostError, UserError
from mnist_jax.lock import sole_writer
from mnist_jax.members import Planned
from mnist_jax.place import ADDRESS, COUNT, INDEX, Place, find, platform_has_several
from mnist_jax.training import checkpoint, checkpoints, sweep
from tests.commands import (
    ROOT,
    bits,
    environment,
    finished,
    flip_bit,
    read,
    refused,
    rows,
    run,
    stop_in_first_chunk,
    table,
    untimed,
)

SMALL = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs = 3
    config.chunk_steps = 3
    config.data.train_split = "train[:1000]"
    config.data.val_split = "train[1000:1500]"
    config.model = dict(name="mlp", hidden=(16,), dropout=0.2)
    config.ema_decay = 0.9
    return config
"""
UNDRAWN = "from benchmarks.undrawn import leave_out_plots\nleave_out_plots()\n"
# With batch statistics and distortion, too, which a restart could lose.
RICH = SMALL.replace(
    "dropout=0.2)", 'dropout=0.2, normalisation="batch")\n    config.augment.rotation = 10.0'
)
assert RICH != SMALL
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
        config.loggers = ("mine:append",)
    return Sweep(members, seeds=2)
"""
MINE = """
import json

def append(row):
    with open("logged.jsonl", "a") as file:
        file.write(json.dumps(row) + "\\n")
"""
ELASTIC = "--config.reduction=elastic"
MAIN = ("--config=some.py", "--workdir=run")

# Runs a command, but first some code that knows the place of its process.
BEFORE = """
import os, runpy, signal, sys, time
from pathlib import Path
from mnist_jax import connection
from mnist_jax.training import shared_folder
from mnist_jax.training.console import Console

def kill(number, place=None):
    if place in (None, int(os.environ["JAX_PROCESS_ID"])):
        os.kill(os.getpid(), number)

code, *sys.argv = sys.argv[1:]
exec(code)
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
# The same code in every process; `{}` is the place of the one that ends, or None: all.
KILLED = """
end_epoch = Console.end_epoch
def ended(self, row, metrics):
    end_epoch(self, row, metrics)
    if row["epoch"] == 2:
        kill(signal.SIGKILL, {})
Console.end_epoch = ended
"""
# With time for all of them to learn of it, before the last one is at its end.
STOPPED = "Console.update = lambda *arguments: (kill(signal.SIGTERM, {}), time.sleep(1))"


def local(
    *arguments: str,
    cwd: Path,
    count: int = 2,
    name: str = "main",
    before: str = "",
    drawn: bool = False,
) -> Any:
    """Runs `launch/local.py` to its end; plots are left out unless `drawn`."""
    before = before if drawn else UNDRAWN + before
    (cwd / "before.py").write_text(BEFORE)
    module = ["-m", "before", "--", before, f"mnist_jax.{name}"]
    words = [sys.executable, str(ROOT / "launch" / "local.py"), f"--processes={count}", *module]
    launcher = subprocess.Popen(
        [*words, *arguments],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, errors = launcher.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        for _ in range(2):  # the second signal kills the processes
            launcher.send_signal(signal.SIGTERM)
        launcher.wait()
        raise
    return subprocess.CompletedProcess(words, launcher.returncode, output, errors)


def ended(done: Any, status: int) -> Any:
    """Fails with the output of a command that ended otherwise."""
    assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A function from a configuration to the folder of its run by one process."""
    done = {}

    def train(config, *overrides):
        if (config, overrides) not in done:
            folder = tmp_path_factory.mktemp("alone")
            (folder / "some.py").write_text(config)
            run("main", *MAIN, *overrides, cwd=folder)
            done[config, overrides] = folder / "run"
        return done[config, overrides]

    return train


def assert_same_run(workdir: Path, expected: Path) -> None:
    """All bits of the last checkpoint, all rows and all figures of the test."""
    assert bits(workdir) == bits(expected)
    assert untimed(rows(workdir)) == untimed(rows(expected))
    found, result = (
        {k: v for k, v in read(its / "result.json").items() if k.startswith(("test_", "val_"))}
        for its in (workdir, expected)
    )
    assert found == result
    assert "test_accuracy" in found


# One network


def test_a_run_whose_process_was_killed_is_continued_by_a_single_one(alone, tmp_path):
    """To the same bits, and the launcher says whom it has lost."""
    (tmp_path / "some.py").write_text(SMALL)
    lost = ended(local(*MAIN, ELASTIC, cwd=tmp_path, before=KILLED.format(1)), 75)
    assert "process 1 of 2 was killed by SIGKILL" in lost.stderr
    assert "Run the same command again on all hosts to continue" in lost.stdout
    assert "2 processes, 2 virtual devices" in lost.stdout
    assert len(rows(tmp_path / "run")) == 2
    done = run("main", *MAIN, ELASTIC, cwd=tmp_path)
    assert "resuming from step 14" in done.stdout
    assert_same_run(tmp_path / "run", alone(SMALL, ELASTIC))


@pytest.mark.slow
def test_any_number_of_processes_continue_what_another_began(alone, tmp_path):
    """Stopped or killed in between, they give the bits of one that was left alone."""
    (tmp_path / "some.py").write_text(RICH)
    arguments = (*MAIN, ELASTIC)
    assert "stopped on request" in stop_in_first_chunk("main", *arguments, cwd=tmp_path)
    stopped = ended(local(*arguments, cwd=tmp_path, count=4, before=STOPPED.format(1)), 75)
    assert "stopped on request; progress is saved" in stopped.stdout
    assert " of 4 " not in stopped.stderr  # each ended with 75
    assert checkpoints.steps(tmp_path / "run" / "checkpoints")[-1] < 21
    killed = ended(local(*arguments, cwd=tmp_path, before=KILLED.format(None)), 75)
    for place in range(2):
        assert f"process {place} of 2 was killed by SIGKILL" in killed.stderr
    ended(local(*arguments, cwd=tmp_path), 0)
    assert_same_run(tmp_path / "run", alone(RICH, ELASTIC))


DAMAGED = """
from mnist_jax.training import checkpoint
NAME = checkpoint.NAME
def damaged(*arguments, **options):
    found = NAME(*arguments, **options)
    if os.environ["JAX_PROCESS_ID"] == "1":
        raise checkpoint.DamagedError("it differs")
    return found
checkpoint.NAME = damaged
"""


@pytest.fixture(scope="module")
def once_killed(tmp_path_factory):
    """A folder in which two processes were killed after checkpoint 14 of a run."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "some.py").write_text(SMALL)
    lost = ended(local(*MAIN, ELASTIC, cwd=folder, before=KILLED.format(None)), 75)
    assert "process 1 of 2 was killed" in lost.stderr
    return folder


@pytest.fixture
def killed(once_killed, tmp_path):
    """A copy of that run."""
    return Path(shutil.copytree(once_killed, tmp_path / "killed")) / "run"


@pytest.mark.slow
def test_a_checkpoint_that_is_damaged_is_set_aside_by_all(alone, killed):
    """The first process alone would have read it, and not the older one."""
    (path,) = (killed / "checkpoints" / "14" / "state" / "d").iterdir()
    flip_bit(path, path.stat().st_size // 2)
    done = ended(local(*MAIN, ELASTIC, cwd=killed.parent), 0)
    assert "; set aside as 14.damaged" in done.stderr
    assert "resuming from step 7" in done.stdout
    assert_same_run(killed, alone(SMALL, ELASTIC))


@pytest.mark.slow
def test_a_checkpoint_that_one_process_cannot_read_is_kept(alone, killed):
    """A shared folder may show a new file to the others later."""
    for where in ("_read_seal", "_load_once"):
        before = DAMAGED.replace("NAME", where)
        done = ended(local(*MAIN, ELASTIC, cwd=killed.parent, before=before), 1)
        assert "14 is damaged in process 1 of 2, but not in the others: it differs" in done.stderr
    done = ended(local(*MAIN, ELASTIC, cwd=killed.parent), 0)
    assert "resuming from step 14" in done.stdout
    assert_same_run(killed, alone(SMALL, ELASTIC))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_an_interrupt_of_one_process_stops_all(tmp_path, name):
    (tmp_path / "some.py").write_text(SMALL)
    stopped = STOPPED.format(1).replace("SIGTERM", name)
    done = ended(local(*MAIN, cwd=tmp_path, before=stopped), 75)
    assert "stopped on request; progress is saved" in done.stdout
    assert " of 2 " not in done.stderr


# As a user does while the programs are being compiled.
INTERRUPTED = """
from mnist_jax.training import program
prepare_one = program.prepare_one
def interrupted(config):
    kill(signal.SIGINT, 1)
    return prepare_one(config)
from mnist_jax import experiment
experiment.prepare_one = interrupted
"""


@pytest.mark.slow
def test_an_interrupt_outside_of_the_training_ends_all(tmp_path):
    (tmp_path / "some.py").write_text(SMALL)
    before = f"from mnist_jax.training import preemption; preemption.PASSED_ON = ()\n{INTERRUPTED}"
    done = ended(local(*MAIN, cwd=tmp_path, before=before), 1)
    assert "error: process 1 of 2 failed: it was interrupted" in done.stderr
    assert "process 1: interrupted" in done.stderr


@pytest.mark.slow
def test_the_mean_over_processes_is_nearly_that_of_one(alone, tmp_path):
    (tmp_path / "some.py").write_text(SMALL)
    done = ended(local(*MAIN, cwd=tmp_path, drawn=True), 0)
    assert "cannot be drawn" not in done.stderr
    assert (tmp_path / "run" / "plots" / "saliency.png").exists()
    folders = tmp_path / "run", alone(SMALL)
    step = checkpoints.steps(folders[0] / "checkpoints")[-1]
    found, expected = (
        checkpoint.read(its / "checkpoints", step, ["params", "average"])[0] for its in folders
    )
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], atol=1e-4, err_msg=name)
    losses = [[row["val_loss"] for row in rows(its)] for its in folders]
    np.testing.assert_allclose(*losses, atol=1e-4)


def test_a_finished_run_is_left_as_it_is(alone):
    workdir = alone(SMALL, ELASTIC)
    before = (workdir / "result.json").stat()
    done = ended(local(*MAIN, ELASTIC, cwd=workdir.parent), 0)
    assert done.stdout.count("already finished; nothing to do") == 1
    assert "nothing to do" not in done.stderr  # where the lines of process 1 are
    assert (workdir / "result.json").stat() == before


# A sweep


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a sweep by one process."""
    folder = tmp_path_factory.mktemp("swept")
    write_sweep(folder)
    run("sweep", *MAIN, cwd=folder)
    return folder


def write_sweep(folder: Path) -> None:
    (folder / "some.py").write_text(SWEEP)
    (folder / "mine.py").write_text(MINE)


def assert_same_sweep(folder: Path, expected: Path) -> None:
    """The same table and lines, each of which the logger got once."""

    def members(folder):
        return table(folder / "run" / "sweep.csv")

    def lines(folder, name="run/sweep.jsonl"):
        its = untimed(rows(folder, name))
        return sorted(its, key=lambda row: (row["architecture"], row["seed"], row["epoch"]))

    assert_close(members(folder), members(expected))
    assert_close(lines(folder), lines(expected))
    assert_close(lines(folder, "logged.jsonl"), lines(folder))


def assert_close(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Numbers within 1e-4; the members of a population may be others, and so are its programs."""

    def figures(row):
        its = {k: v for k, v in row.items() if k != "seconds"}
        for name, value in its.items():
            with contextlib.suppress(TypeError, ValueError):
                its[name] = pytest.approx(float(value), abs=1e-4)
        return its

    assert found
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for row, its in zip(found, expected, strict=True):
        for name, value in figures(its).items():
            close = (
                float(row[name]) if not isinstance(value, str) and value is not None else row[name]
            )
            assert close == value, name


def test_a_sweep_of_two_processes_gives_the_table_of_one(swept, tmp_path):
    write_sweep(tmp_path)
    done = ended(local(*MAIN, cwd=tmp_path, name="sweep", drawn=True), 0)
    assert "cannot be drawn" not in done.stderr
    assert (tmp_path / "run" / "plots" / "ranking.png").exists()
    assert "4 networks of 2 architectures, in 4 compiled programs" in done.stdout
    assert_same_sweep(tmp_path, swept)


@pytest.mark.parametrize("begun", [0, 1])
def test_what_a_process_never_began_is_one_population_again(tmp_path, monkeypatch, begun):
    """It may have been killed before. Two new ones would have other programs, and other bits."""
    monkeypatch.setattr(processes, "count", lambda: 2)
    config = parse({"model": {"name": "mlp", "hidden": (4,)}})
    plan = sweep.resolve(
        [Planned("small", dataclasses.replace(config, seed=seed)) for seed in range(6)]
    )
    folders = sweep._folders(plan, tmp_path)
    assert [len(its.members) for its in folders] == [3, 3]
    folders[begun].begin()
    assert {its.path for its in sweep._folders(plan, tmp_path)} == {its.path for its in folders}
    more = [*plan, Planned("small", dataclasses.replace(config, seed=6))]
    again = sweep._folders(sweep.resolve(more), tmp_path)
    assert again[0].path == folders[begun].path
    assert sorted(its.config.seed for each in again for its in each.members) == [*range(7)]


# Process 0 stops once process 1 has finished a population.
LATE = """
def update(*arguments):
    while not list(Path("run").glob("populations/*/results.json")):
        time.sleep(0.05)
    kill(signal.SIGTERM, 0)
    time.sleep(1)
if os.environ["JAX_PROCESS_ID"] == "0":
    Console.update = update
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_a_sweep_whose_process_was_killed_ends(swept, tmp_path, place):
    write_sweep(tmp_path)
    before = STOPPED.format(place).replace("SIGTERM", "SIGKILL")
    lost = ended(local(*MAIN, cwd=tmp_path, name="sweep", before=before), 75)
    assert f"process {place} of 2 was killed by SIGKILL" in lost.stderr
    ended(local(*MAIN, cwd=tmp_path, name="sweep"), 0)
    assert_same_sweep(tmp_path, swept)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "count"), [(STOPPED.format(1), 2), (LATE, 1)], ids=["at once", "late"]
)
def test_a_sweep_that_was_stopped_is_continued(swept, tmp_path, before, count):
    write_sweep(tmp_path)
    stopped = ended(local(*MAIN, cwd=tmp_path, name="sweep", before=before), 75)
    assert stopped.stdout.count("stopped on request; progress is saved") == 1
    assert " of 2 " not in stopped.stderr
    ended(local(*MAIN, cwd=tmp_path, name="sweep", count=count), 0)
    assert_same_sweep(tmp_path, swept)


# Refusals


def refused_by_all(*arguments: str, cwd: Path, before: str = "") -> tuple[str, str]:
    """The messages of two processes, each of which prints one and no traceback."""
    done = ended(local(*arguments, cwd=cwd, before=before), 1)
    lines = done.stderr.splitlines()
    first = [line for line in lines if line.startswith("error: ")]
    second = [line for line in lines if line.startswith("process 1: error: ")]
    assert (len(first), len(second)) == (1, 1), done.stderr
    return first[0], second[0]


def test_processes_that_do_not_do_the_same_are_refused(tmp_path):
    (tmp_path / "some.py").write_text(SMALL)
    before = 'if os.environ["JAX_PROCESS_ID"] == "1": sys.argv.append("--config.seed=7")'
    first, second = refused_by_all(*MAIN, cwd=tmp_path, before=before)
    for said in (first, second):
        assert "process 1 of 2 does not do what process 0 does" in said
    assert not (tmp_path / "run").exists()


OTHER_CODE = """
from mnist_jax.training import own_code
own_code.read = lambda names: {"mine": {"file": "", "sha256": os.environ["JAX_PROCESS_ID"]}}
"""
OTHER_WEIGHTS = """
import jax
from mnist_jax.training import contents
if os.environ["JAX_PROCESS_ID"] == "1":
    contents.warm_start = lambda state, config: jax.tree.map(lambda x: x + 1, state)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "message"),
    [
        (OTHER_CODE, "does not do what process 0 does"),
        (OTHER_WEIGHTS, "do not start from the same weights"),
    ],
)
def test_other_code_and_other_weights_are_refused(tmp_path, before, message):
    (tmp_path / "some.py").write_text(SMALL)
    assert all(message in said for said in refused_by_all(*MAIN, cwd=tmp_path, before=before))


@pytest.mark.slow
def test_a_folder_that_is_not_shared_is_refused(tmp_path):
    (tmp_path / "some.py").write_text(SMALL)
    other = 'if os.environ["JAX_PROCESS_ID"] == "1": sys.argv[-1] = "--workdir=other"'
    before = f"shared_folder.SEEN_WITHIN = 2\n{other}"
    first, second = refused_by_all(*MAIN, cwd=tmp_path, before=before)
    assert "--workdir=other is not the same folder in process 1 as in process 0" in second
    assert "process 1 of 2 failed: --workdir=other is not the same folder" in first
    assert "give a folder on a file system that all hosts share" in first


@pytest.mark.slow
def test_a_folder_that_another_run_writes_to_is_refused(tmp_path):
    (tmp_path / "some.py").write_text(SMALL)
    with sole_writer(tmp_path / "run"):
        first, second = refused_by_all(*MAIN, cwd=tmp_path)
    assert "is writing to run" in first
    assert "process 0 of 2 failed: another process" in second


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--profile", "--profile: traces a run of one process"),
        ("--config.parallel=pmap", "config.parallel: 'pmap' is for a single process; use 'auto'"),
        ("--config.batch_size=33", "config.batch_size: 33 cannot be split over 2 devices"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(tmp_path, argument, message):
    (tmp_path / "some.py").write_text(SMALL)
    for said in refused_by_all(*MAIN, argument, cwd=tmp_path):
        assert message in said


TOGETHER = ("--processes=2", "--process=1", "--coordinator=127.0.0.1:12345")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            TOGETHER[:1],
            "needs --coordinator (or JAX_COORDINATOR_ADDRESS), --process (or JAX_PROCESS_ID) too",
        ),
        ((*TOGETHER, "--process=2"), "--process=2: must be from 0 to 1"),
        ((*TOGETHER, "--coordinator=here"), "--coordinator='here': expected HOST:PORT"),
    ],
)
def test_a_place_that_is_none_is_refused(tmp_path, arguments, message):
    (tmp_path / "some.py").write_text(SMALL)
    assert message in refused("main", *MAIN, *arguments, cwd=tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "message"), [(0, "not all of them came within"), (1, "no process 0 at 127.0.0.1:")]
)
def test_a_process_that_never_comes_is_not_waited_for(tmp_path, place, message):
    (tmp_path / "some.py").write_text(SMALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    its = ("--processes=2", f"--process={place}", f"--coordinator=127.0.0.1:{port}")
    words = ["-c", BEFORE, "connection.JOINING = 3", "mnist_jax.main", *MAIN, *its]
    done = finished(words, cwd=tmp_path, status=75)
    assert done.stderr.count("error: ") == 1
    assert f"the processes of this run cannot be connected: {message}" in done.stderr
    assert "Traceback" not in done.stderr


# Where a process belongs

SLURM = {"SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_JOB_ID": "7"}
GIVEN = {ADDRESS: "a:1", COUNT: "2", INDEX: "1"}


@pytest.fixture
def known(monkeypatch):
    """A function that sets the environment to nothing but what it is given."""

    def know(**variables: str) -> None:
        for name in os.environ:
            if name.startswith(("JAX_", "SLURM_", "OMPI_", "TPU_", "COLAB_")):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return know


@pytest.mark.parametrize(
    ("variables", "several"),
    [
        ({}, False),
        (SLURM | {"SLURM_STEP_NODELIST": "node[1-2]"}, True),
        (SLURM, False),  # the script of the job itself
        (SLURM | {"SLURM_STEP_NODELIST": "node1", "SLURM_NTASKS": "1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"TPU_WORKER_HOSTNAMES": "a"}, False),
    ],
    ids=str,
)
def test_the_platform_tells_whether_there_are_others(known, variables, several):
    known(**variables)
    assert find(None, None, None) == (Place() if several else None)
    assert find(None, 1, None) is None  # for this process alone


@pytest.mark.parametrize(
    ("variables", "several"),
    [
        ({}, True),
        ({"JAX_PLATFORMS": ""}, True),  # like none
        ({"JAX_PLATFORMS": "tpu,cpu"}, True),
        ({"JAX_PLATFORMS": "cpu"}, False),
        ({"COLAB_RELEASE_TAG": "release"}, False),
    ],
    ids=str,
)
def test_a_tpu_may_have_others(known, monkeypatch, variables, several):
    known(**variables)
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/vfio/0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "libtpu" or None)
    assert platform_has_several() == several
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not platform_has_several()


@pytest.mark.parametrize(
    ("variables", "arguments", "place"),
    [
        (GIVEN, (None, None, None), Place("a:1", 2, 1)),
        (GIVEN, ("b:2", None, 0), Place("b:2", 2, 0)),  # a flag comes first
        (GIVEN, (None, 1, None), None),
        (GIVEN | {COUNT: "1", INDEX: "0"}, (None, None, None), None),
        (SLURM | {"SLURM_STEP_NODELIST": "x"}, ("[::1]:9", 3, 2), Place("[::1]:9", 3, 2)),
    ],
)
def test_flags_and_variables_tell_the_place(known, variables, arguments, place):
    known(**variables)
    assert find(*arguments) == place


@pytest.mark.parametrize(
    ("variables", "arguments", "message"),
    [
        ({}, ("a:1", 2, None), "needs --process (or JAX_PROCESS_ID) too"),
        ({ADDRESS: "a:1"}, (None, None, None), "needs --processes (or JAX_NUM_PROC"),
        ({}, ("a:1", 2, -1), "--process=-1: must be from 0 to 1"),
        ({}, ("a:1", 0, 0), "--process=0: must be from 0"),
        ({}, ("a", 2, 0), "--coordinator='a': expected HOST:PORT"),
        ({}, (":1", 2, 0), "--coordinator=':1': expected HOST:PORT"),
        ({}, ("a:b", 2, 0), "--coordinator='a:b': expected HOST:PORT"),
        ({}, ("a:70000", 2, 0), "--coordinator='a:70000': expected HOST:PORT"),
        ({COUNT: "two"}, (None, None, None), "JAX_NUM_PROCESSES='two' in the env"),
    ],
)
def test_a_place_that_contradicts_itself_is_refused(known, variables, arguments, message):
    known(**variables)
    with pytest.raises(UserError) as raised:
        find(*arguments)
    assert message in str(raised.value)


# Whom a process waits for


class Service:
    """JAX's coordination service and one of its clients, without others."""

    process_id, num_processes = 0, 3

    def __init__(self):
        self.client, self.texts = self, {}

    def key_value_set(self, key, text):
        self.texts[key] = text

    def blocking_key_value_get(self, key, milliseconds):
        if key not in self.texts:
            time.sleep(milliseconds / 1000)
            raise RuntimeError("DEADLINE_EXCEEDED: nobody has set it")
        return self.texts[key]


@pytest.fixture
def group(monkeypatch):
    monkeypatch.setattr(processes, "POLL", 0.01)
    monkeypatch.setattr(processes._Together, "_watch", lambda self: None)
    return processes._Together(Service())


def test_a_barrier_names_who_is_missing_and_no_other(group):
    group._client.key_value_set("lunch/0/2", "")
    with pytest.raises(LostError, match=r"^process 1 of 3 did not come to 'lunch' within 0 s"):
        group.gather("lunch", "", patience=0.1)
    with pytest.raises(LostError, match=r"^processes 1, 2 of 3 did not come to 'lunch'"):
        group.gather("lunch", "", patience=0.1)  # for the second time


def test_whoever_waits_long_says_for_whom(group, monkeypatch, capsys):
    monkeypatch.setattr(processes, "REPORT", 0.05)
    group._client.key_value_set("lunch/0/1", "soup")

    def waiting():
        if capsys.readouterr().out == "waiting at 'lunch' for process 2 of 3\n":
            group._client.key_value_set("lunch/0/2", "salad")

    assert group.gather("lunch", "bread", waiting=waiting) == ["bread", "soup", "salad"]


def test_whoever_waits_learns_that_another_has_failed(group):
    group._why = "process 1 of 3 failed: no bread"
    with pytest.raises(UserError, match="no bread"):
        group.gather("lunch", "")


ABORTED = """
import os, threading
from mnist_jax.commands import cli

def main(arguments):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    os.abort()

cli.run(main, "Is aborted.", lambda parser: None)
"""


def test_an_abort_reads_no_stack_that_may_change_meanwhile(tmp_path):
    errors = finished(["-c", ABORTED], cwd=tmp_path, status=-signal.SIGABRT).stderr
    assert "Fatal Python error: Aborted" in errors
    assert "in main" in errors
    assert "threading.py" not in errors
