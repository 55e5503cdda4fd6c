"""The command explore, as a user runs it."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from mnist_jax.analysis.data.text import PICTURES
from mnist_jax.lock import sole_writer
from tests.commands import ROOT, command, environment, refused, run

FILES = {"explore.txt", *(f"{name}.png" for name in PICTURES)}
SMALL = ("--config.data.train_split=train[:2000]", "--config.data.val_split=train[2000:2500]")


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explored")
    return folder / "runs" / "cnn", run("explore", "--config=configs/cnn.py", cwd=folder).stdout


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_writes_its_files_into_the_folder_of_the_configuration(explored):
    workdir, _ = explored
    assert set(contents(workdir)) == {f"explore/{name}" for name in FILES}


def test_tells_what_there_is(explored):
    workdir, said = explored
    text = (workdir / "explore" / "explore.txt").read_text()
    assert said == f"{text}\nruns/cnn/explore\n"
    rows = {line[:18].strip(): line[18:].split() for line in text.splitlines()}
    assert rows["split"] == ["train[:55000]", "train[55000:]", "test"]
    assert rows["images"] == ["55,000", "5,000", "10,000"]
    assert rows["dtype"] == ["uint8"] * 3
    assert rows["highest value"] == ["255"] * 3
    assert rows["mean"][0] == "0.1307"
    assert rows["standard deviation"][0] == "0.3081"
    assert "5      4,956   9.01 %  465   9.30 %    892   8.92 %" in text
    assert "No example is in two splits. No two images are the same." in text
    assert "rotation ±10°, translation ±2 px" in " ".join(text.split())


@pytest.mark.slow
def test_leaves_a_run_alone_and_works_while_it_trains(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": 7}')
    arguments = ("--config=configs/mlp.py", *SMALL, f"--workdir={tmp_path}")
    with sole_writer(tmp_path):
        before = contents(tmp_path)
        said = run("explore", *arguments).stdout
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {f"explore/{name}" for name in FILES}
    assert "Training augments no image." in said


def test_gives_the_same_bytes_and_leaves_accelerators_to_training(explored, tmp_path):
    workdir, _ = explored
    done = subprocess.run(
        command("explore", "--config=configs/cnn.py", f"--workdir={tmp_path}"),
        cwd=ROOT,
        env=environment() | {"JAX_PLATFORMS": "tpu"},  # there is none: asking for it would fail
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert contents(tmp_path) == contents(workdir)


def test_fits_a_narrow_terminal(tmp_path):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    env = {k: v for k, v in environment().items() if k != "COLUMNS"}
    arguments = command("explore", "--config=configs/cnn.py", *SMALL, "--workdir=explored")
    process = subprocess.Popen(arguments, env=env, cwd=tmp_path, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 65536):
            shown += part
    except OSError:  # how a terminal tells that the other side is gone
        pass
    assert process.wait(timeout=120) == 0
    lines = shown.decode().splitlines()
    assert len(lines) > 60
    assert max(map(len, lines)) <= 40
    text = (tmp_path / "explored" / "explore" / "explore.txt").read_text()
    assert 70 < max(map(len, text.splitlines())) <= 80  # whatever the terminal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.data.name=mnits"], "did you mean 'mnist'?"),
        (["--config.data.train_split=train[:70000]"], "reaches beyond the examples"),
        (
            ["--config.data.val_split=train[1990:2500]"],
            "shares 10 of its rows with the training split",
        ),
        (["--config.data.train_split=all"], "holds 10000 rows of the test split"),
        (["--workdir=/dev/null"], "cannot write /dev/null/explore"),
    ],
)
def test_mistakes_get_one_clear_message(tmp_path, arguments, message):
    arguments = ("--config=configs/mlp.py", f"--workdir={tmp_path / 'run'}", *SMALL, *arguments)
    error = refused("explore", *arguments)
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "run").exists()


def test_help():
    shown = run("explore", "--help").stdout
    assert "python -m mnist_jax.explore --config=" in shown
    assert "--workdir" in shown
