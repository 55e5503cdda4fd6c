"""`launch/local.py` with small stand-ins for the command that it starts."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ROOT

LOCAL = [sys.executable, str(ROOT / "launch" / "local.py")]
# Runs the code that is its first argument.
COMMAND = """
import json, os, signal, sys, time
from pathlib import Path

place = int(os.environ["JAX_PROCESS_ID"])

def until_told(status):
    def told(number, frame):
        Path(f"told-{place}").write_text(signal.Signals(number).name)
        if status is not None:
            sys.exit(status)

    signal.signal(signal.SIGTERM, told)
    Path(f"ready-{place}").touch()
    time.sleep(60)

exec(sys.argv[1])
"""
NOTED = 'Path(f"{place}.json").write_text(json.dumps([{**os.environ}, sys.argv[2:]]))'
KILLED_ONCE = """
if place == 1 and not Path("before").exists():
    Path("before").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
IMPATIENT = """
import sys
from launch import local
local.BOUND = 0.5
sys.exit(local.main(sys.argv[1:]))
"""


@pytest.fixture
def local(tmp_path):
    """A function that runs the launcher with a command that runs some code."""
    (tmp_path / "command.py").write_text(COMMAND)

    def run(code: str, *options: str, arguments: Any = (), launcher: Any = LOCAL) -> Any:
        its = words(code, *options, arguments=arguments, launcher=launcher)
        return subprocess.run(its, cwd=tmp_path, env=environment(), timeout=60, **TEXT)

    return run


TEXT: Any = {"capture_output": True, "text": True}


def words(code: str, *options: str, arguments: Any = (), launcher: Any = LOCAL) -> list[str]:
    count = [] if any("--processes" in its for its in options) else ["--processes=2"]
    return [*launcher, *count, "-m", "command", *options, "--", code, *arguments]


def environment(**variables: str) -> dict[str, str]:
    base = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    return base | {"PYTHONPATH": str(ROOT)} | variables


