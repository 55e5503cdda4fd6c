"""The public API: `mnist_jax.train`, `load` and `sweep`, as a notebook or a script uses them.

import mnist_jax

run = mnist_jax.train("configs/mlp.py", num_epochs=3)
run.result["test_accuracy"]
classifier = mnist_jax.load(run.workdir)
classifier.predict(images).labels
mnist_jax.sweep("configs/sweeps/looped.py", seeds=3).table
"""

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from mnist_jax import config as configuration
from mnist_jax import data, experiment, members
from mnist_jax.analysis.evaluation import evaluate
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.files import read_json, read_rows
from mnist_jax.models.outputs import probabilities
from mnist_jax.training import network
from mnist_jax.training.logs import OnEpoch
from mnist_jax.training.restored import Restored, restore
from mnist_jax.training.stop import StoppedError

if TYPE_CHECKING:
    import pandas

Overrides = Mapping[str, Any]
BATCH = 500  # images that are predicted at a time


@dataclass(frozen=True)
class Run:
    """A finished run."""

    workdir: Path

    @functools.cached_property
    def result(self) -> dict[str, Any]:
        """The run in figures, with the keys of `result.json`: `test_accuracy`, `parameters`, ..."""
        return read_json(self.workdir / "result.json")

    @functools.cached_property
    def history(self) -> list[dict[str, Any]]:
        """One row per epoch, with the keys of `metrics.jsonl`: `epoch`, `val_accuracy`, ..."""
        return read_rows(self.workdir / "metrics.jsonl")


