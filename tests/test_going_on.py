"""What a folder that holds something already lets `main` and `evaluate` do with it."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import mnist_jax
from mnist_jax import data
from mnist_jax.training import checkpoint, checkpoints
from tests.commands import (
    SMALL,
    bits,
    environment,
    fingerprint,
    interrupt,
    read,
    refused,
    rows,
    run,
    untimed,
)

# Dropout, batch statistics, distortion, an average, and a schedule whose duration is no fraction of
# the run.
LONG = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs = 4
    config.chunk_steps = 3
    config.data.train_split = "train[:1000]"
    config.data.val_split = "train[1000:1500]"
    config.model = dict(name="mlp", hidden=(16,), dropout=0.2, normalisation="batch")
    config.augment.rotation = 10.0
    config.optimizer = dict(name="adam")
    config.schedule = dict(
        name="cosine_decay_schedule", init_value=1e-2, decay_steps="3 epochs", alpha=0.1
    )
    config.ema_decay = 0.9
    return config
"""
SHORT = "--config.num_epochs=2"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of `SMALL`, whose schedule is a fraction of the run."""
    workdir = tmp_path_factory.mktemp("finished") / "mlp"
    run("main", *SMALL, f"--workdir={workdir}")
    return workdir


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A run of `LONG`, asked for at once."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "long.py").write_text(LONG)
    run("main", "--config=long.py", cwd=folder)
    return folder / "runs" / "long"


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A folder with a finished run of `LONG`, but of fewer epochs."""
    folder = tmp_path_factory.mktemp("short")
    (folder / "long.py").write_text(LONG)
    run("main", "--config=long.py", SHORT, cwd=folder)
    return folder


@pytest.mark.slow
def test_the_average_is_evaluated_with_its_own_batch_statistics(short):
    """By `main`, `evaluate` and `load` alike; the loss by hand, from the checkpoint's arrays."""
    workdir = short / "runs" / "long"
    result = read(workdir / "result.json")
    run("evaluate", f"--workdir={workdir}")
    assert read(workdir / "evaluation.json")["loss"] == pytest.approx(result["test_loss"], rel=1e-6)
    parts = ("average", "params", "variables")
    (*_, step) = checkpoints.steps(workdir / "checkpoints")
    arrays, _ = checkpoint.read(workdir / "checkpoints", step, parts, 0)
    restored = mnist_jax.load(workdir).restored
    used = checkpoint.flatten(restored.weights)
    assert any(name.startswith("variables/") for name in used)
    for name, array in used.items():
        np.testing.assert_array_equal(array, arrays[f"average/{name}"])
        assert np.any(array != arrays[name])
    test = data.load("mnist", "test")
    p = np.float64(restored.probabilities(jnp.asarray(test.images) / jnp.float32(255.0)))
    loss = -np.log(p[np.arange(len(p)), test.labels]).mean()
    assert loss == pytest.approx(result["test_loss"], rel=1e-5)


# A longer run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "when"), [(None, ""), (signal.SIGKILL, " 3/4 "), (signal.SIGTERM, "resuming")]
)
def test_a_finished_run_goes_on_to_more_epochs(long, short, tmp_path, number, when):
    shutil.copytree(short, tmp_path, dirs_exist_ok=True)
    workdir = tmp_path / "runs" / "long"
    assert read(workdir / "result.json")["epochs"] == 2
    if number is not None:
        interrupt(number, when, "--config=long.py", cwd=tmp_path)
        assert read(workdir / "result.json")["config"]["num_epochs"] == 2
    run("main", "--config=long.py", cwd=tmp_path)
    assert bits(workdir) == bits(long)
    assert untimed(rows(workdir)) == untimed(rows(long))
    result, asked_at_once = (read(folder / "result.json") for folder in (workdir, long))
    for name in ("config", "epochs", "test_loss", "test_accuracy", "val_loss", "val_accuracy"):
        assert result[name] == asked_at_once[name]
    assert read(workdir / "config.json") == result["config"]
    assert "finished; nothing to do" in run("main", "--config=long.py", cwd=tmp_path).stdout


def test_a_finished_run_does_not_go_back_to_fewer_epochs(long):
    before = fingerprint(long)
    message = refused("main", "--config=long.py", SHORT, cwd=long.parent.parent)
    assert "num_epochs: 4 -> 2" in message
    assert "--workdir=" in message
    assert fingerprint(long) == before


def test_other_fields_may_not_change_with_the_number_of_epochs(short):
    message = refused("main", "--config=long.py", "--config.seed=1", cwd=short)
    assert "seed: 0 -> 1" in message


def test_a_run_with_a_fraction_in_its_schedule_cannot_become_longer(finished):
    before = fingerprint(finished)
    message = refused("main", *SMALL, "--config.num_epochs=3", f"--workdir={finished}")
    assert "config.schedule.decay_steps = 1.0" in message
    assert f"--config.init_from={finished}" in message
    assert fingerprint(finished) == before


