"""One writer per folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from mnist_jax.errors import UserError


@contextlib.contextmanager
def sole_writer(workdir: Path, name: str = ".lock") -> Iterator[None]:
    """Holds the workdir's lock, which dies with its process.

    Raises:
      UserError: another process holds it, or the folder cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / name).open("w")
    except OSError as error:
        raise UserError(f"cannot write to {workdir}: {error}; give another --workdir=") from error
    with file:  # closing it gives the lock back
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is writing {workdir}; wait for it, or give another --workdir="
            ) from error
        yield
