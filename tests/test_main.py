"""The whole program, as a user runs it."""

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios

import pytest

from benchmarks.reliability.killing.network import MAIN as EVERYTHING
from tests.commands import (
    SMALL,
    bits,
    command,
    environment,
    fingerprint,
    interrupt,
    python,
    read,
    refused,
    rows,
    run,
    table,
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
    "val_loss",
    "val_accuracy",
    "train_seconds",
    "compile_seconds",
    "total_seconds",
    "images_per_second",
    "device",
    "versions",
    "commit",
    "warnings",
    "files",
    "sha256",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished") / "mlp"
    output = run("main", *SMALL, f"--workdir={workdir}", drawn=True).stdout
    return workdir, output


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "everything.py").write_text(EVERYTHING)
    run("main", "--config=everything.py", cwd=folder)
    return folder / "runs" / "everything"


def test_result_and_metrics_hold_what_the_contract_names(finished):
    workdir, _ = finished
    result = read(workdir / "result.json")
    assert sorted(result) == sorted(RESULT)
    assert result["test_count"] == 10_000
    assert result["parameters"] == 784 * 128 + 128 + 128 * 32 + 32 + 32 * 10 + 10
    assert 0.5 < result["test_accuracy"] < 0.99
    assert [list(row) for row in rows(workdir)] == [ROW, ROW]
    assert [row["step"] for row in rows(workdir)] == [15, 30]
    assert result["train_seconds"] == sum(row["seconds"] for row in rows(workdir))
    assert result["config"] == read(workdir / "config.json")
    written = table(workdir / "metrics.csv")
    assert [list(row) for row in written] == [ROW, ROW]
    assert [float(row["val_loss"]) for row in written] == [r["val_loss"] for r in rows(workdir)]


def test_leaves_evaluation_plots_report_and_tensorboard(finished):
    workdir, _ = finished
    evaluation = read(workdir / "evaluation.json")
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
    assert {"saliency.png", "first_layer.png", "activations.png", "map.png"} <= plots
    assert (workdir / "report.html").stat().st_size > 100_000
    assert list((workdir / "tensorboard").glob("events*"))


