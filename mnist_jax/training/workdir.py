"""Reads and claims the folder of a run, and refuses a folder that holds something else.

Loggers are not part of what a run is: a run may continue with other loggers, and `config.json` then
holds the new ones.
"""

import json
from pathlib import Path
from typing import Any

from mnist_jax import config as configuration
from mnist_jax import users_code
from mnist_jax.config import Config
from mnist_jax.errors import UserError, print_warning
from mnist_jax.files import DamagedFileError, damaged, read_json, write_json
from mnist_jax.presence import exists, is_file
from mnist_jax.training import sealed

RUN, SWEEP, RESULT = "config.json", "sweep.json", "result.json"
READ_BACK = ("metrics.jsonl", "sweep.jsonl", "sweep.csv", "summary.csv")  # with a result
SHOWN = 12  # maximum number of differences in a message


def finished(workdir: Path, config: Config, *, warn: bool = False) -> bool:
    """True if `workdir` holds the run of `config`, trained and evaluated; writes nothing.

    Compares all fields but `loggers`. With `warn`, it warns of a `result.json` that is damaged, and
    of a `metrics.jsonl` that is no longer what it was.

    Raises:
      UserError: the folder holds something else that cannot be extended to `config`.
    """
    _refuse_other(workdir, config)
    found = read_result(workdir, "config", dict, warn=warn)
    return (
        found is not None
        and identity(spelled_out(found["config"], workdir)) == identity(plain(config.to_dict()))
        and is_whole(workdir, found, warn=warn)
    )


def result(workdir: Path) -> dict[str, Any] | None:
    """Reads `result.json`; `None` if the run is not finished, or is being extended."""
    found = read_result(workdir, "config", dict)
    if found is None:
        return None
    same = identity(found["config"]) == identity(read_json(workdir / RUN, dict))
    return found if same and is_whole(workdir, found) else None


def is_whole(workdir: Path, result: dict[str, Any], *, warn: bool = True) -> bool:
    """True if the files that are read back with a result are those that it was written with.

    Only of a result that is the last word: what goes on changes them. With `warn`, it warns of each
    other file.

    Raises:
      UserError: the system refuses to read one.
    """
    expected = result.get(sealed.FILES)
    others = sealed.changed(workdir, expected if isinstance(expected, dict) else None)
    for path in others if warn else ():
        print_warning(f"{path} is not as it was written with {RESULT}; taken as not finished")
    return not others


def write_result(workdir: Path, values: dict[str, Any]) -> None:
    """Writes the `result.json` that marks a run or a sweep as finished, sealed.

    Args:
      workdir: the folder, whose tables and histories are written by now.
      values: the result.

    Raises:
      UserError: it cannot be written.
    """
    files = sealed.digests(workdir, READ_BACK)
    write_json(workdir / RESULT, sealed.sealed({**values, sealed.FILES: files}))


def read_result(
    workdir: Path, field: str, kind: type, *, warn: bool = True
) -> dict[str, Any] | None:
    """Reads the `result.json` that marks a run or a sweep as finished; `None` if there is none.

    One that is empty or damaged, as after a loss of power or by a changed figure, counts as none:
    it is written again.

    Args:
      workdir: the folder of the run or the sweep.
      field: a field of the result.
      kind: the type of this field.
      warn: True to print a warning of a damaged file.

    Raises:
      UserError: the system refuses to read the file.
    """
    path = workdir / RESULT
    if not exists(path):
        return None
    try:
        found = sealed.unsealed(path, read_json(path, dict))
        if not isinstance(found.get(field), kind):
            raise damaged(path, f"there is no field {field!r}")
    except DamagedFileError as error:
        if warn:
            print_warning(f"{error.cause}; taken as not finished")
        return None
    return found


def claim(workdir: Path, config: Config) -> None:
    """Writes `config` to `workdir`, which makes it the folder of this run.

    The configuration that is there may have other `loggers`, and a lower `num_epochs`.

    Raises:
      UserError: as for `finished`.
    """
    _refuse_other(workdir, config)
    asked = plain(config.to_dict())
    path = workdir / RUN
    if not exists(path) or read_json(path) != asked:
        write_json(path, asked)


