"""Notices when the user's own code, which a configuration names, changes while it is being trained.

It compares digests of the modules that `config.model`, `loss`, `augment.functions`, `optimizer`,
`schedule` and `data` name as `package.module:Name`. Metrics and loggers do not change the weights,
and modules that a named module imports are not examined.

`code.json` in the folder of a run or a sweep holds the code that trains there:
{module: {"file": path, "sha256": digest, "earlier": [digests before accepted changes]}}
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mnist_jax import code_digest, users_code
from mnist_jax.config import Config, own_modules
from mnist_jax.errors import UserError, print_warning
from mnist_jax.files import DamagedFileError, damaged, read_json, write_json
from mnist_jax.presence import exists
from mnist_jax.training.workdir import free_name

FILE = "code.json"

Code = dict[str, dict[str, Any]]  # as in `code.json`


def modules(config: Config) -> list[str]:
    """Returns the modules of the user's own code that decides how the weights are trained."""
    choices = (config.model, config.loss, config.optimizer, config.schedule)
    names = [choice.name for choice in (*choices, *config.augment.functions)]
    return own_modules([*names, config.data.name])


def read(names: Iterable[str]) -> Code:
    """Returns the file and the digest of each module; leaves out modules without a source file.

    The digest is that of the source that this process has imported, even if the file has changed.
    """
    code: Code = {}
    for name in dict.fromkeys(names):
        its = users_code.source(name)
        path = its.file if its is not None else _source(name)
        try:
            if path is not None:
                source = its.source if its is not None else path.read_bytes()
                code[name] = {"file": str(path), "sha256": code_digest.digest(source)}
        except (OSError, SyntaxError, ValueError):
            continue  # it cannot be imported either, which has a message of its own
    return code


def recorded(folder: Path) -> Code:
    """Returns the contents of `code.json`; empty if the folder has none."""
    path = folder / FILE
    if not exists(path):
        return {}
    advice = "Remove it to go on without knowing whether your code has changed"
    code = read_json(path, dict, advice=advice)
    for its in code.values():
        fields = (its.get("file"), its.get("sha256")) if isinstance(its, dict) else ()
        if not fields or not all(isinstance(field, str) for field in fields):
            raise damaged(path, "a module has no file or no digest", advice)
    return code


def record(folder: Path, code: Code) -> None:
    """Adds modules to `code.json`; the digest of a changed one moves to its list `earlier`."""
    there = recorded(folder)
    after = dict(there)
    for name, its in code.items():
        old = there.get(name)
        if old is None:
            after[name] = its
        elif old["sha256"] != its["sha256"]:
            after[name] = its | {"earlier": [*old.get("earlier", []), old["sha256"]]}
    if after != there:
        write_json(folder / FILE, after)


def facts(folder: Path) -> dict[str, Any]:
    """Returns `{"code": {module: digest}}` for `result.json`; empty without code of the user's."""
    code = {name: its["sha256"] for name, its in recorded(folder).items()}
    return {"code": code} if code else {}


def refuse_changes(folder: Path, code: Code) -> None:
    """Raises UserError if modules are no longer as the training in `folder` has recorded them."""
    if files := _changed(recorded(folder), code):
        raise UserError(
            f"{_said(files, folder)}. To go on with the new code, give --accept_code "
            f"(from Python: accept_code=True). To start anew with it, use another folder: "
            f"--workdir={free_name(folder)}"
        )


def warn_of_changes(folder: Path, names: Iterable[str] | None = None) -> None:
    """Prints a warning if modules are no longer as the training in `folder` has recorded them.

    What this process has imported of them before they changed is imported again when it is needed.

    Args:
      folder: of the run or the sweep.
      names: the modules to compare; None: all that are recorded.
    """
    users_code.refresh()
    try:
        there = recorded(folder)
    except DamagedFileError as error:
        print_warning(str(error))
        return
    if files := _changed(there, read(there if names is None else names)):
        print_warning(_said(files, folder))


def _changed(there: Code, now: Code) -> list[str]:
    """Returns the files of the modules whose digests differ."""
    return [
        its["file"]
        for name, its in now.items()
        if name in there and there[name]["sha256"] != its["sha256"]
    ]


def _said(files: list[str], folder: Path) -> str:
    whose = "its" if len(files) == 1 else "their"
    return f"{', '.join(files)}: {whose} code has changed since the run in {folder} began"


def _source(name: str) -> Path | None:
    """Returns the source file of a module; None if it has none or cannot be found."""
    if name in sys.modules:
        path = getattr(sys.modules[name], "__file__", None)
        return Path(path) if path is not None and path.endswith(".py") else None
    users_code.look_in_current_folder()
    found = users_code.files(name)
    return found[-1] if found and found[-1].suffix == ".py" else None