def test_shows_the_model_and_a_line_per_epoch(finished):
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
    message = refused("main", *arguments)
    assert "batch_size: 128 -> 64" in message
    assert f"--workdir={workdir}-2" in message
    assert fingerprint(workdir) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "when", "status"),
    [
        (signal.SIGTERM, "MLP:", 75),  # before the first step
        (signal.SIGINT, " 2/3 ", 75),
        (signal.SIGKILL, " 1/3 ", -9),
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


@pytest.mark.slow
def test_evaluate_gives_the_same_accuracy_on_any_number_of_devices(uninterrupted):
    result = read(uninterrupted / "result.json")
    for devices in (1, 3, 8):
        run("evaluate", f"--workdir={uninterrupted}", devices=devices)
        evaluation = read(uninterrupted / "evaluation.json")
        assert evaluation["accuracy"] == result["test_accuracy"]
        assert evaluation["loss"] == pytest.approx(result["test_loss"], rel=1e-6)


@pytest.mark.slow
def test_evaluate_takes_best_and_steps(finished):
    workdir, _ = finished
    run("evaluate", f"--workdir={workdir}", "--checkpoint=15")
    assert read(workdir / "evaluation.json")["checkpoint"] == 15
    best = max(rows(workdir), key=lambda row: row["val_accuracy"])
    run("evaluate", f"--workdir={workdir}", "--checkpoint=best")
    assert read(workdir / "evaluation.json")["checkpoint"] == best["step"]
    message = refused("evaluate", f"--workdir={workdir}", "--checkpoint=7")
    assert "there is no checkpoint 7; there are: 15, 30" in message
    assert "holds no run" in refused("evaluate", f"--workdir={workdir}-none")
    run("evaluate", f"--workdir={workdir}")
    accuracy = read(workdir / "result.json")["test_accuracy"]
    assert read(workdir / "evaluation.json")["accuracy"] == accuracy


def test_evaluation_of_another_split_has_a_folder_of_its_own(finished):
    workdir, _ = finished
    before = fingerprint(workdir)
    split = "--split=train[2000:2500]"
    run("evaluate", f"--workdir={workdir}", "--checkpoint=15", split, drawn=True)
    folder = workdir / "evaluations" / "train[2000:2500]"
    evaluation = read(folder / "evaluation.json")
    assert (evaluation["split"], evaluation["checkpoint"]) == ("train[2000:2500]", 15)
    assert evaluation["count"] == 500
    assert evaluation["accuracy"] == rows(workdir)[0]["val_accuracy"]
    assert evaluation["loss"] == pytest.approx(rows(workdir)[0]["val_loss"], rel=1e-6)
    assert (folder / "report.html").exists()
    assert (folder / "plots" / "confusion.png").exists()
    after = fingerprint(workdir)
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_best_is_the_epoch_with_the_best_validation(finished, tmp_path):
    """The column `config.best` decides, in the direction of its metric."""
    for best, order in (("val_accuracy", max), ("val_loss", min)):
        workdir = tmp_path / best
        arguments = ["--config.schedule.init_value=0.03", "--config.num_epochs=6"]
        run("main", *SMALL, *arguments, f"--config.best={best}", f"--workdir={workdir}")
        row = order(rows(workdir), key=lambda row: row[best])
        run(
            "evaluate",
            f"--workdir={workdir}",
            "--checkpoint=best",
            "--split=train[2000:2500]",
        )
        evaluation = read(workdir / "evaluations" / "train[2000:2500]" / "evaluation.json")
        assert evaluation["checkpoint"] == row["step"]
        assert evaluation["accuracy"] == row["val_accuracy"]
        assert evaluation["loss"] == pytest.approx(row["val_loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.nun_epochs=3"], "did you mean 'num_epochs'?"),
        (["--config.model.hiden=3"], "did you mean 'hidden'?"),
        (["--config.num_epochs=2.5"], "expected int, got 2.5"),
        (["--config.model.name=mpl"], "did you mean 'mlp'?"),
        (["--config.optimizer.name=adan_w"], "config.optimizer.name"),
        (["--config.data.name=mnits"], "did you mean 'mnist'?"),
        (["--config.reduction=elastik"], "config.reduction: 'elastik' is none of mean, elastic"),
        (["--config.reduction=elastic", "--config.batch_size=100"], "use a multiple of 8"),
        (["--config.parallel=pmpa"], "none of auto, jit, pmap, shard_map"),
        (["--config.data.placement=disk"], "none of device, host"),
        (["--config.dtype=float"], "none of float32, bfloat16, float16"),
        (["--config.patience=3", "--config.data.val_split="], "needs a validation split"),
        (["--config.keep_latest=0"], "config.keep_latest: must be from 1"),
        (["--config.data.val_split=test[:100]"], "holds 100 rows of the test split"),
        (["--config.data.val_split=all"], "holds 10000 rows of the test split"),
        (["--config.data.train_split=all"], "holds 10000 rows of the test split"),
        (["--config.data.train_split=train+test[:1%]"], "holds 100 rows of the test split"),
        (["--config.best=val_acuracy"], "did you mean 'val_accuracy'?"),
        (["--config.best=train_loss"], "is not a validation column"),
        (["--config.metrics=top_4"], "did you mean 'top_3'?"),
        (["--config.optimizer.learning_rate=1"], "the rate comes from config.schedule"),
        (["--config.model.num_classes=5"], "but the data set has 10"),
        (["--config.model.hidden=0"], "the width of a layer must be at least 1, got 0"),
        (["--config.batch_size=4000"], "is more than the 2000 examples"),
        (["--config.model.activation=rellu"], "did you mean 'relu'?"),
        (["--workdir=/dev/null/run"], "cannot write to /dev/null/run"),
    ],
)
def test_mistakes_get_one_clear_message(tmp_path, arguments, message):
    error = refused("main", *SMALL, f"--workdir={tmp_path / 'run'}", *arguments)
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "run" / "config.json").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_validation_that_shares_rows_with_training_is_told_what_to_use(tmp_path):
    workdir = tmp_path / "run"
    arguments = [*SMALL, "--config.data.val_split=train[1500:2600]", f"--workdir={workdir}"]
    message = refused("main", *arguments)
    assert "shares 500 of its rows with the training split" in message
    assert not (workdir / "config.json").exists()
    instead = re.search(r"(--config\.data\.val_split=\S+)", message)
    assert instead is not None
    (argument,) = shlex.split(instead[1])
    run("main", *SMALL, "--config.num_epochs=1", argument, f"--workdir={workdir}")
    assert read(workdir / "config.json")["data"]["val_split"] == "train[2000:2600]"


def test_missing_configuration_lists_both_places(tmp_path):
    error = refused("main", "--config=configs/nothing.py", cwd=tmp_path)
    assert str(tmp_path / "configs/nothing.py") in error
    assert len(re.findall(r"configs/nothing\.py$", error, flags=re.M)) == 2


@pytest.mark.slow
def test_configuration_of_the_project_is_found_from_anywhere(tmp_path):
    arguments = [a for a in SMALL if "num_epochs" not in a]
    run("main", *arguments, "--config.num_epochs=1", cwd=tmp_path)
    assert (tmp_path / "runs" / "mlp" / "result.json").exists()


