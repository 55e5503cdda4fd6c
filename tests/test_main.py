"""The whole program, as a user runs it."""

import csv
import fcntl
import hashlib
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from mnist_jax.training import checkpoint
from tests.commands import (
    EVERYTHING,
    SMALL,
    bits,
    command,
    environment,
    interrupt,
    rows,
    run,
    untimed,
)

ROW = [
    "epoch",
    "step",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
    "images_per_second",
]
RESULT = [
    "config",
    "parameters",
    "epochs",
    "test_loss",
    "test_accuracy",
    "test_count",
    "val_accuracy",
    "train_seconds",
    "compile_seconds",
    "total_seconds",
    "images_per_second",
    "device",
    "versions",
    "commit",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished") / "mlp"
    output = run("main", *SMALL, f"--workdir={workdir}").stdout
    return workdir, output


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "everything.py").write_text(EVERYTHING)
    run("main", "--config=everything.py", cwd=folder)
    return folder / "runs" / "everything"


def fingerprint(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_result_and_metrics_hold_what_the_contract_names(finished):
    workdir, _ = finished
    result = json.loads((workdir / "result.json").read_text())
    assert sorted(result) == sorted(RESULT)
    assert result["test_count"] == 10_000
    assert result["parameters"] == 784 * 128 + 128 + 128 * 32 + 32 + 32 * 10 + 10
    assert 0.5 < result["test_accuracy"] < 0.99
    assert [list(row) for row in rows(workdir)] == [ROW, ROW]
    assert [row["step"] for row in rows(workdir)] == [15, 30]
    assert result["train_seconds"] == sum(row["seconds"] for row in rows(workdir))
    assert result["config"] == json.loads((workdir / "config.json").read_text())
    with (workdir / "metrics.csv").open() as file:
        assert [float(row["val_loss"]) for row in csv.DictReader(file)] == [
            row["val_loss"] for row in rows(workdir)
        ]


def test_leaves_evaluation_plots_report_and_tensorboard(finished):
    workdir, _ = finished
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    names = [
        "split",
        "count",
        "loss",
        "accuracy",
        "per_class",
        "confusion",
        "calibration",
        "checkpoint",
    ]
    assert sorted(evaluation) == sorted(names)
    assert sum(map(sum, evaluation["confusion"])) == 10_000
    plots = {path.name for path in (workdir / "plots").glob("*.png")}
    assert {"loss.png", "accuracy.png", "confusion.png", "examples.png", "mistakes.png"} <= plots
    assert (workdir / "report.html").stat().st_size > 100_000
    assert list((workdir / "tensorboard").glob("events*"))


def test_shows_the_model_and_a_line_an_epoch(finished):
    _, output = finished
    assert "MLP: 104,938 parameters" in output
    assert len(re.findall(r"^ +[12]/2( +[\d.,]+){6}$", output, flags=re.M)) == 2
    assert "\r" not in output


def test_finished_run_is_left_alone(finished):
    workdir, _ = finished
    before = fingerprint(workdir)
    assert "finished" in run("main", *SMALL, f"--workdir={workdir}").stdout
    assert fingerprint(workdir) == before


def test_other_configuration_is_refused_with_the_difference(finished):
    workdir, _ = finished
    before = fingerprint(workdir)
    arguments = (*SMALL, "--config.batch_size=64", f"--workdir={workdir}")
    message = run("main", *arguments, status=1).stderr
    assert "batch_size: 128 -> 64" in message
    assert f"--workdir={workdir}-2" in message
    assert fingerprint(workdir) == before


@pytest.mark.parametrize(
    ("number", "when", "status"),
    [
        (signal.SIGTERM, "CNN:", 75),  # before the first step
        (signal.SIGTERM, " 1/3 ", 75),
        (signal.SIGINT, " 2/3 ", 75),
        (signal.SIGKILL, " 1/3 ", -9),
        (signal.SIGKILL, " 2/3 ", -9),
    ],
)
def test_interrupted_run_ends_with_the_same_bits(uninterrupted, tmp_path, number, when, status):
    (tmp_path / "everything.py").write_text(EVERYTHING)
    ended = interrupt(number, when, "--config=everything.py", cwd=tmp_path)
    assert ended == status
    workdir = tmp_path / "runs" / "everything"
    assert not (workdir / "result.json").exists()
    run("main", "--config=everything.py", cwd=tmp_path)
    assert bits(workdir) == bits(uninterrupted)
    assert untimed(rows(workdir)) == untimed(rows(uninterrupted))
    best = [checkpoint.best_step(folder / "checkpoints") for folder in (workdir, uninterrupted)]
    assert best[0] == best[1]


def test_evaluate_gives_the_same_accuracy_on_any_number_of_devices(uninterrupted):
    result = json.loads((uninterrupted / "result.json").read_text())
    for devices in (1, 3, 8):
        run("evaluate", f"--workdir={uninterrupted}", devices=devices)
        evaluation = json.loads((uninterrupted / "evaluation.json").read_text())
        assert evaluation["accuracy"] == result["test_accuracy"]
        assert evaluation["loss"] == pytest.approx(result["test_loss"], rel=1e-6)


def test_evaluate_takes_best_and_steps_and_other_splits(finished):
    workdir, _ = finished
    run("evaluate", f"--workdir={workdir}", "--checkpoint=15", "--split=train[2000:2500]")
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    assert evaluation["checkpoint"] == 15
    assert evaluation["count"] == 500
    assert evaluation["accuracy"] == rows(workdir)[0]["val_accuracy"]
    best = max(rows(workdir), key=lambda row: row["val_accuracy"])
    run("evaluate", f"--workdir={workdir}", "--checkpoint=best")
    assert json.loads((workdir / "evaluation.json").read_text())["checkpoint"] == best["step"]
    assert (
        "there is no checkpoint 7; there are: 15, 30"
        in run("evaluate", f"--workdir={workdir}", "--checkpoint=7", status=1).stderr
    )
    assert "holds no run" in run("evaluate", f"--workdir={workdir}-none", status=1).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.nun_epochs=3"], "did you mean 'num_epochs'?"),
        (["--config.model.hiden=3"], "did you mean 'hidden'?"),
        (["--config.num_epochs=2.5"], "expected int, got 2.5"),
        (["--config.model.name=mpl"], "did you mean 'mlp'?"),
        (["--config.optimizer.name=adan_w"], "config.optimizer.name"),
        (["--config.data.name=mnits"], "Did you mean 'mnist'?"),
        (["--config.reduction=elastic"], "config.reduction: 'elastic' is not supported"),
        (["--config.parallel=pmpa"], "none of auto, jit, pmap, shard_map"),
        (["--config.data.placement=disk"], "none of device, host"),
        (["--config.dtype=float"], "none of float32, bfloat16, float16"),
        (["--config.patience=3", "--config.data.val_split="], "needs a validation split"),
        (["--config.keep_latest=0"], "config.keep_latest: must be from 1"),
        (["--config.data.val_split=test[:100]"], "the test split trains and chooses nothing"),
        (["--config.optimizer.learning_rate=1"], "the rate comes from config.schedule"),
        (["--config.model.num_classes=5"], "where the data has 10 classes"),
        (["--config.model.hidden=0"], "the width of a layer must be at least 1, got 0"),
        (["--config.batch_size=4000"], "is more than the 2000 examples"),
        (["--config.model.activation=rellu"], "did you mean 'relu'?"),
        (["--workdir=/dev/null/run"], "cannot write to /dev/null/run"),
    ],
)
def test_mistakes_get_one_clear_message(tmp_path, arguments, message):
    error = run("main", *SMALL, f"--workdir={tmp_path / 'run'}", *arguments, status=1).stderr
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