@contextlib.contextmanager
def started(code: str, folder: Path, *options: str) -> Iterator[Any]:
    """The launcher, once both processes wait for a signal; its output is read at the end."""
    launcher = subprocess.Popen(
        words(code, *options),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with launcher:
        wait_for(folder, "ready")
        yield launcher


def wait_for(folder: Path, what: str) -> None:
    end = time.monotonic() + 30
    while not all((folder / f"{what}-{place}").exists() for place in range(2)):
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_each_process_has_a_place_among_the_others(local, tmp_path):
    done = local(NOTED, "--processes=3")
    assert done.returncode == 0, done.stderr
    noted = [json.loads((tmp_path / f"{place}.json").read_text())[0] for place in range(3)]
    assert [its["JAX_PROCESS_ID"] for its in noted] == ["0", "1", "2"]
    assert {its["JAX_NUM_PROCESSES"] for its in noted} == {"3"}
    assert {its["JAX_NUM_CPU_DEVICES"] for its in noted} == {"1"}
    (coordinator,) = {its["JAX_COORDINATOR_ADDRESS"] for its in noted}
    assert re.fullmatch(r"127\.0\.0\.1:\d+", coordinator)
    assert all(its["PATH"] == os.environ["PATH"] for its in noted)


def test_arguments_arrive_unchanged(local, tmp_path):
    arguments = ["", "a b", "it's", '"quoted"', "two\nlines", "$HOME", "--flag=1", "--", "ü", "*"]
    assert local(NOTED, arguments=arguments).returncode == 0
    for place in range(2):
        assert json.loads((tmp_path / f"{place}.json").read_text())[1] == arguments


def devices(*options: str, **variables: str) -> list[str]:
    """How many devices a dry run gives to each process."""
    command = [*LOCAL, "--dry_run", *options]
    done = subprocess.run(command, env=environment(**variables), check=True, timeout=60, **TEXT)
    return re.findall(r"JAX_NUM_CPU_DEVICES=(\d+) ", done.stdout)


def test_the_processes_of_a_sweep_share_the_cores():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    sweep = ("-m", "mnist_jax.sweep")
    assert devices("--processes=1", *sweep) == [str(cores)]
    assert devices("--processes=2", *sweep) == [str(max(1, (cores or 1) // 2))] * 2
    assert devices("--processes=9999", *sweep)[-1] == "1"
    assert devices("--processes=2") == ["1", "1"]
    assert devices("--processes=2", *sweep, JAX_NUM_CPU_DEVICES="3") == ["3", "3"]


def test_a_dry_run_prints_what_a_shell_would_run(local, tmp_path):
    done = local("Path('begun').touch()", "--dry_run", arguments=["a b"])
    assert done.returncode == 0
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2
    for place, line in enumerate(lines):
        assert f"JAX_PROCESS_ID={place}" in line
        assert line[4:] == [sys.executable, "-m", "command", "Path('begun').touch()", "a b"]
    assert not (tmp_path / "begun").exists()


def test_lines_of_other_processes_have_their_number(local):
    """The last one as well, and those that are no text."""
    code = """
print(place, "says")
print("more", flush=True)
if place:
    sys.stdout.buffer.write(b"\\xff\\n")
    sys.stdout.flush()
print("end", file=sys.stderr)
"""
    done = local(code)
    assert done.stdout == "0 says\nmore\n"
    lines = [
        f"process 1: {text}" for text in ("1 says", "more", "\N{REPLACEMENT CHARACTER}", "end")
    ]
    assert sorted(done.stderr.splitlines()) == sorted(["end", *lines])


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("", 0, ""),
        ("sys.exit(1)", 1, ""),
        ("sys.exit(2 if place else 75)", 2, ""),
        ("sys.exit(75)", 75, ""),
        ("sys.exit(3 * place)", 75, "process 1 of 2 ended with status 3\n"),
        (KILLED_ONCE, 75, "process 1 of 2 was killed by SIGKILL\n"),
        ("os.abort() if place else os.kill(os.getpid(), 9)", 75, "process 0 of 2 was killed by SI"),
    ],
)
def test_the_exit_status_says_whether_to_run_it_again(local, code, status, message):
    done = local(code)
    assert done.returncode == status
    assert done.stderr.startswith(message) if message else done.stderr == ""


def test_what_was_killed_is_started_again(local):
    done = local(KILLED_ONCE + 'print("done")', "--restarts=2")
    assert done.returncode == 0, done.stderr
    assert "restart 1 of 2\n" in done.stdout
    assert "restart 2" not in done.stdout
    assert "process 1 of 2 was killed by SIGKILL" in done.stderr


def test_it_is_not_started_again_for_ever(local):
    done = local("os.kill(os.getpid(), signal.SIGKILL)", "--restarts=2")
    assert done.returncode == 75
    assert done.stdout == "restart 1 of 2\nrestart 2 of 2\n"


def test_a_mistake_is_not_repeated(local):
    done = local("sys.exit(1)", "--restarts=2")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_all_processes_stop(local, tmp_path, number):
    with started("until_told(75)", tmp_path, "--restarts=2") as launcher:
        for _ in range(2):  # at once, they are one request
            launcher.send_signal(number)
        output, errors = launcher.communicate(timeout=30)
    assert (launcher.returncode, output, errors) == (75, "", "")
    for place in range(2):
        assert (tmp_path / f"told-{place}").read_text() == "SIGTERM"


def test_a_second_signal_ends_them_at_once(local, tmp_path):
    with started("until_told(None)", tmp_path, "--restarts=2") as launcher:
        launcher.send_signal(signal.SIGTERM)
        wait_for(tmp_path, "told")
        time.sleep(1.2)
        launcher.send_signal(signal.SIGINT)
        output, errors = launcher.communicate(timeout=10)
    assert (launcher.returncode, output) == (75, "")
    for place in range(2):
        assert f"process {place} of 2 was killed by SIGKILL" in errors


def test_signals_that_nohup_ignores_do_nothing(local, tmp_path):
    (tmp_path / "nohup.sh").write_text('trap "" HUP; exec "$@"')
    launcher = ["sh", "nohup.sh", *LOCAL]
    code = "os.kill(os.getppid(), signal.SIGHUP); time.sleep(0.3); print('done')"
    done = local(code, launcher=launcher)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_processes_that_do_not_end_with_the_others_are_killed(local, tmp_path):
    before = time.monotonic()
    impatient = [sys.executable, "-c", IMPATIENT]
    done = local("sys.exit(3) if place else time.sleep(60)", launcher=impatient)
    assert time.monotonic() - before < 30
    assert done.returncode == 75
    assert done.stderr.splitlines() == [
        "process 1 of 2 ended with status 3",
        "process 0 of 2 was killed by SIGKILL",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--processes=0",), "--processes: expected a whole number from 1 on, got '0'"),
        (("--processes=two",), "--processes: expected a whole number from 1 on, got 'two'"),
        (("--restarts=-1",), "--restarts: expected a whole number from 0 on, got '-1'"),
    ],
)
def test_counts_that_are_none_are_refused(local, options, message):
    done = local("", *options)
    assert done.returncode == 2
    assert message in done.stderr
