"""The folder of a run or of a sweep: what is in it, and who may continue it."""

import json
from pathlib import Path
from typing import Any

from mnist_jax import config as configuration
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.files import read_json, write_json

RUN, SWEEP = "config.json", "sweep.json"  # what was asked for
SHOWN = 12  # differences


def finished(workdir: Path, asked: dict[str, Any], kind: str = RUN) -> bool:
    """Whether `workdir` holds what is asked for, trained and evaluated. Writes nothing.

    Args:
      workdir: which may not be there yet.
      asked: `Config.to_dict()`, or those of a sweep's members by name.
      kind: `RUN` or `SWEEP`.

    Raises:
      UserError: the folder holds something else.
    """
    _refuse_other(workdir, asked, kind)
    return (workdir / "result.json").exists()


def claim(workdir: Path, asked: dict[str, Any], kind: str = RUN) -> None:
    """Writes what is asked for into `workdir`, where it is not there yet."""
    _refuse_other(workdir, asked, kind)
    if not (workdir / kind).exists():
        write_json(workdir / kind, asked)


def _refuse_other(workdir: Path, asked: dict[str, Any], kind: str) -> None:
    elsewhere = f"use a folder of its own: --workdir={_free_name(workdir)}"
    other = SWEEP if kind == RUN else RUN
    if (workdir / other).exists():
        what = "a sweep" if other == SWEEP else "a run"
        raise UserError(f"{workdir} holds {what} ({other} is there); {elsewhere}")
    if not (workdir / kind).exists():
        return
    there = read_json(workdir / kind)
    there = _spelled_out(there) if kind == RUN else {k: _spelled_out(v) for k, v in there.items()}
    lines = configuration.difference(there, plain(asked))
    if lines:
        more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        what = "a run with another configuration" if kind == RUN else "another sweep"
        raise UserError(
            "\n".join(
                [f"{workdir} holds {what} (there -> asked for):"]
                + [f"  {line}" for line in lines[:SHOWN]]
                + more
                + [elsewhere]
            )
        )


def read_config(workdir: Path) -> Config:
    """The configuration of the run in `workdir`.

    Raises:
      UserError: there is no run.
    """
    path = workdir / RUN
    if not path.is_file():
        raise UserError(f"{workdir} holds no run: there is no {path}")
    return configuration.parse(read_json(path))


def plain(asked: dict[str, Any]) -> dict[str, Any]:
    """As it is in a file: tuples are lists there."""
    return json.loads(json.dumps(asked))


def _spelled_out(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration's values, and what fields that it was written without mean today."""
    from mnist_jax import models  # it imports JAX, which reading a configuration does without

    try:
        return plain(models.resolve(configuration.parse(values)).to_dict())
    except UserError:
        return values  # of another version: the difference will tell


def _free_name(workdir: Path) -> Path:
    numbers = (workdir.with_name(f"{workdir.name}-{n}") for n in range(2, 10_000))
    return next(path for path in numbers if not path.exists())