def test_missing_configuration_lists_both_places(tmp_path):
    error = run("main", "--config=configs/nothing.py", cwd=tmp_path, status=1).stderr
    assert str(tmp_path / "configs/nothing.py") in error
    assert len(re.findall(r"configs/nothing\.py$", error, flags=re.M)) == 2


def test_configuration_of_the_project_is_found_from_anywhere(tmp_path):
    arguments = [a for a in SMALL if "num_epochs" not in a]
    run("main", *arguments, "--config.num_epochs=1", cwd=tmp_path)
    assert (tmp_path / "runs" / "mlp" / "result.json").exists()


def test_loss_that_is_not_finite_stops_the_run_and_is_never_saved(tmp_path):
    arguments = ["--config.optimizer.name=sgd", "--config.schedule.init_value=1e30"]
    error = run("main", *SMALL, *arguments, f"--workdir={tmp_path / 'run'}", status=1).stderr
    assert re.search(r"epoch 1, step \d+: the loss or the gradient is not finite", error)
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))
    assert not (tmp_path / "run" / "result.json").exists()


def test_patience_stops_early_and_a_restart_does_not_go_on(tmp_path):
    arguments = (
        *SMALL,
        "--config.num_epochs=30",
        "--config.patience=2",
        "--config.schedule.init_value=0.1",
        f"--workdir={tmp_path / 'run'}",
    )
    run("main", *arguments)
    losses = [row["val_loss"] for row in rows(tmp_path / "run")]
    assert len(losses) < 30
    assert min(losses) == losses[-3]
    (tmp_path / "run" / "result.json").unlink()  # as if it had been killed at the end
    run("main", *arguments)
    assert [row["val_loss"] for row in rows(tmp_path / "run")] == losses


