"""Strict modes, eight virtual devices and shared folders, for every test of the run."""

import dataclasses
import functools
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.undrawn import leave_out_plots
from mnist_jax.config import parse
from mnist_jax.data import Spec
from mnist_jax.training.reduction import WHOLE_BATCH, Reduction
from mnist_jax.training.state import TrainState, init_state
from mnist_jax.training.step import Batch
from mnist_jax.training.task import Task, build

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Queued calls with collectives can wait for each other for ever on a few cores.
jax.config.update("jax_cpu_enable_async_dispatch", False)
# jax_numpy_dtype_promotion cannot be strict for the whole run: optax's Adam and its schedules mix
# integers and floats. The fixture `strict_dtypes` makes it so where only this project's code runs.

MNIST = Spec(image_shape=(28, 28, 1), class_names=tuple("0123456789"))
CI = os.environ.get("CI") == "true"


def pytest_configure(config: pytest.Config) -> None:
    """Folders that outlive the run and that workers and subprocesses inherit."""
    cache = Path(config.rootpath) / ".pytest_cache"
    os.environ.setdefault("TFDS_DATA_DIR", str(cache / "tfds"))
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "programs"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that is skipped, skips on a laptop and fails in CI."""
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """So does a module that is skipped whole."""
    return _refuse_skip((yield))


def _refuse_skip(report):
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        *_, reason = report.longrepr if isinstance(report.longrepr, tuple) else (report.longrepr,)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: a skip is a failure where CI=true. {reason}"
    return report


@pytest.fixture(autouse=True)
def users_modules(tmp_path_factory):
    """Forgets the modules that a test has written: another test's may have the same names."""
    path, folder = [*sys.path], str(tmp_path_factory.getbasetemp())
    yield
    sys.path[:] = path
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    for name in [name for name, file in files.items() if file and file.startswith(folder)]:
        del sys.modules[name]


@pytest.fixture
def strict_dtypes():
    """No implicit promotion between types of numbers."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def quick_compiles():
    """Half the time to compile, for tests of the arithmetic and not of what XLA makes of it."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def undrawn():
    """Plots are left out, for tests of other things: they take longer than a short training."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_plots(patch.setattr)
        yield


@pytest.fixture
def key() -> jax.Array:
    """A random key."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def fake_batch():
    """A function from a size to a batch of noise, the same bits on every machine."""

    def make(size: int) -> Batch:
        pixels = np.random.Philox(0).random_raw(size * 28 * 28) % 256
        return {
            "image": pixels.astype(np.uint8).reshape(size, 28, 28, 1),
            "label": np.arange(size, dtype=np.int32) % 10,
            "position": np.arange(size, dtype=np.int32),
        }

    return make


@pytest.fixture(scope="session")
def make_task():
    """A function from configuration fields to `(task, state before the first step)`.

    The images are those of MNIST, unless it is given another `spec`.
    """
    states = {}  # compiling the start of a run takes as long as many a test

    def make(
        reduction: Reduction = WHOLE_BATCH, spec: Spec = MNIST, **values
    ) -> tuple[Task, TrainState]:
        config = parse(values)
        task = build(config, spec, steps_per_epoch=10, reduction=reduction)
        start = repr((dataclasses.replace(config, parallel="auto"), spec))
        if start not in states:
            states[start] = jax.jit(functools.partial(init_state, task))(np.uint32(config.seed))
        return task, jax.tree.map(jnp.copy, states[start])

    return make


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A function that writes a user's module into the current folder, a temporary one."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)

    return write
