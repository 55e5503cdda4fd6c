"""Imports that do without a package which a library would use wherever it finds it."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Inside, importing these packages fails as if they were not installed.

    For a library that imports a large package for the sake of what this project does not use: None
    in `sys.modules` is Python's own sign for it (https://docs.python.org/3/reference/import.html,
    "The module cache"). A package that is imported already stays.
    """
    modules: Any = sys.modules
    hidden = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            modules.pop(name, None)