@pytest.mark.slow
def test_a_run_that_is_out_of_patience_is_not_trained_further(tmp_path):
    arguments = (
        *SMALL,
        "--config.schedule.name=",
        "--config.optimizer.learning_rate=0.1",
        "--config.patience=1",
        f"--workdir={tmp_path}",
    )
    run("main", *arguments, "--config.num_epochs=30")
    found = rows(tmp_path)
    assert len(found) < 30
    run("main", *arguments, "--config.num_epochs=40")
    assert rows(tmp_path) == found
    assert read(tmp_path / "result.json")["config"]["num_epochs"] == 40


# A checkpoint of another network

OWN = """
import jax
from flax import nnx

class Own(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(784, 16, rngs=rngs)
        self.extra = nnx.Linear(16, 16, rngs=rngs)
        self.output = nnx.Linear(16, 10, rngs=rngs)

    def __call__(self, images, *, train, keys=None):
        x = nnx.relu(self.first(images.reshape(len(images), -1)))
        x = nnx.relu(self.extra(x))
        return self.output(x)
"""
WITHOUT_EXTRA = "\n".join(line for line in OWN.splitlines() if "extra" not in line)


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """A folder with a run of a network of one's own, out of which a layer was then deleted."""
    folder = tmp_path_factory.mktemp("edited")
    (folder / "mine.py").write_text(OWN)
    run("main", *SMALL, "--config.model={'name': 'mine:Own'}", "--workdir=run", cwd=folder)
    (folder / "mine.py").write_text(WITHOUT_EXTRA)
    (folder / "run" / "result.json").unlink()  # as if it had been stopped
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (
            "main",
            [*SMALL, "--config.model={'name': 'mine:Own'}", "--workdir=run", "--accept_code"],
        ),
        ("evaluate", ["--workdir=run"]),
        ("evaluate", ["--workdir=run", "--checkpoint=best"]),
        (
            "main",
            [
                *SMALL,
                "--config.model={'name': 'mine:Own'}",
                "--config.init_from=run",
                "--workdir=other",
            ],
        ),
    ],
    ids=["main", "evaluate", "best", "init_from"],
)
def test_a_checkpoint_of_a_larger_network_is_refused(edited, name, arguments):
    before = fingerprint(edited / "run")
    message = refused(name, *arguments, cwd=edited)
    assert "does not fit this network" in message
    assert re.search(r"extra/kernel: saved \((1, )?16, 16\), wanted nothing", message)
    assert fingerprint(edited / "run") == before
    assert not (edited / "other" / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "into", "message"),
    [
        ("hidden=64,32", [], "(784, 128), wanted (784, 64)"),
        ("hidden=128", [], "dense_2/kernel: saved (128, 32), wanted nothing"),
        ("hidden=128,32,32", [], "dense_3/kernel: saved nothing, wanted (32, 32)"),
        ("normalisation=batch", [], "wanted"),
        ("hidden=64", ["--config.init.leave_out=output"], "wanted"),
        ("hidden=64", ["--config.init.leave_out=outputs"], "neither network has outputs"),
    ],
)
def test_another_networks_weights_are_no_start(finished, tmp_path, of, into, message):
    arguments = [f"--config.model.{of}", f"--config.init_from={finished}", *into]
    said = refused("main", *SMALL, *arguments, f"--workdir={tmp_path / 'run'}")
    assert message in said
    assert "config.init" in said
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_batch_statistics_that_nobody_asked_for_are_another_network(short, tmp_path):
    (tmp_path / "long.py").write_text(LONG)
    source = f"--config.init_from={short / 'runs' / 'long'}"
    arguments = ["--config=long.py", source, "--config.model.normalisation=none"]
    assert "does not fit this network" in refused("main", *arguments, cwd=tmp_path)


def test_warm_start_begins_where_the_other_run_ended(finished, tmp_path):
    arguments = (*SMALL, f"--config.init_from={finished}", f"--workdir={tmp_path / 'run'}")
    done = run("main", *arguments, drawn=True)
    assert rows(tmp_path / "run")[0]["train_loss"] < rows(finished)[-1]["train_loss"]
    assert "warning" not in done.stderr
    (tmp_path / "run" / "result.json").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    message = refused("main", *arguments, "--config.init.member=mlp")
    assert "holds a single run" in message or "init.member" in message


@pytest.mark.slow
def test_the_folder_to_start_from_is_a_path_like_any_other(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(finished.parent))
    fields = {"config": "configs/mlp.py", "num_epochs": 1, "workdir": tmp_path / "run"}
    fields["overrides"] = {"data.train_split": "train[:256]", "data.val_split": ""}
    with pytest.raises(ValueError, match=r"config\.init_from: .* is a URL"):
        mnist_jax.train(**fields, init_from="gs://bucket/mlp")
    mnist_jax.train(**fields, init_from="~/mlp")
    assert rows(tmp_path / "run")[0]["train_loss"] < rows(finished)[-1]["train_loss"]


