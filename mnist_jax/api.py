"""Defines the public API for notebooks and scripts: `train`, `load` and `sweep`.

    import mnist_jax

    run = mnist_jax.train("configs/mlp.py", num_epochs=3)
    run.result["test_accuracy"]
    classifier = mnist_jax.load(run.workdir)
    classifier.predict(images).labels
    mnist_jax.sweep("configs/sweeps/looped.py", seeds=3).table

The package `mnist_jax` itself exports these functions.
"""

import functools
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from mnist_jax import config as configuration
from mnist_jax import data, devices, experiment, members, settings, streams
from mnist_jax.analysis.run.evaluation import evaluate
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.files import local_path, read_json, read_rows
from mnist_jax.models.outputs import probabilities
from mnist_jax.training import network
from mnist_jax.training.logs import OnEpoch
from mnist_jax.training.restored import Restored, restore
from mnist_jax.training.stop import StoppedError

if TYPE_CHECKING:
    import pandas

Overrides = Mapping[str, Any]
P = ParamSpec("P")
T = TypeVar("T")
BATCH = 500  # images per call of the network in `Classifier.predict`


def _door(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: calls the function with JAX's settings as this project needs them."""

    @functools.wraps(function)
    def inside(*arguments: P.args, **keywords: P.kwargs) -> T:
        for stream in (sys.stdout, sys.stderr):
            streams.replace_unknown(stream)
        with settings.own():
            return function(*arguments, **keywords)

    return inside


@dataclass(frozen=True)
class Run:
    """A finished run, with its results and its history read from its folder."""

    workdir: Path

    @functools.cached_property
    def result(self) -> dict[str, Any]:
        """The contents of `result.json`: `test_accuracy`, `parameters` and more."""
        return read_json(self.workdir / "result.json")

    @functools.cached_property
    def history(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`, one per epoch: `epoch`, `val_accuracy` and more."""
        return read_rows(self.workdir / "metrics.jsonl")


@dataclass(frozen=True)
class SweepRun:
    """A finished sweep, with its results and tables read from its folder."""

    workdir: Path

    @functools.cached_property
    def result(self) -> dict[str, Any]:
        """The contents of the sweep's `result.json`: `members`, `diverged` and more."""
        return read_json(self.workdir / "result.json")

    @functools.cached_property
    def history(self) -> list[dict[str, Any]]:
        """The rows of `sweep.jsonl`, one per network and epoch.

        Each holds `architecture`, `seed` and the fields of a row of `metrics.jsonl`.
        """
        return read_rows(self.workdir / "sweep.jsonl")

    @property
    def table(self) -> "pandas.DataFrame":
        """The table `sweep.csv`: one row per network, with its metrics and the fields that vary."""
        return _table(self.workdir / "sweep.csv")

    @property
    def summary(self) -> "pandas.DataFrame":
        """The table `summary.csv`: one row per architecture, with mean and spread over seeds."""
        return _table(self.workdir / "summary.csv")


def _table(path: Path) -> "pandas.DataFrame":
    """Reads a table of a sweep; names of architectures stay texts, even `010` and `None`."""
    import pandas

    return pandas.read_csv(path, dtype={"architecture": str}, keep_default_na=False, na_values=[""])


@dataclass(frozen=True)
class Predictions:
    """The predicted labels and class probabilities of n images."""

    labels: np.ndarray  # [n] int32: the most probable class; on ties the lowest label
    probabilities: np.ndarray  # [n, K] float32; each row sums to 1


@dataclass(frozen=True)
class Classifier:
    """A trained network that classifies images and can be evaluated."""

    network: network.Network
    restored: Restored

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes, in the order of their labels."""
        return self.restored.spec.class_names

    @property
    def config(self) -> Config:
        """The configuration with which the network was trained."""
        return self.restored.config

    @property
    def weights(self) -> dict[str, Any]:
        """The weights: nested dicts of arrays under the keys `params` and `variables`."""
        return self.restored.weights

    @_door
    def predict(self, images: Any) -> Predictions:
        """Predicts the labels and the class probabilities of images.

        Args:
          images: `[n, H, W]` or `[n, H, W, C]`, of the data set's shape: uint8 from 0 to 255, or
            floats from 0 to 1.

        Raises:
          ValueError: the images have another shape or type, or contain NaN or floats outside
            [0, 1]; or a predicted probability is not finite.
        """
        images = self._as_floats(images)
        kind = self.restored.model.output_activation
        found = np.zeros((len(images), len(self.class_names)), np.float32)
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            padded = np.zeros((BATCH, *images.shape[1:]), np.float32)
            padded[: len(batch)] = batch
            outputs = self.restored.outputs(jnp.asarray(padded))
            p = probabilities(outputs, output_activation=kind)
            found[start : start + BATCH] = jax.device_get(p)[: len(batch)]
        if not np.isfinite(found).all():
            raise UserError(f"{self.network.title}: a predicted probability is not finite")
        return Predictions(found.argmax(axis=1).astype(np.int32), found)

    @_door
    def evaluate(self, split: str = "test") -> dict[str, Any]:
        """Evaluates the network on a split and returns the results; writes no files.

        Args:
          split: any split string of TensorFlow Datasets, such as `test` or `train[55000:]`.

        Returns:
          The results, with the keys of `evaluation.json`.

        Raises:
          ValueError: the split does not exist or is empty, or an output is not finite.
        """
        figures = evaluate(experiment.examined(self.restored, split))
        return figures | {"checkpoint": self.restored.step}

    def _as_floats(self, images: Any) -> np.ndarray:
        """Returns the images as float32 `[n, H, W, C]` from 0 to 1.

        Raises:
          UserError: the images have another shape or type, or contain NaN or floats outside [0, 1].
        """
        images = np.asarray(images)
        shape, given = self.restored.spec.image_shape, list(images.shape)
        if shape[-1] == 1 and images.ndim == 3:
            images = images[..., None]
        if images.ndim != 4 or images.shape[1:] != shape:
            grey = f" or [n, {shape[0]}, {shape[1]}]" if shape[-1] == 1 else ""
            raise UserError(
                f"images: expected the shape [n, {', '.join(map(str, shape))}]{grey}, got {given}"
            )
        if images.dtype == np.uint8:
            return images.astype(np.float32) / np.float32(255.0)
        if not np.issubdtype(images.dtype, np.floating):
            raise UserError(
                f"images: expected uint8 from 0 to 255, or floats from 0 to 1, got {images.dtype}"
            )
        if images.size and not (images.min() >= 0.0 and images.max() <= 1.0):  # NaN fails, too
            raise UserError(
                f"images: floats must be from 0 to 1, got values from {images.min()} to "
                f"{images.max()}; if they are from 0 to 255, divide by 255"
            )
        return images.astype(np.float32)


@_door
def train(
    config: str | Path | Config | ml_collections.ConfigDict,
    *,
    workdir: str | Path | None = None,
    overrides: Overrides | None = None,
    accept_code: bool = False,
    on_epoch: OnEpoch = experiment.nothing,
    **fields: Any,
) -> Run:
    """Trains a network and evaluates it on the test split; resumes a run that its folder holds.

    Args:
      config: a configuration file, or a configuration as `mnist_jax.default()` returns it.
      workdir: the folder of the run; by default `runs/<stem of the file>`.
      overrides: values of fields by their dotted names, such as `{"model.hidden": (64,)}`.
      accept_code: True to resume even if your own code has changed since the run began.
      on_epoch: called after each epoch with the rows of all epochs so far.
      fields: values of top-level fields, such as `num_epochs=3`.

    Returns:
      The finished run, with `.result`, `.history` and `.workdir`.

    Raises:
      ValueError: the configuration is invalid, the folder holds another run or one of other code,
        or the network diverged; the message says what to do.
      KeyboardInterrupt: the process was told to stop. Everything is saved, and the same call
        resumes the run.
    """
    started = time.perf_counter()
    changes = _changes(fields, overrides)
    asked = _one(config, changes)
    folder = _folder(config, workdir, "")
    data.read_ahead(asked.data.name)
    try:
        experiment.run(asked, folder, started=started, accept_code=accept_code, on_epoch=on_epoch)
    except StoppedError as stopped:
        raise KeyboardInterrupt(str(stopped)) from stopped
    return Run(folder)


@_door
def sweep(
    config: str | Path | Config | ml_collections.ConfigDict | members.Sweep,
    *,
    workdir: str | Path | None = None,
    seeds: int | None = None,
    overrides: Overrides | None = None,
    accept_code: bool = False,
    on_epoch: OnEpoch = experiment.nothing,
    **fields: Any,
) -> SweepRun:
    """Trains many networks and compares them; networks with the same shapes train together.

    If JAX has a single CPU device, networks train one at a time. `python -m mnist_jax.sweep` makes
    each core a device.

    Args:
      config: a sweep file, a `mnist_jax.members.Sweep`, or a configuration to train over `seeds`.
      workdir: the folder of the sweep; by default `runs/<stem of the file>-sweep`.
      seeds: number of seeds per architecture; by default the number that the sweep gives.
      overrides: values of fields of every network, by their dotted names.
      accept_code: True to go on even if your own code has changed since the sweep began.
      on_epoch: called after each epoch with the new rows of `sweep.jsonl`.
      fields: values of top-level fields of every network.

    Returns:
      The finished sweep, with `.table`, `.summary`, `.history`, `.result` and `.workdir`.

    Raises:
      ValueError: a configuration is invalid, the folder holds something else, or your own code has
        changed; the message says what to do.
      KeyboardInterrupt: the process was told to stop. Finished work is saved, and the same call
        resumes the sweep.
    """
    started = time.perf_counter()
    changes = _changes(fields, overrides)
    folder = _folder(config, workdir, "-sweep")
    if isinstance(config, str | Path):
        asked = members.read(str(config))
    elif isinstance(config, members.Sweep):
        asked = config
    else:
        asked = members.Sweep({folder.name: config})
    name = str(config) if isinstance(config, str | Path) else "sweep"
    plan = members.plan(asked, name, changes, seeds)
    data.read_ahead(plan[0].config.data.name)
    try:
        experiment.run_sweep(
            plan,
            folder,
            started=started,
            analysis=asked.analysis,
            accept_code=accept_code,
            on_epoch=on_epoch,
        )
    except StoppedError as stopped:
        raise KeyboardInterrupt(str(stopped)) from stopped
    return SweepRun(folder)


@_door
def load(
    workdir: str | Path,
    *,
    checkpoint: str | int = "latest",
    member: str = "",
    seed: int | None = None,
) -> Classifier:
    """Loads a trained network from its folder onto the available devices.

    Prints a warning if your own code, which its configuration names, has changed since the training
    began.

    Args:
      workdir: the folder of a run or a sweep.
      checkpoint: `latest`, `best` (the epoch that is best by `config.best`) or a step.
      member: in a sweep, the architecture or `best`.
      seed: in a sweep, the seed; may be omitted if the architecture has only one.

    Raises:
      ValueError: the network or the checkpoint does not exist or is damaged.
    """
    devices.warn()
    found = network.find(local_path(workdir, "workdir"), member, seed)
    return Classifier(found, restore(found, str(checkpoint)))


def _changes(fields: dict[str, Any], overrides: Overrides | None) -> list[tuple[str, Any]]:
    if not isinstance(overrides, Mapping | None):
        raise UserError(
            f"overrides: must be a dict such as {{'model.hidden': (64,)}}, not {overrides!r}"
        )
    return [*fields.items(), *(overrides or {}).items()]


def _one(config: Any, changes: list[tuple[str, Any]]) -> Config:
    if isinstance(config, str | Path):
        return configuration.load(str(config), changes)
    return configuration.parse(
        configuration.overridden(configuration.plain(config, "config"), changes)
    )


def _folder(config: Any, workdir: str | Path | None, suffix: str) -> Path:
    if workdir is not None:
        return local_path(workdir, "workdir")
    if not isinstance(config, str | Path):
        raise UserError("workdir: pass workdir= for a configuration that is not read from a file")
    return Path("runs") / f"{configuration.stem(str(config))}{suffix}"
