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
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_collections

from mnist_jax import config_file, data, devices, experiment, members
from mnist_jax.classifier import Classifier
from mnist_jax.config import Config, parse, plain
from mnist_jax.door import door
from mnist_jax.errors import StoppedError, UserError
from mnist_jax.files import local_path, read_json, read_rows
from mnist_jax.overrides import overridden
from mnist_jax.training import network
from mnist_jax.training.logs import OnEpoch
from mnist_jax.training.restored import restore

if TYPE_CHECKING:
    import pandas

Overrides = Mapping[str, Any]


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


@door
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


@door
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


@door
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
        return config_file.load(str(config), changes)
    return parse(overridden(plain(config, "config"), changes))


def _folder(config: Any, workdir: str | Path | None, suffix: str) -> Path:
    if workdir is not None:
        return local_path(workdir, "workdir")
    if not isinstance(config, str | Path):
        raise UserError("workdir: pass workdir= for a configuration that is not read from a file")
    return Path("runs") / f"{config_file.stem(str(config))}{suffix}"
