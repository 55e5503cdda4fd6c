"""Imports optional packages, and hides them from libraries that would import them for nothing."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from mnist_jax.errors import UserError


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Context manager in which importing these packages fails as if they were not installed.

    It saves the time that a library spends on importing a large package which this project does not
    need. Python refuses to import a name whose value in `sys.modules` is None
    (https://docs.python.org/3/reference/import.html, "The module cache"). A package that is already
    imported stays available.
    """
    modules: Any = sys.modules
    hidden = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            modules.pop(name, None)


def extra(module: str, name: str) -> Any:
    """Imports and returns a module that an extra of this package installs.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(
            f"{package} cannot be imported ({error}); install it: pip install '.[{name}]'"
        ) from error