def _refuse_other(workdir: Path, config: Config) -> None:
    refuse_kind(workdir, SWEEP)
    if not exists(workdir / RUN):
        return
    advice = f"Remove it if the folder is that of the same configuration, or {_elsewhere(workdir)}"
    there = identity(spelled_out(read_json(workdir / RUN, dict, advice=advice), workdir))
    asked = identity(plain(config.to_dict()))
    if there == asked:
        return
    longer = {**there, "num_epochs": asked["num_epochs"]} == asked
    if (
        not longer
        or not isinstance(there["num_epochs"], int)
        or asked["num_epochs"] < there["num_epochs"]
    ):
        refuse(workdir, "a run with another configuration", there, asked)
    from mnist_jax.training.schedule import fractions  # late, because it imports JAX

    if found := fractions(config):
        raise UserError(
            f"{workdir} holds this run with num_epochs {there['num_epochs']}; it cannot be "
            f"extended to {asked['num_epochs']}, because {', '.join(found)} is a fraction of the "
            f"run: a longer run has other learning rates from its first step on. Start a new run "
            f"from its weights: --config.init_from={workdir} --workdir={free_name(workdir)}"
        )


def refuse_kind(workdir: Path, kind: str) -> None:
    """Raises UserError if `workdir` holds a run (`kind` is `RUN`) or a sweep (`SWEEP`)."""
    if exists(workdir / kind):
        what = "a sweep" if kind == SWEEP else "a run"
        raise UserError(f"{workdir} holds {what} (it contains {kind}); {_elsewhere(workdir)}")


def refuse(workdir: Path, what: str, there: Any, asked: Any) -> None:
    """Raises UserError that lists how two configurations differ and suggests a free folder."""
    lines = configuration.difference(there, asked)
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise UserError(
        "\n".join(
            [f"{workdir} holds {what} (existing -> requested):"]
            + [f"  {line}" for line in lines[:SHOWN]]
            + more
            + [_elsewhere(workdir)]
        )
    )


def read_config(workdir: Path) -> Config:
    """Reads the configuration of the run in `workdir`.

    Raises:
      UserError: there is no run, or another version wrote it.
    """
    path = workdir / RUN
    if not is_file(path):
        raise UserError(f"{workdir} holds no run: there is no {path}")
    return parsed(read_json(path), path)


def parsed(values: Any, path: Path) -> Config:
    """Returns the configuration with these values, which were read from `path`.

    Raises:
      UserError: they are not a valid configuration of this version.
    """
    if not isinstance(values, dict) or not values:
        raise UserError(f"{path} holds no configuration")
    try:
        found = configuration.parse(values)
    except UserError as error:
        raise UserError(
            f"{path} cannot be read: {error}. If another version of mnist_jax wrote it, use that "
            f"version, or train again into another --workdir="
        ) from error
    folder = path.absolute().parent
    if folder.parent.name == "populations":
        folder = folder.parent.parent
    users_code.refuse_inside(found.modules(), folder)
    return found


def identity(values: dict[str, Any]) -> dict[str, Any]:
    """Returns a configuration's values without `loggers`, which do not change what is trained."""
    return {name: value for name, value in values.items() if name != "loggers"}


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Converts values to what a JSON file would return: tuples become lists."""
    return json.loads(json.dumps(values))


def spelled_out(values: dict[str, Any], workdir: Path) -> dict[str, Any]:
    """Returns a configuration's values, with today's defaults for fields that it lacks.

    Args:
      values: the configuration.
      workdir: the folder that holds it, whose own code is not run.
    """
    from mnist_jax import models  # late, because it imports JAX

    try:
        found = configuration.parse(values)
        users_code.refuse_inside(found.modules(), workdir)
        return plain(models.resolve(found).to_dict())
    except UserError:
        return values  # of another version: the caller shows the difference


def free_name(workdir: Path) -> Path:
    """Returns the first of `DIR-2`, `DIR-3`, ... that does not exist yet."""
    numbers = (workdir.parent / f"{workdir.name or 'run'}-{n}" for n in range(2, 10_000))
    return next(path for path in numbers if not exists(path))


def _elsewhere(workdir: Path) -> str:
    return f"use another folder: --workdir={free_name(workdir)}"
