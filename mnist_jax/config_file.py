"""Reads configuration files: Python files with `get_config()` or `get_sweep()`."""

import contextlib
import difflib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from mnist_jax import failures, users_code
from mnist_jax.config import Config, parse, plain
from mnist_jax.errors import UserError
from mnist_jax.files import local_path
from mnist_jax.overrides import overridden

PROJECT_ROOT = Path(__file__).resolve().parent.parent


def load(path: str, overrides: Sequence[tuple[str, Any]] = ()) -> Config:
    """Reads a configuration file and applies overrides such as `("model.hidden", "64,32")`.

    Args:
      path: a Python file with `get_config()`; `FILE:ARGUMENT` calls `get_config(ARGUMENT)`.
      overrides: dotted names and values; a string is parsed as on the command line.

    Raises:
      UserError: the file does not exist or returns no configuration, or a field is invalid.
    """
    module = import_file(path)
    if hasattr(module, "get_sweep"):
        raise UserError(
            f"{path}: is a sweep of many networks; train it with "
            f"python -m mnist_jax.sweep --config={path}"
        )
    values = plain(from_module(module, path), f"{path}: get_config()")
    return parse(overridden(values, overrides))


def import_file(path: str) -> Any:
    """Imports a configuration file and returns its module.

    Raises:
      UserError: there is no such file, it is not a Python file, or its code fails.
    """
    users_code.refresh()
    found = find_file(split_path(path)[0])
    spec = importlib.util.spec_from_file_location(f"config_{found.stem}", found)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        raise UserError(f"{path}: must be a Python file with get_config()")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses, for one, look their module up
    with _told(path, path), users_code.remembered():
        # Not by the loader, which takes compiled code for that of a source of the same second.
        exec(compile(found.read_bytes(), str(found), "exec"), vars(module))
    return module


def call(module: Any, function: str, path: str) -> Any:
    """Calls a function of a configuration file and returns its result.

    Args:
      module: the imported file.
      function: name of the function.
      path: `FILE`, or `FILE:ARGUMENT` to call the function with this argument.

    Raises:
      UserError: there is no such function, it takes an argument and there is none or vice versa, it
        sets an unknown field, or its code fails.
    """
    file, argument = split_path(path)
    target = getattr(module, function, None)
    if not callable(target):
        raise UserError(f"{path}: has no function {function}()")
    arguments = () if argument is None else (argument,)
    _check_call(target, f"{path}: {function}", file, arguments)
    with _told(path, f"{path}: {function}()"):
        return target(*arguments)


def from_module(module: Any, path: str) -> Any:
    """Calls `get_config` of a configuration file, with the argument of `FILE:ARGUMENT` if any."""
    return call(module, "get_config", path)


def _check_call(target: Any, where: str, file: str, arguments: tuple[str, ...]) -> None:
    """Raises UserError if a function of the file does not take the argument, or needs one."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        take = "no argument" if arguments else "an argument"
        given = file if arguments else f"{file}:ARGUMENT"
        raise UserError(f"{where}{signature} takes {take}: give --config={given}") from error


@contextlib.contextmanager
def _told(path: str, what: str) -> Iterator[None]:
    """Context manager for the code of a configuration file, whose errors become messages."""
    with failures.reported(what):
        try:
            yield
        except UserError as error:  # such as an unknown field
            line = failures.place(error)
            raise UserError(f"{path}: {error}{f' ({line})' if line else ''}") from error


def split_path(path: str) -> tuple[str, str | None]:
    """Splits `FILE:ARGUMENT` into its two parts; the argument is None if there is none."""
    file, colon, argument = path.partition(".py:")
    return (f"{file}.py", argument) if colon else (path, None)


def stem(path: str) -> str:
    """Returns the name of a configuration's run: the file's stem, and the argument if any."""
    file, argument = split_path(path)
    words = re.sub(r"[^\w.-]+", "-", argument or "")
    return f"{Path(file).stem}-{words}" if words else Path(file).stem


def find_file(path: str) -> Path:
    """Returns the path of a configuration file, from the current folder or the project's root.

    Outside a checkout, the project's configurations are in the package.

    Raises:
      UserError: there is no such file in either folder.
    """
    checkout = (PROJECT_ROOT / "configs").is_dir()
    root = PROJECT_ROOT if checkout else Path(__file__).resolve().parent
    asked = local_path(path, "config")
    candidates = [asked.absolute(), root / asked]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    tried = "\n".join(f"  {c}" for c in dict.fromkeys(candidates))
    there = [str(its.relative_to(root)) for its in (root / "configs").rglob("*.py")]
    by_stem = [its for its in there if Path(its).stem == asked.stem]
    near = by_stem or difflib.get_close_matches(str(asked), there, n=1)
    hint = f"\nDid you mean {near[0]}?" if near else ""
    raise UserError(f"there is no configuration file {path}; looked for\n{tried}{hint}")
