"""Nothing that was trained is lost: signals, full disks, damaged files, several at a time."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import mnist_jax
from benchmarks.reliability.records import record
from mnist_jax import config as configuration
from mnist_jax import experiment, lock, presence
from mnist_jax.commands import verify
from mnist_jax.errors import UserError
from mnist_jax.evaluations import split as evaluation
from mnist_jax.files import file_name
from mnist_jax.members import Sweep
from mnist_jax.training import checkpoint, checkpoints, memory, network, program, stop, sweepdir
from mnist_jax.training.console import Console
from tests.commands import bits, command, environment, fingerprint, read, rows, untimed

SPLITS = {"data.train_split": "train[:1000]", "data.val_split": "train[1000:1500]"}


def small(epochs: int = 2):
    config = mnist_jax.default()
    config.num_epochs = epochs
    config.data.train_split = SPLITS["data.train_split"]
    config.data.val_split = SPLITS["data.val_split"]
    config.model = dict(name="mlp", hidden=(8,))
    return config


@pytest.fixture(autouse=True)
def without_report(request, monkeypatch):
    """Plots take longer than such a training; `with_report` draws them all the same."""
    if "with_report" not in request.fixturenames:
        for module in (experiment, evaluation):
            monkeypatch.setattr(module, "publish", lambda *arguments, **keywords: {})


@pytest.fixture
def with_report():
    """Draws the plots and writes the report."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained") / "run"
    mnist_jax.train(small(), workdir=workdir)
    return workdir


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the run."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


# Signals


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGTERM,) * 3, (signal.SIGHUP, signal.SIGTERM), (signal.SIGXCPU,)],
)
def test_signals_that_come_together_are_one(trained, tmp_path, numbers):
    def told(rows):
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.001)

    before = [signal.getsignal(number) for number in stop.SIGNALS]
    with pytest.raises(KeyboardInterrupt, match="stopped on request; progress is saved"):
        mnist_jax.train(small(), workdir=tmp_path, on_epoch=told)
    assert [signal.getsignal(number) for number in stop.SIGNALS] == before
    mnist_jax.train(small(), workdir=tmp_path)
    assert bits(tmp_path) == bits(trained)