def test_warm_start_begins_where_the_other_run_ended(finished, tmp_path):
    workdir, _ = finished
    arguments = (*SMALL, f"--config.init_from={workdir}", f"--workdir={tmp_path / 'run'}")
    run("main", *arguments)
    assert rows(tmp_path / "run")[0]["train_loss"] < rows(workdir)[-1]["train_loss"]
    other = (*arguments, f"--workdir={tmp_path / 'other'}", "--config.model.hidden=64,32")
    error = run("main", *other, status=1).stderr
    assert "is of another model" in error
    assert "(784, 128), wanted (784, 64)" in error


def test_second_writer_is_refused(tmp_path):
    arguments = (*SMALL, "--config.num_epochs=200", f"--workdir={tmp_path / 'run'}")
    first = subprocess.Popen(
        command("main", *arguments), env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline()  # it has begun
        error = run("main", *arguments, status=1).stderr
        assert "another process is writing" in error
    finally:
        first.kill()
        first.communicate()


def test_no_validation_split(tmp_path):
    workdir = tmp_path / "run"
    run("main", *SMALL, "--config.data.val_split=", f"--workdir={workdir}")
    assert [row["val_loss"] for row in rows(workdir)] == [None, None]
    assert json.loads((workdir / "result.json").read_text())["val_accuracy"] is None


def test_profile_writes_a_trace_and_changes_nothing(finished, tmp_path):
    workdir, _ = finished
    run("main", *SMALL, "--profile", f"--workdir={tmp_path / 'run'}")
    assert list((tmp_path / "run" / "profile").rglob("*trace.json.gz"))
    assert bits(tmp_path / "run") == bits(workdir)


@pytest.mark.parametrize("columns", [40, 100])
def test_terminal_shows_a_bar_and_lines_that_fit(tmp_path, columns):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {k: v for k, v in environment().items() if k != "COLUMNS"} | {"TERM": "xterm"}
    arguments = command("main", *SMALL, "--config.chunk_steps=5", f"--workdir={tmp_path / 'run'}")
    process = subprocess.Popen(arguments, env=env, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 65536):
            shown += part
    except OSError:  # how a terminal tells that the other side is gone
        pass
    assert process.wait() == 0
    assert b"epoch 1/2:" in shown  # the bar
    lines = re.findall(r"^ +[12]/2 .*$", shown.decode().replace("\r", "\n"), flags=re.M)
    assert len(lines) == 2
    assert [len(line) <= columns for line in lines] == [True, True]
    assert ("images/s" in shown.decode()) == (columns == 100)


@pytest.mark.parametrize("name", ["main", "sweep", "evaluate", "verify"])
def test_help(name):
    shown = run(name, "--help").stdout
    assert f"python -m mnist_jax.{name} --" in shown
    assert "--workdir" in shown


def test_get_config_works_where_there_are_no_flags():
    code = "from mnist_jax.config import load; print(load('configs/cnn.py').model.name)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True)
    assert done.stdout == b"cnn\n"