@dataclass(frozen=True)
class SweepRun:
    """A finished sweep."""

    workdir: Path

    @functools.cached_property
    def result(self) -> dict[str, Any]:
        """The sweep in figures, with the keys of its `result.json`: `members`, `diverged`, ..."""
        return read_json(self.workdir / "result.json")

    @functools.cached_property
    def history(self) -> list[dict[str, Any]]:
        """One row per network and epoch: `architecture`, `seed` and the row of `metrics.jsonl`."""
        return read_rows(self.workdir / "sweep.jsonl")

    @property
    def table(self) -> "pandas.DataFrame":
        """`sweep.csv`: one row per network, with its figures and what varies."""
        import pandas

        return pandas.read_csv(self.workdir / "sweep.csv")

    @property
    def summary(self) -> "pandas.DataFrame":
        """`summary.csv`: one row per architecture, with means and spreads over its seeds."""
        import pandas

        return pandas.read_csv(self.workdir / "summary.csv")


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of n images."""

    labels: np.ndarray  # [n] int32: the class of the highest probability, the lowest on ties
    probabilities: np.ndarray  # [n, K] float32, rows of sum 1


@dataclass(frozen=True)
class Classifier:
    """A trained network, ready to be used."""

    network: network.Network
    restored: Restored

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes, by label."""
        return self.restored.spec.class_names

    @property
    def config(self) -> Config:
        """What it was trained with."""
        return self.restored.config

    @property
    def weights(self) -> dict[str, Any]:
        """`params` and `variables`, nested dicts of arrays."""
        return self.restored.weights

    def predict(self, images: Any) -> Predictions:
        """Classifies images.

        Args:
          images: `[n, H, W]` or `[n, H, W, C]` of the data set's own shape: uint8 from 0 to 255, or
            floats from 0 to 1.

        Raises:
          ValueError: another shape or type, a value outside [0, 1], or NaN; or the network gives
            probabilities that are not finite.
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
            raise UserError(f"{self.network.title}: a probability is not finite")
        return Predictions(found.argmax(axis=1).astype(np.int32), found)

    def evaluate(self, split: str = "test") -> dict[str, Any]:
        """Evaluates on any split of tfds; the keys are those of `evaluation.json`. Writes nothing.

        Raises:
          ValueError: there is no such split, or no example in it.
        """
        figures = evaluate(experiment.examined(self.restored, split))
        return figures | {"checkpoint": self.restored.step}

    def _as_floats(self, images: Any) -> np.ndarray:
        """`[n, H, W, C]` float32 from 0 to 1."""
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
                f"{images.max()}; divide by 255 what goes from 0 to 255"
            )
        return images.astype(np.float32)


def train(
    config: str | Path | Config | ml_collections.ConfigDict,
    *,
    workdir: str | Path | None = None,
    overrides: Overrides | None = None,
    on_epoch: OnEpoch = experiment.nothing,
    **fields: Any,
) -> Run:
    """Trains a network and evaluates it on the test split; goes on where the folder's run stands.

    Args:
      config: a configuration file, or a configuration, as `mnist_jax.default()` gives it.
      workdir: the folder of the run; by default `runs/<stem of the file>`.
      overrides: fields by their dotted names: `{"model.hidden": (64,)}`.
      on_epoch: is called with the rows of all epochs so far, after each one.
      fields: top-level fields: `num_epochs=3`.

    Returns:
      The finished run: `.result`, `.history`, `.workdir`.

    Raises:
      ValueError: the configuration asks for what is not there, the folder holds another run, or the
        network diverged; the message says what to do.
      KeyboardInterrupt: told to stop. Everything is saved: the same call goes on.
    """
    started = time.perf_counter()
    changes = [*fields.items(), *(overrides or {}).items()]
    asked = _one(config, changes)
    folder = _folder(config, workdir, "")
    data.read_ahead(asked.data.name)
    try:
        experiment.run(asked, folder, started=started, on_epoch=on_epoch)
    except StoppedError as stopped:
        raise KeyboardInterrupt(str(stopped)) from stopped
    return Run(folder)


def sweep(
    config: str | Path | Config | ml_collections.ConfigDict | members.Sweep,
    *,
    workdir: str | Path | None = None,
    seeds: int | None = None,
    overrides: Overrides | None = None,
    on_epoch: OnEpoch = experiment.nothing,
    **fields: Any,
) -> SweepRun:
    """Trains many networks, those of the same shapes together, and compares them.

    A process whose JAX has one CPU device trains one network at a time; `python -m mnist_jax.sweep`
    makes each core a device.

    Args:
      config: a sweep file, a `mnist_jax.members.Sweep`, or a configuration to train over `seeds`.
      workdir: the folder of the sweep; by default `runs/<stem of the file>-sweep`.
      seeds: how many of each architecture; by default as the sweep says.
      overrides: fields of every network by their dotted names.
      on_epoch: is called with the new lines of `sweep.jsonl`, after each epoch.
      fields: top-level fields of every network.

    Returns:
      The finished sweep: `.table`, `.summary`, `.history`, `.result`, `.workdir`.

    Raises:
      ValueError: as `train`.
      KeyboardInterrupt: told to stop. What is done is saved: the same call goes on.
    """
    started = time.perf_counter()
    changes = [*fields.items(), *(overrides or {}).items()]
    folder = _folder(config, workdir, "-sweep")
    if isinstance(config, str | Path):
        plan = members.load(str(config), changes, seeds)
    else:
        single = members.Sweep({folder.name: config})
        asked = config if isinstance(config, members.Sweep) else single
        plan = members.plan(asked, "sweep", changes, seeds)
    data.read_ahead(plan[0].config.data.name)
    try:
        experiment.run_sweep(plan, folder, started=started, on_epoch=on_epoch)
    except StoppedError as stopped:
        raise KeyboardInterrupt(str(stopped)) from stopped
    return SweepRun(folder)


def load(
    workdir: str | Path,
    *,
    checkpoint: str | int = "latest",
    member: str = "",
    seed: int | None = None,
) -> Classifier:
    """A trained network from its folder, on whatever devices there are.

    Args:
      workdir: of a run or a sweep.
      checkpoint: `latest`, `best` (after the epoch that was best by `config.best`) or a step.
      member: of a sweep: the architecture, or `best`.
      seed: of a sweep: may be left out where the architecture has only one.

    Raises:
      ValueError: there is no such network or checkpoint, or it is damaged.
    """
    found = network.find(Path(workdir), member, seed)
    return Classifier(found, restore(found, str(checkpoint)))


def _one(config: Any, changes: list[tuple[str, Any]]) -> Config:
    if isinstance(config, str | Path):
        return configuration.load(str(config), changes)
    return configuration.parse(
        configuration.overridden(configuration.plain(config, "config"), changes)
    )


def _folder(config: Any, workdir: str | Path | None, suffix: str) -> Path:
    if workdir is not None:
        return Path(workdir)
    if not isinstance(config, str | Path):
        raise UserError("workdir: a configuration that comes from no file needs workdir=")
    return Path("runs") / f"{configuration.stem(str(config))}{suffix}"