def test_a_later_ctrl_c_interrupts_and_the_same_call_goes_on(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(stop, "SAME_REQUEST", 0.01)
    alive = []

    def told(rows):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        alive.append("not reached")

    with pytest.raises(KeyboardInterrupt) as interrupt:
        mnist_jax.train(small(), workdir=tmp_path, on_epoch=told)
    assert not alive
    assert not interrupt.value.args  # Python's own, not that of a request to stop
    mnist_jax.train(small(), workdir=tmp_path)
    assert bits(tmp_path) == bits(trained)


def test_a_later_signal_goes_to_the_handler_that_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(stop, "SAME_REQUEST", 0.01)
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with stop.StopSignal() as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked.requested
            time.sleep(0.05)
            assert not seen
            os.kill(os.getpid(), signal.SIGTERM)
            assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_limit_of_processor_time_is_announced_while_there_is_time_to_save(monkeypatch):
    """At a hard limit the system kills without notice; beyond a soft one SIGXCPU comes often."""
    limits = [(3600, 3600)]
    monkeypatch.setattr(stop.resource, "getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr(stop.resource, "setrlimit", lambda kind, its: limits.append(its))
    monkeypatch.setattr(stop, "SAME_REQUEST", -1.0)
    monkeypatch.setattr(stop, "NOTICE", 30)
    with stop.StopSignal() as asked:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGXCPU)
        assert asked.requested
    assert limits == [(3600, 3600), (3570, 3600), (3600, 3600)]


# Uses up its soft limit of processor time, and leaves.
USED_UP = """
import resource, time
from mnist_jax.training import stop

stop.signal.signal(stop.signal.SIGXCPU, stop.signal.SIG_DFL)
used = time.process_time()
resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 2, resource.RLIM_INFINITY))
with stop.StopSignal() as asked:
    while not asked.requested:
        pass
end = time.process_time() + 1.5  # the signal would come again
while time.process_time() < end:
    pass
print("left")
"""


def test_a_soft_limit_of_processor_time_lets_the_process_end_by_itself():
    done = subprocess.run(
        [sys.executable, "-c", USED_UP], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "left\n"), done.stderr


# Sends two signals, a millisecond apart, after the first chunk of steps.
TWICE = """
import os, runpy, signal, sys, time
from mnist_jax.training.console import Console

def update(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)

Console.update = update
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_a_command_that_is_signalled_twice_at_once_saves(tmp_path):
    arguments = ("--config=configs/mlp.py", f"--workdir={tmp_path}", *overrides(hidden="8"))
    done = subprocess.run(
        [sys.executable, "-c", TWICE, "mnist_jax.main", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == stop.EXIT_STATUS, done.stderr
    assert "progress is saved" in done.stdout
    assert checkpoints.steps(tmp_path / "checkpoints")


def test_a_run_can_be_stopped_within_an_epoch(trained, tmp_path, monkeypatch):
    """What a chunk computes is bounded, however long an epoch is."""
    work = program._work(configuration.parse(small().to_dict()))
    with monkeypatch.context() as patch:
        patch.setattr(program, "WORK_AT_A_TIME", 3 * work / program.CORES)
        patch.setattr(Console, "update", lambda *steps: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt, match="progress is saved"):
            mnist_jax.train(small(), workdir=tmp_path)
    assert checkpoints.steps(tmp_path / "checkpoints") == [3]  # of 7 in an epoch
    mnist_jax.train(small(), workdir=tmp_path)
    assert bits(tmp_path) == bits(trained)


def overrides(**model: str) -> list[str]:
    fields = SPLITS | {f"model.{name}": value for name, value in model.items()}
    return [f"--config.{name}={value}" for name, value in fields.items()]


# Files that cannot be written


@pytest.mark.parametrize("name", ["loss.png", "report.html"])
def test_a_file_that_cannot_be_written_is_one_message_and_loses_nothing(
    copied, trained, monkeypatch, name, with_report
):
    """After training; `test_a_full_disk_at_any_file` has the files before."""
    before = bits(copied)
    (copied / "result.json").unlink()
    with monkeypatch.context() as patch:
        full_disk(patch, name)
        with pytest.raises(ValueError, match=rf"^cannot write \S+{name}: No space left.*again$"):
            mnist_jax.train(small(), workdir=copied)
    assert not (copied / "result.json").exists()
    mnist_jax.train(small(), workdir=copied)
    assert bits(copied) == before
    assert read(copied / "result.json")["test_loss"] == read(trained / "result.json")["test_loss"]


def full_disk(patch: pytest.MonkeyPatch, name: str) -> None:
    replace = os.replace

    def refuse(old, new):
        if Path(new).name == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(old), None, str(new))
        replace(old, new)

    patch.setattr(os, "replace", refuse)


@pytest.mark.slow
def test_a_full_disk_at_any_file(trained, tmp_path, monkeypatch, with_report):
    for name in ("config.json", "metrics.jsonl", "metrics.csv", "evaluation.json", "network.svg"):
        with monkeypatch.context() as patch:
            full_disk(patch, name)
            with pytest.raises(ValueError, match=rf"cannot write \S+{name}: No space left"):
                mnist_jax.train(small(), workdir=tmp_path)
    mnist_jax.train(small(), workdir=tmp_path)
    assert bits(tmp_path) == bits(trained)
    assert untimed(rows(tmp_path)) == untimed(rows(trained))


def test_a_row_that_cannot_be_appended_costs_at_most_its_epoch(trained, tmp_path):
    """The folder's file is taken away while it trains, and something else put in its place."""

    def told(rows):
        (tmp_path / "metrics.jsonl").unlink()
        (tmp_path / "metrics.jsonl").mkdir()

    with pytest.raises(ValueError, match=r"^cannot write \S+metrics.jsonl: Is a directory"):
        mnist_jax.train(small(), workdir=tmp_path, on_epoch=told)
    (tmp_path / "metrics.jsonl").rmdir()
    mnist_jax.train(small(), workdir=tmp_path)
    assert bits(tmp_path) == bits(trained)
    assert untimed(rows(tmp_path)) == untimed(rows(trained))


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_one_message(tmp_path):
    """Orbax and its threads report it dozens of times, each with a traceback."""
    arguments = ["--config=configs/mlp.py", f"--workdir={tmp_path}", *overrides()]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 300; exec "$@"', "-", *command("main", *arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert re.match(r"error: could not write checkpoint 7 in \S+: File too large; .* again$", line)


@pytest.fixture
def on_disk(monkeypatch):
    """What was forced onto the disk, as pairs of inode and size, and the files put in place."""
    sync, replace, events = os.fsync, os.replace, []

    def fsync(number):
        sync(number)
        events.append((os.fstat(number).st_ino, os.fstat(number).st_size))

    def put(old, new):
        replace(old, new)
        events.append(Path(new).name)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", put)
    return events


@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.csv", "sweep.jsonl"])
def test_rows_are_on_the_disk_before_the_result_says_finished(tmp_path, on_disk, name):
    """Else a loss of power could leave a finished run without its history."""
    if name == "sweep.jsonl":
        mnist_jax.sweep(Sweep({"a": small()}), workdir=tmp_path)
    else:
        mnist_jax.train(small(), workdir=tmp_path)
    whole = (tmp_path / name).stat()
    assert (whole.st_ino, whole.st_size) in on_disk[: on_disk.index("result.json")]


# Files that are damaged


@pytest.mark.parametrize("content", ["", "[]", '{"config": 3}'])
def test_a_damaged_result_means_that_the_run_is_evaluated_again(copied, capsys, content):
    before, result = bits(copied), read(copied / "result.json")
    (copied / "result.json").write_text(content)
    assert mnist_jax.load(copied).config.num_epochs == 2
    capsys.readouterr()
    told: list = []
    run = mnist_jax.train(small(), workdir=copied, on_epoch=told.append)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert warnings[0].startswith(f"warning: {copied / 'result.json'} cannot be read: ")
    assert not told  # nothing was trained
    assert bits(copied) == before
    assert run.result["test_loss"] == result["test_loss"]


def test_an_empty_configuration_says_what_to_do(copied):
    (copied / "config.json").write_text("")
    message = r"config.json cannot be read: it is empty. .*Remove it if .* --workdir="
    with pytest.raises(ValueError, match=message):
        mnist_jax.train(small(), workdir=copied)
    (copied / "config.json").unlink()
    assert mnist_jax.train(small(), workdir=copied).result["epochs"] == 2


def test_weights_of_another_activation_are_refused(copied, tmp_path):
    """The names and shapes of their arrays are the same."""
    path = copied / "config.json"
    there = path.read_text()
    path.write_text(there.replace('"relu"', '"tanh"'))
    (copied / "result.json").unlink()
    other, new = small(), small(1)
    other.model.activation, new.init_from = "tanh", str(copied)
    before = fingerprint(copied)
    for call in (
        lambda: mnist_jax.load(copied),
        lambda: mnist_jax.train(other, workdir=copied),
        lambda: mnist_jax.train(new, workdir=tmp_path / "new"),
    ):
        with pytest.raises(ValueError, match=r"another conf.* model.activation: 'relu' -> 'tanh'"):
            call()
    path.write_text(there)
    assert mnist_jax.load(copied).restored.step == 14
    path.write_text(path.read_text().replace('"relu"', '"tanh"'))
    assert {n: its for n, its in fingerprint(copied).items() if n in before} == before


def test_weights_of_another_seed_are_refused(copied):
    """A checkpoint that was copied from another run, which would go on as a mixture of both."""
    path = copied / "config.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 5', 1))
    (copied / "result.json").unlink()
    other = small()
    other.seed = 5
    for call in (lambda: mnist_jax.load(copied), lambda: mnist_jax.train(other, workdir=copied)):
        with pytest.raises(ValueError, match=r"checkpoint .*14 was saved .* seed: 0 -> 5"):
            call()
    assert checkpoints.steps(copied / "checkpoints")[-1] == 14


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("swept") / "sweep"
    mnist_jax.sweep(Sweep({"a": small(1)}), workdir=workdir, seeds=2)
    return workdir


@pytest.mark.parametrize("content", ["", "3", "[]", "[3, 4]", "{}", '{"format": 2}'])
@pytest.mark.parametrize("name", ["sweep.json", "members.json"])
def test_a_damaged_list_of_members_is_one_message(swept, tmp_path, name, content):
    folder = Path(shutil.copytree(swept, tmp_path / "sweep"))
    (path,) = folder.rglob(name)
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"{name} (is damaged|cannot be read|was written by)"):
        mnist_jax.sweep(Sweep({"a": small(1)}), workdir=folder, seeds=2)


