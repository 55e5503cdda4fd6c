"""The folder of a run: what is in it, and who may continue it."""

import json
from pathlib import Path
from typing import Any

from mnist_jax import config as configuration
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.files import read_json, write_json

RUN, SWEEP, RESULT = "config.json", "sweep.json", "result.json"
SHOWN = 12  # differences


def finished(workdir: Path, config: Config) -> bool:
    """True if `workdir` holds what is asked for, trained and evaluated. Writes nothing.

    Raises:
      UserError: the folder holds something else, and the run there cannot go on to this.
    """
    _refuse_other(workdir, config)
    path = workdir / RESULT
    return path.exists() and spelled_out(read_json(path)["config"]) == plain(config.to_dict())


def result(workdir: Path) -> dict[str, Any] | None:
    """What `result.json` holds; `None` where the run is not finished, or now goes on further."""
    path = workdir / RESULT
    if not path.exists():
        return None
    found = read_json(path)
    return found if found["config"] == read_json(workdir / RUN) else None


def claim(workdir: Path, config: Config) -> None:
    """Writes what is asked for into `workdir`.

    Raises:
      UserError: as `finished`.
    """
    _refuse_other(workdir, config)
    asked = plain(config.to_dict())
    path = workdir / RUN
    if not path.exists() or read_json(path) != asked:
        write_json(path, asked)


def _refuse_other(workdir: Path, config: Config) -> None:
    refuse_kind(workdir, SWEEP)
    if not (workdir / RUN).exists():
        return
    there, asked = spelled_out(read_json(workdir / RUN)), plain(config.to_dict())
    if there == asked:
        return
    longer = {**there, "num_epochs": asked["num_epochs"]} == asked
    if not longer or asked["num_epochs"] < there["num_epochs"]:
        refuse(workdir, "a run with another configuration", there, asked)
    from mnist_jax.training.optimizer import fractions  # it imports JAX; see `spelled_out`

    if found := fractions(config):
        raise UserError(
            f"{workdir} holds this run with num_epochs {there['num_epochs']}; it cannot go on to "
            f"{asked['num_epochs']}, because {', '.join(found)} is a fraction of the run: a longer "
            f"one has other learning rates from its first step on. Start a new run from its "
            f"weights: --config.init_from={workdir} --workdir={free_name(workdir)}"
        )


def refuse_kind(workdir: Path, kind: str) -> None:
    """Raises UserError where `workdir` holds a run (`RUN`) or a sweep (`SWEEP`) of that kind."""
    if (workdir / kind).exists():
        what = "a sweep" if kind == SWEEP else "a run"
        raise UserError(f"{workdir} holds {what} ({kind} is there); {_elsewhere(workdir)}")


def refuse(workdir: Path, what: str, there: Any, asked: Any) -> None:
    """Raises UserError with what differs between two configurations, and where to go instead."""
    lines = configuration.difference(there, asked)
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise UserError(
        "\n".join(
            [f"{workdir} holds {what} (there -> asked for):"]
            + [f"  {line}" for line in lines[:SHOWN]]
            + more
            + [_elsewhere(workdir)]
        )
    )


def read_config(workdir: Path) -> Config:
    """The configuration of the run in `workdir`.

    Raises:
      UserError: there is no run, or one that another version wrote.
    """
    path = workdir / RUN
    if not path.is_file():
        raise UserError(f"{workdir} holds no run: there is no {path}")
    return parsed(read_json(path), path)


def parsed(values: Any, path: Path) -> Config:
    """The configuration with these values, which were read from `path`.

    Raises:
      UserError: they are none of this version.
    """
    if not isinstance(values, dict) or not values:
        raise UserError(f"{path} holds no configuration")
    try:
        return configuration.parse(values)
    except UserError as error:
        raise UserError(
            f"{path} cannot be read: {error}. If another version of mnist_jax wrote it, use that "
            f"one, or train again into another --workdir="
        ) from error


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """The values as a file holds them: tuples are lists there."""
    return json.loads(json.dumps(values))


def spelled_out(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration's values, and what fields that it was written without mean today."""
    from mnist_jax import models  # it imports JAX, which reading a configuration does without

    try:
        return plain(models.resolve(configuration.parse(values)).to_dict())
    except UserError:
        return values  # of another version: the difference will tell


def free_name(workdir: Path) -> Path:
    """The first of `DIR-2`, `DIR-3`, ... that is not there yet."""
    numbers = (workdir.with_name(f"{workdir.name}-{n}") for n in range(2, 10_000))
    return next(path for path in numbers if not path.exists())


def _elsewhere(workdir: Path) -> str:
    return f"use a folder of its own: --workdir={free_name(workdir)}"
