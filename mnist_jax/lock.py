"""Locks a folder, so that only one process writes to it."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from mnist_jax.errors import UserError


@contextlib.contextmanager
def sole_writer(workdir: Path, name: str = ".lock") -> Iterator[None]:
    """Context manager that holds a folder's lock; the system releases it if the process dies.

    Args:
      workdir: the folder; created if it does not exist.
      name: file name of the lock.

    Raises:
      UserError: another process holds the lock, or the folder cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / name).open("w")
    except OSError as error:
        raise UserError(f"cannot write to {workdir}: {error}; give another --workdir=") from error
    with file:  # closing the file releases the lock
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is writing to {workdir}; wait for it, or give another --workdir="
            ) from error
        yield