@pytest.mark.parametrize("content", ["", "[3, 4]", '[{"seed": 0}, {"seed": 1}]'])
def test_damaged_results_of_a_sweep_are_made_again(swept, tmp_path, capsys, content):
    folder = Path(shutil.copytree(swept, tmp_path / "sweep"))
    (path,) = folder.rglob("results.json")
    before = read(path)
    for damaged in (path, folder / "result.json", folder / "clock.json"):
        damaged.write_text(content)
    told: list = []
    run = mnist_jax.sweep(Sweep({"a": small(1)}), workdir=folder, seeds=2, on_epoch=told.extend)
    warnings = capsys.readouterr().err.splitlines()
    assert [line.split()[1].rpartition("/")[2] for line in warnings] == [
        "results.json",
        "result.json",
        "clock.json",
    ]
    assert not told
    assert read(path) == before
    assert run.result["members"] == 2


# Reading while another writes


def vanishing(patch: pytest.MonkeyPatch, *, new: bool = False) -> None:
    """Deletes the first checkpoint that is read, just before; with `new`, there is another, 99."""
    read_seal, gone = checkpoint._read_seal, []

    def once(path):
        if not gone:
            gone.append(path)
            if new:
                as_step(path.rename(path.with_name("99")))
            else:
                shutil.rmtree(path)
        return read_seal(path)

    patch.setattr(checkpoint, "_read_seal", once)


