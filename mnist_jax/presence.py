"""Says what is at a path, or refuses to if the system does not tell.

`Path.exists` and `Path.glob` take some errors of a disk for "nothing is there" (from Python 3.14 on
all of them), and a training that believes that starts anew over what it did not see.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mnist_jax.errors import UserError
from mnist_jax.files import reason


def exists(path: Path) -> bool:
    """True if there is a file or a folder of this name.

    Raises:
      UserError: the system does not tell.
    """
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """True if there is a file of this name; raises as `exists` does."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_folder(path: Path) -> bool:
    """True if there is a folder of this name; raises as `exists` does."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def listed(folder: Path) -> list[Path]:
    """Returns what is in a folder, sorted by name; nothing if there is no such folder.

    Raises:
      UserError: the system refuses to list it.
    """
    with _explained("list", folder):
        try:
            return sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def _mode(path: Path) -> int | None:
    """Returns the kind and the permissions of what is at a path; None if nothing is there."""
    with _explained("look at", path):
        try:
            return os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None


@contextlib.contextmanager
def _explained(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the system refuses to {what} {path}: {reason(error)}. "
            "Check the disk and the permissions, then run the same command again"
        ) from error