ONE_STEP = ("--config.data.train_split=train[:128]", "--config.data.val_split=")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--config.schedule.init_value=1e30"],
        ["--config.schedule.init_value=1e38", "--config.data.val_split="],
        # The loss and the gradient of the only step are finite, the updated parameters are not.
        ["--config.schedule.init_value=1e38", "--config.weight_decay=1e4", *ONE_STEP],
    ],
    ids=["validation", "no validation", "last update"],
)
def test_a_number_that_is_not_finite_stops_the_run_and_is_never_saved(tmp_path, arguments):
    arguments = ["--config.optimizer.name=sgd", "--config.num_epochs=1", *arguments]
    error = refused("main", *SMALL, *arguments, f"--workdir={tmp_path / 'run'}")
    assert error.count("error: ") == 1
    said = r"epoch 1, step \d+: .* not finite"
    assert re.search(said, error)
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.slow
def test_an_output_that_is_not_finite_is_one_message(tmp_path):
    """The parameters are finite after the only step, and so large that no output is."""
    arguments = ["--config.optimizer.name=sgd", "--config.schedule.init_value=1e38", *ONE_STEP]
    workdir = f"--workdir={tmp_path / 'run'}"
    error = refused("main", *SMALL, "--config.num_epochs=1", *arguments, workdir)
    assert error.count("error: ") == 1
    assert "split 'test': an output of the network is not finite" in error
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.slow
def test_patience_follows_best_and_a_restart_does_not_go_on(tmp_path):
    arguments = (
        *SMALL,
        "--config.num_epochs=30",
        "--config.patience=2",
        "--config.schedule.init_value=0.1",
        f"--workdir={tmp_path / 'run'}",
    )
    run("main", *arguments)
    found = [row["val_accuracy"] for row in rows(tmp_path / "run")]
    assert len(found) < 30
    assert found.index(max(found)) == len(found) - 3
    (tmp_path / "run" / "result.json").unlink()  # as if it had been killed at the end
    run("main", *arguments)
    assert [row["val_accuracy"] for row in rows(tmp_path / "run")] == found


@pytest.mark.slow
def test_best_without_a_validation_split_is_an_error(tmp_path):
    workdir = tmp_path / "run"
    run("main", *SMALL, "--config.data.val_split=", f"--workdir={workdir}")
    assert [row["val_loss"] for row in rows(workdir)] == [None, None]
    assert read(workdir / "result.json")["val_accuracy"] is None
    message = refused("evaluate", f"--workdir={workdir}", "--checkpoint=best")
    assert "without a validation split" in message
    assert "--checkpoint=latest" in message
    run("evaluate", f"--workdir={workdir}", "--checkpoint=latest")


@pytest.mark.slow
def test_second_writer_is_refused(tmp_path):
    arguments = (*SMALL, "--config.num_epochs=200", f"--workdir={tmp_path / 'run'}")
    first = subprocess.Popen(
        command("main", *arguments), env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert any("parameters" in line for line in first.stdout)  # the folder is its own
        assert "another process" in refused("main", *arguments)
    finally:
        first.kill()
        first.communicate()


@pytest.mark.slow
def test_profile_writes_a_trace_and_changes_nothing(finished, tmp_path):
    workdir, _ = finished
    run("main", *SMALL, "--profile", f"--workdir={tmp_path / 'run'}")
    assert list((tmp_path / "run" / "profile").rglob("*trace.json.gz"))
    assert bits(tmp_path / "run") == bits(workdir)


@pytest.mark.parametrize("columns", [40, pytest.param(100, marks=pytest.mark.slow)])
def test_terminal_shows_a_bar_and_lines_that_fit(tmp_path, columns):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {k: v for k, v in environment().items() if k != "COLUMNS"} | {"TERM": "xterm"}
    words = ["-m", "benchmarks.undrawn", "mnist_jax.main", *SMALL, f"--workdir={tmp_path / 'run'}"]
    words += ["--config.chunk_steps=5"]
    process = subprocess.Popen([sys.executable, *words], env=env, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 65536):
            shown += part
    except OSError:  # how a terminal tells that the other side is gone
        pass
    assert process.wait(timeout=120) == 0
    assert b"epoch 1/2:" in shown  # the bar
    lines = re.findall(r"^ +[12]/2 .*$", shown.decode().replace("\r", "\n"), flags=re.M)
    assert len(lines) == 2
    assert [len(line) <= columns for line in lines] == [True, True]
    assert ("images/s" in shown.decode()) == (columns == 100)


@pytest.mark.parametrize("name", ["main", "sweep", "evaluate", "predict", "verify"])
def test_help(name):
    shown = run(name, "--help").stdout
    assert f"python -m mnist_jax.{name} --" in shown
    assert "--workdir" in shown


def test_get_config_works_where_there_are_no_flags():
    code = "from mnist_jax.config_file import load; print(load('configs/cnn.py').model.name)"
    assert python(code) == "cnn\n"