def as_step(path: Path) -> None:
    """Makes a renamed checkpoint one of the step that its new name says."""
    metadata = path / checkpoint.METADATA
    content = json.loads(metadata.read_text())
    sealed = content["custom_metadata"]
    del sealed["seal"]
    sealed["record"]["step"] = int(path.name)
    sealed["seal"] = checkpoint._seal(sealed)
    metadata.write_text(json.dumps(content))


@pytest.mark.parametrize("new", [False, True])
def test_verify_leaves_out_what_vanishes(copied, capsys, monkeypatch, new):
    vanishing(monkeypatch, new=new)
    assert verify.main(Namespace(workdir=copied, member="", seed=None, replay=None)) == 0
    assert capsys.readouterr().out == "14: sound\n"


def test_verify_looks_again_if_all_have_vanished(copied, capsys, monkeypatch):
    shutil.rmtree(copied / "checkpoints" / "14")
    vanishing(monkeypatch, new=True)
    assert verify.main(Namespace(workdir=copied, member="", seed=None, replay=None)) == 0
    assert capsys.readouterr().out == "99: sound\n"


def test_verify_tells_of_each_checkpoint_before_the_next_is_read(copied, capsys, monkeypatch):
    check = checkpoint.check

    def refuse(folder, step, member=None):
        if step == 14:
            raise UserError("the system refuses to read checkpoint 14")
        check(folder, step, member)

    monkeypatch.setattr(checkpoint, "check", refuse)
    with pytest.raises(UserError, match="refuses to read checkpoint 14"):
        verify.main(Namespace(workdir=copied, member="", seed=None, replay=None))
    assert capsys.readouterr().out == "7: sound\n"


@pytest.mark.parametrize(("new", "step"), [(False, 7), (True, 99)])
def test_load_takes_another_checkpoint_for_one_that_vanishes(
    copied, capsys, monkeypatch, new, step
):
    vanishing(monkeypatch, new=new)
    assert mnist_jax.load(copied).restored.step == step
    assert capsys.readouterr().err == ""


def test_a_run_starts_from_a_run_whose_checkpoint_vanishes(copied, tmp_path, capsys, monkeypatch):
    config = small(1)
    config.init_from = str(copied)
    vanishing(monkeypatch)
    mnist_jax.train(config, workdir=tmp_path / "next")
    assert capsys.readouterr().err == ""


def test_what_is_named_and_vanishes_is_not_damaged(copied, monkeypatch):
    vanishing(monkeypatch)
    with pytest.raises(ValueError, match=r"there is no checkpoint 14; there are: 7"):
        mnist_jax.load(copied, checkpoint=14)


def test_a_population_that_vanishes_is_left_out(swept, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(swept, tmp_path / "sweep"))
    (path,) = folder.rglob("members.json")
    there = presence.exists

    def exists(asked):
        found = there(asked)
        path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(presence, "exists", exists)
    assert sweepdir.populations(folder) == []


def test_a_population_of_an_earlier_version_goes_on(swept, tmp_path):
    """Whose configurations had fewer fields; the digest of their text names the folder."""
    folder = Path(shutil.copytree(swept, tmp_path / "sweep"))
    (path,) = folder.rglob("members.json")
    values = read(path)
    for its in values:
        del its["config"]["deterministic"]
    earlier = path.parent.rename(path.parent.with_name(sweepdir._name(values)))
    (earlier / "members.json").write_text(json.dumps(values))
    (population,) = sweepdir.populations(folder)
    population.begin()
    assert sweepdir.populations(folder) == [population]
    assert sweepdir.finished([population])


