"""Finds the user's folders for caches and data, or a temporary folder instead.

A container may run under a user id without a home, or with one that cannot be written.
"""

import functools
import os
import tempfile
from pathlib import Path

from mnist_jax.errors import UserError, print_warning
from mnist_jax.presence import is_folder


def caches() -> Path:
    """Returns the folder for caches, `$XDG_CACHE_HOME` or `~/.cache`, or one that can be written.

    A value that is not absolute is invalid
    (https://specifications.freedesktop.org/basedir-spec/latest/).
    """
    given = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _usable(given) or _instead(given, "XDG_CACHE_HOME")


def data() -> Path:
    """Returns `~/tensorflow_datasets`, or a temporary folder if that cannot be made."""
    given = "~/tensorflow_datasets"
    there = _expanded(given)
    if there is not None and _is_there(there):  # perhaps read-only, with all that is needed in it
        return there
    return _usable(given) or _instead(given, "TFDS_DATA_DIR") / "tensorflow_datasets"


def _is_there(path: Path) -> bool:
    """True if there is a folder; False if this user may not look."""
    try:
        return is_folder(path)
    except UserError as error:
        if isinstance(error.__cause__, PermissionError):
            return False
        raise


def _usable(given: str) -> Path | None:
    """Returns the folder, made if it did not exist; None if it cannot be written."""
    path = _expanded(given)
    if path is None:
        return None
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.R_OK | os.W_OK | os.X_OK) else None


def _expanded(given: str) -> Path | None:
    """Returns the path with `~` replaced; None if it is not absolute, or there is no home."""
    try:
        path = Path(given).expanduser()
    except RuntimeError:
        return None
    return path if path.is_absolute() else None


@functools.cache  # one warning for each folder
def _instead(given: str, variable: str) -> Path:
    """Returns a temporary folder of this user, and says that it takes the place of `given`.

    Raises:
      UserError: there is no folder for temporary files.
    """
    folder = _temporary()
    print_warning(
        f"{given} cannot be used as a folder; {folder} takes its place. "
        f"Set {variable} to a writable folder",
    )
    return folder


def _temporary() -> Path:
    """Returns a folder for temporary files that belongs to this user alone.

    What is in it is trusted (compiled programs are run), hence a new one if somebody else made it.
    """
    try:
        folder = Path(tempfile.gettempdir(), f"mnist_jax-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return Path(tempfile.mkdtemp(prefix="mnist_jax-"))
    except OSError as error:
        raise UserError(
            f"there is no folder for temporary files: {error}. Set TMPDIR to a writable folder"
        ) from error
    return folder