@pytest.mark.slow
def test_layers_that_are_left_out_start_afresh(finished, tmp_path):
    """Without a step that changes anything, what was taken over is as it was."""
    arguments = [
        *SMALL,
        f"--config.init_from={finished}",
        "--config.init.leave_out=output",
        "--config.schedule.init_value=0.0",
    ]
    done = run("main", *arguments, f"--workdir={tmp_path / 'run'}")
    assert "not copied: params/layers/output/bias, params/layers/output/kernel" in done.stdout
    old, new = bits(finished), bits(tmp_path / "run")
    for name in ("dense_1/kernel", "dense_1/bias", "dense_2/kernel", "dense_2/bias"):
        assert new[f"params/layers/{name}"] == old[f"params/layers/{name}"]
    assert new["params/layers/output/kernel"] != old["params/layers/output/kernel"]


@pytest.mark.slow
def test_what_no_array_shows_is_warned_of(finished, tmp_path):
    arguments = [f"--config.init_from={finished}", "--config.model.activation=tanh"]
    done = run("main", *SMALL, *arguments, f"--workdir={tmp_path / 'run'}")
    assert "warning: config.init_from" in done.stderr
    assert "model.activation: 'relu' -> 'tanh'" in done.stderr


# A checkpoint that cannot be read

# Every file of this name that Python opens to read fails, as on a disk that is going bad.
FAILING = """
import errno, runpy, sys

def refuse(event, arguments):
    if event == "open" and str(arguments[0]).endswith("_CHECKPOINT_METADATA"):
        if "w" not in str(arguments[1]):
            raise OSError(errno.EIO, "Input/output error", str(arguments[0]))

sys.addaudithook(refuse)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def stopped(finished, tmp_path):
    """A folder with a run that lacks its last word."""
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["main", "evaluate", "verify"])
def test_what_the_system_refuses_to_read_is_not_damage(stopped, name):
    before = fingerprint(stopped)
    arguments = [*(SMALL if name == "main" else ()), f"--workdir={stopped}"]
    done = subprocess.run(
        [sys.executable, "-c", FAILING, f"mnist_jax.{name}", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        cwd=stopped.parent,
    )
    assert done.returncode == 1
    assert "Input/output error" in done.stderr
    assert "damaged" not in done.stderr
    assert "DAMAGED" not in done.stdout
    assert "Traceback" not in done.stderr
    assert {k: v for k, v in fingerprint(stopped).items() if k in before} == before
    assert sorted(path.name for path in (stopped / "checkpoints").iterdir()) == ["15", "30"]


@pytest.mark.slow
def test_damage_costs_an_epoch_and_no_bit(finished, stopped):
    """Each damaged checkpoint is set aside by its name; the run goes on from the one before."""
    (stopped / "checkpoints" / "30" / "commit_success.txt").unlink()
    assert "30: DAMAGED" in run("verify", f"--workdir={stopped}", status=1).stdout
    done = run("evaluate", f"--workdir={stopped}")
    assert "damaged" in done.stderr
    assert "checkpoint 15" in done.stdout
    message = refused("evaluate", f"--workdir={stopped}", "--checkpoint=30")
    assert "damaged" in message
    done = run("main", *SMALL, f"--workdir={stopped}")
    assert "is damaged" in done.stderr
    assert "resuming from step 15" in done.stdout
    assert (stopped / "checkpoints" / "30.damaged").is_dir()
    assert bits(stopped) == bits(finished)
    assert run("verify", f"--workdir={stopped}").stdout == "15: sound\n30: sound\n"


# What another version wrote


def old_checkpoint(folder: Path) -> None:
    """Metadata as the version before this format wrote it: sealed, without a format."""
    sealed: dict[str, Any] = {"record": {"epoch": 1, "rows": []}, "digests": {"step": "0" * 64}}
    seal = hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()
    folder.mkdir(parents=True)
    metadata = {"custom_metadata": sealed | {"seal": seal}}
    (folder / "_CHECKPOINT_METADATA").write_text(json.dumps(metadata))
    (folder / "commit_success.txt").write_text("")


@pytest.mark.parametrize("name", ["main", "evaluate", "verify"])
def test_a_checkpoint_of_another_format_is_refused_by_name(finished, tmp_path, name):
    shutil.copy(finished / "config.json", tmp_path)
    old_checkpoint(tmp_path / "checkpoints" / "15")
    arguments = [*(SMALL if name == "main" else ()), f"--workdir={tmp_path}"]
    message = refused(name, *arguments)
    assert f"{tmp_path / 'checkpoints' / '15'} has format 1" in message
    assert "the version that wrote it" in message
    assert "--workdir=" in message
    assert (tmp_path / "checkpoints" / "15").is_dir()


@pytest.mark.parametrize("name", ["main", "evaluate"])
def test_a_configuration_of_another_version_is_refused_by_name(finished, tmp_path, name):
    values = read(finished / "config.json")
    del values["metrics"], values["best"], values["init"]
    (tmp_path / "config.json").write_text(json.dumps(values | {"keep_best": 1}))
    old_checkpoint(tmp_path / "checkpoints" / "15")
    arguments = [*(SMALL if name == "main" else ()), f"--workdir={tmp_path}"]
    message = refused(name, *arguments)
    assert "keep_best" in message
    assert "--workdir=" in message
    assert read(tmp_path / "config.json")["keep_best"] == 1


def test_verify_says_that_there_is_nothing(tmp_path):
    assert "holds no checkpoint" in refused("verify", f"--workdir={tmp_path}")