@pytest.mark.slow
def test_readers_beside_a_training_raise_no_false_alarm(tmp_path, capsys):
    arguments = ("--config=configs/mlp.py", *overrides(hidden="8"), "--config.keep_latest=1")
    log = tmp_path / "log"
    with log.open("w") as file:
        training = subprocess.Popen(
            command(
                "main", *arguments, "--config.num_epochs=2000", f"--workdir={tmp_path / 'run'}"
            ),
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + 120
        while not checkpoints.steps(tmp_path / "run" / "checkpoints"):
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        for _ in range(20):
            assert (
                verify.main(Namespace(workdir=tmp_path / "run", member="", seed=None, replay=None))
                == 0
            )
            assert mnist_jax.load(tmp_path / "run").restored.step > 0
            assert mnist_jax.api.Run(tmp_path / "run").history
        assert training.poll() is None  # it was at work all the time
    finally:
        training.kill()
        training.wait(timeout=120)
    said = capsys.readouterr()
    assert "DAMAGED" not in said.out
    assert said.err == ""


@pytest.fixture
def evaluating(copied, monkeypatch):
    """The run without its result, while somebody evaluates it; whoever waits calls `meanwhile`."""
    its = types.SimpleNamespace(workdir=copied, meanwhile=[])
    (copied / "result.json").unlink()
    with ExitStack() as stack:
        stack.enter_context(lock.sole_writer(copied, evaluation.EVALUATING))
        its.end = stack.close
        sleep = types.SimpleNamespace(sleep=lambda seconds: its.meanwhile.pop(0)())
        monkeypatch.setattr(lock, "time", sleep)
        yield its


def test_a_run_waits_for_an_evaluation_and_has_the_last_word(evaluating, capsys):
    evaluating.meanwhile += [lambda: None, evaluating.end]
    mnist_jax.train(small(), workdir=evaluating.workdir)
    assert not evaluating.meanwhile
    said = capsys.readouterr().out
    assert said.count(f"waiting for another process that writes to {evaluating.workdir}\n") == 1
    assert (evaluating.workdir / "result.json").exists()


def test_a_run_that_waits_for_an_evaluation_can_be_stopped(evaluating, trained):
    evaluating.meanwhile += [lambda: os.kill(os.getpid(), signal.SIGTERM), lambda: None]
    with pytest.raises(KeyboardInterrupt, match="stopped on request; progress is saved"):
        mnist_jax.train(small(), workdir=evaluating.workdir)
    assert not (evaluating.workdir / "result.json").exists()
    evaluating.end()
    mnist_jax.train(small(), workdir=evaluating.workdir)
    assert bits(evaluating.workdir) == bits(trained)


# More than the memory holds


def test_a_network_beyond_the_memory_is_refused_before_anything_is_allocated(tmp_path):
    config = small()
    config.model = dict(name="mlp", hidden=(100_000, 100_000))
    with pytest.raises(ValueError, match=r"^the network needs [\d.]+ GiB of memory, but there"):
        mnist_jax.train(config, workdir=tmp_path)
    assert not (tmp_path / "config.json").exists()
    with pytest.raises(ValueError, match=r"^the network needs [\d.]+ GiB of memory, but there"):
        mnist_jax.sweep(config, workdir=tmp_path / "sweep", seeds=2)


def test_a_later_network_beyond_the_memory_is_refused_before_the_first_is_trained(tmp_path):
    large = small(1)
    large.model = dict(name="mlp", hidden=(100_000, 100_000))
    with pytest.raises(ValueError, match=r"^the network needs [\d.]+ GiB of memory, but there"):
        mnist_jax.sweep(Sweep({"small": small(1), "large": large}), workdir=tmp_path)
    assert not (tmp_path / "populations").exists()


def test_a_network_beyond_the_memory_is_not_loaded(trained, monkeypatch):
    monkeypatch.setattr(memory, "most", lambda devices: 10_000)
    with pytest.raises(ValueError, match=r"needs 4\d\.\d KiB of memory, but there are 9\.8 KiB"):
        mnist_jax.load(trained)


# Several at a time in one process


def test_two_threads_write_checkpoints_at_once(tmp_path):
    """Orbax' own operations would wait for each other for ever."""

    def write(folder):
        with checkpoints.Checkpoints(folder, keep_latest=1) as writer:
            for step in range(1, 6):
                writer.save({"params": np.full((1, 3), step)}, step, record(step))

    threads = [
        threading.Thread(target=write, args=(tmp_path / str(i),), daemon=True) for i in range(3)
    ]
    in_time(threads, 60)
    for i in range(3):
        assert dict(checkpoints.verify(tmp_path / str(i))) == {5: ""}


def in_time(threads: list[threading.Thread], seconds: float) -> None:
    end = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
        assert not thread.is_alive()


@pytest.mark.slow
def test_several_threads_train_at_once(tmp_path):
    def train(i):
        mnist_jax.train(small(5), workdir=tmp_path / str(i))

    threads = [threading.Thread(target=train, args=(i,), daemon=True) for i in range(3)]
    in_time(threads, 300)
    assert bits(tmp_path / "0") == bits(tmp_path / "1") == bits(tmp_path / "2")


def test_a_training_within_a_training(trained, tmp_path):
    """In one thread, as where a callback trains a second network."""

    def told(rows):
        if len(rows) == 1:
            mnist_jax.train(small(), workdir=tmp_path / "inner")

    mnist_jax.train(small(), workdir=tmp_path / "outer", on_epoch=told)
    assert bits(tmp_path / "inner") == bits(tmp_path / "outer") == bits(trained)


def test_the_seconds_of_a_training_are_its_own(tmp_path):
    """Not those of the process, and not counted twice if it is continued."""
    started = time.perf_counter()
    stop_once = [True]

    def told(rows):
        if stop_once.pop():
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        mnist_jax.train(small(), workdir=tmp_path / "a", on_epoch=told)
    first = mnist_jax.train(small(), workdir=tmp_path / "a")
    between = time.perf_counter()
    second = mnist_jax.train(small(), workdir=tmp_path / "b")
    assert first.result["total_seconds"] <= between - started
    assert second.result["total_seconds"] <= time.perf_counter() - between


# Names and rows


@pytest.mark.parametrize("split", ["..", "a/b", "x" * 300, "test", "train[:5]+" * 30 + "test"])
def test_the_folder_of_an_evaluation_lies_in_the_run(split):
    folder = Path("runs/mlp/evaluations")
    path = folder / file_name(split)
    assert os.path.normpath(path).startswith(f"{folder}{os.sep}")
    assert len(path.name.encode()) < 200


def test_folders_of_evaluations_are_kept_apart():
    names = [file_name(text) for text in ("a/b", "a-b", "..", ".", "", "x" * 300, "x" * 301)]
    assert len(set(names)) == len(names)
    assert file_name("train[55000:]") == "train[55000:]"


def test_the_rest_of_a_split_string_is_a_folder(copied, with_report):
    split = "+".join(f"train[{i}:{i + 1}]" for i in range(40))
    found, folder = evaluation.evaluate(network.find(copied), "latest", split)
    assert found["count"] == 40
    assert folder.parent == copied / "evaluations"
    assert read(folder / "evaluation.json")["split"] == split


def test_two_evaluations_at_once_are_both_whole_or_told_of(copied, with_report):
    """Of one split: one holds the lock, and the other says so or comes after it."""
    ends: list[object] = []

    def evaluate():
        try:
            ends.append(evaluation.evaluate(network.find(copied), "latest", "test")[0]["count"])
        except UserError as error:
            ends.append(str(error))

    in_time([threading.Thread(target=evaluate) for _ in range(2)], 120)
    assert 10_000 in ends
    assert all(end == 10_000 or "writing to" in str(end) for end in ends), ends
    assert read(copied / "evaluation.json")["count"] == 10_000


def test_rows_that_a_split_repeats_are_warned_of_and_recorded(tmp_path, capsys):
    config = small(1)
    config.data.train_split = "train[:500]+train[:500]"
    run = mnist_jax.train(config, workdir=tmp_path)
    (warning,) = run.result["warnings"]
    assert warning.startswith("config.data.train_split: 'train[:500]+train[:500]' lists 500 rows")
    assert capsys.readouterr().err == f"warning: {warning}\n"
    assert run.result["config"]["data"]["train_split"] == "train[:500]+train[:500]"


def test_what_is_read_by_others_is_left_as_it_is(trained):
    """Loading and verifying changes no file."""
    before = fingerprint(trained)
    mnist_jax.load(trained)
    verify.main(Namespace(workdir=trained, member="", seed=None, replay=None))
    assert fingerprint(trained) == before
    assert json.loads((trained / "result.json").read_text())["warnings"] == []
