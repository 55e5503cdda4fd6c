"""A run's folder: what is in it, and who may continue it."""

import json
from pathlib import Path
from typing import Any

from mnist_jax import config as configuration
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.files import read_json, write_json


def finished(workdir: Path, config: Config) -> bool:
    """Whether `workdir` holds this run, trained and evaluated. Writes nothing.

    Raises:
      UserError: the folder holds a run with another configuration.
    """
    if (workdir / "config.json").exists():
        _refuse_difference(workdir, config)
    return (workdir / "result.json").exists()


def claim(workdir: Path, config: Config) -> None:
    """Writes `config.json`, where it is not there yet."""
    if (workdir / "config.json").exists():
        _refuse_difference(workdir, config)
    else:
        write_json(workdir / "config.json", config.to_dict())


def _refuse_difference(workdir: Path, config: Config) -> None:
    lines = configuration.difference(read_json(workdir / "config.json"), _plain(config))
    if lines:
        raise UserError(
            "\n".join(
                [f"{workdir} holds a run with another configuration (there -> asked for):"]
                + [f"  {line}" for line in lines]
                + [f"use a folder of its own: --workdir={_free_name(workdir)}"]
            )
        )


def read_config(workdir: Path) -> Config:
    """The configuration of the run in `workdir`.

    Raises:
      UserError: there is no run.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"{workdir} holds no run: there is no {path}")
    return configuration.parse(read_json(path))


def _plain(config: Config) -> dict[str, Any]:
    return json.loads(json.dumps(config.to_dict()))  # tuples as lists, as in the file


def _free_name(workdir: Path) -> Path:
    numbers = (workdir.with_name(f"{workdir.name}-{n}") for n in range(2, 10_000))
    return next(path for path in numbers if not path.exists())
