"""Small runs, a sweep and a data set, of which copies are damaged.

    python -m benchmarks.reliability.fuzzing.samples FOLDER    makes them

FOLDER/tiny     a run of one epoch without validation: the smallest network, 4 parameters, with SGD
FOLDER/run      the same network for three epochs, with validation
FOLDER/other    the same with another seed
FOLDER/sweep    a sweep of two architectures
FOLDER/data     tfds' data directory, with a data set of images of one pixel and two classes
"""

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAME = "specks:Specks"
MODULE = '''
import numpy as np
import tensorflow_datasets as tfds


class Specks(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """32 and 8 images of one pixel, of 2 classes."""

    VERSION = tfds.core.Version("1.0.0")
    SIZES = {"train": 32, "test": 8}

    def _info(self):
        features = tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(1, 1, 1)),
            "label": tfds.features.ClassLabel(names=["dark", "light"]),
        })
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, count) for split, count in self.SIZES.items()}

    def _generate_examples(self, split, count):
        noise = np.random.default_rng(1 if split == "train" else 2)
        for key in range(count):
            grey = noise.integers(0, 156) + 100 * (key % 2)
            yield key, {"image": np.full((1, 1, 1), grey, np.uint8), "label": key % 2}
'''
CONFIG = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.batch_size = 8  # a multiple of the devices, of which tests have 8
    config.num_epochs = 3
    config.keep_latest = 3
    config.data.name = "specks:Specks"
    config.data.train_split = "train[:24]"
    config.data.val_split = "train[24:]"
    config.model = dict(name="mlp", hidden=())
    config.optimizer = dict(name="sgd", learning_rate=0.1)
    return config
"""
SWEEP = """
from config import get_config
from mnist_jax.members import Sweep

def member(hidden):
    config = get_config()
    config.num_epochs = 2
    config.model.hidden = hidden
    return config

def get_sweep():
    return Sweep({"flat": member(()), "deep": member((2,))}, seeds=2)
"""
TINY = {"num_epochs": 1, "overrides": {"data.train_split": "train", "data.val_split": ""}}


@contextlib.contextmanager
def entered(folder: Path, data: Path | None = None) -> Iterator[None]:
    """Context manager in the folder of the samples, with their data set in a data directory."""
    before, path, cwd = dict(os.environ), [*sys.path], os.getcwd()
    enter(folder, data)
    try:
        yield
    finally:
        os.chdir(cwd)
        sys.path[:] = path
        sys.modules.pop("specks", None)
        os.environ.clear()
        os.environ.update(before)


def enter(folder: Path, data: Path | None = None) -> None:
    """Makes this process one that works with the samples, for good."""
    os.chdir(folder)
    sys.path.append(str(folder))
    os.environ["TFDS_DATA_DIR"] = str(data or folder / "data")


def write(folder: Path) -> None:
    """Writes the data set's module and the configurations."""
    for name, text in (("specks", MODULE), ("config", CONFIG), ("members", SWEEP)):
        (folder / f"{name}.py").write_text(text)


def make(folder: Path) -> None:
    """Writes the files and trains the networks."""
    import mnist_jax

    write(folder)
    with entered(folder), without_pictures():
        config = str(folder / "config.py")
        mnist_jax.train(config, workdir=folder / "tiny", **TINY)
        mnist_jax.train(config, workdir=folder / "run")
        mnist_jax.train(config, workdir=folder / "other", seed=1)
        mnist_jax.sweep(str(folder / "members.py"), workdir=folder / "sweep")


@functools.cache
def shared(*, quick: bool) -> Path:
    """Returns a folder of them that all parts of this process use; nobody changes it.

    They are made in this process for a quick run, else in one of their own.
    """
    folder = Path(tempfile.mkdtemp(prefix="samples-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if quick:
        make(folder)
        return folder
    command = [sys.executable, "-m", "benchmarks.reliability.fuzzing.samples", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


@contextlib.contextmanager
def without_pictures() -> Iterator[None]:
    """Context manager in which nothing is drawn, which takes most of the time of a short run."""
    from mnist_jax import compare, experiment
    from mnist_jax.analysis.run import evaluation
    from mnist_jax.analysis.sweep import report
    from mnist_jax.evaluations import split

    def figures(_: Path, predictions: Any, *, checkpoint: int, **__: Any) -> dict[str, Any]:
        return evaluation.evaluate(predictions) | {"checkpoint": checkpoint}

    with contextlib.ExitStack() as stack:
        for module, name, instead in (
            (experiment, "publish", figures),
            (split, "publish", figures),
            (experiment, "_drawing_of_best", lambda *_: None),
            (compare, "_drawings", lambda *_: {}),
            (report, "write_plots", lambda *_: []),
        ):
            stack.enter_context(unittest.mock.patch.object(module, name, instead))
        yield


def copied(folder: Path, name: str, to: Path) -> Path:
    """Replaces a folder by a copy of one of the samples; returns it."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder / name, to)
    return to


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve())
