"""Locks a folder, so that only one process writes to it."""

import contextlib
import errno
import fcntl
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from mnist_jax.errors import UserError, print_warning
from mnist_jax.files import reason, refuse_unknown_characters

POLL = 0.2  # seconds between two looks at a lock
HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # by another process
# On this file system. NFS has no lock of a file that is only read (EBADF, as flock(2) says).
NO_LOCKS = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.EINVAL,
    errno.EBADF,
)


@contextlib.contextmanager
def sole_writer(
    workdir: Path, name: str = ".lock", *, waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Context manager that holds a folder's lock; the system releases it if the process dies.

    Args:
      workdir: the folder; created if it does not exist.
      name: file name of the lock.
      waiting: called again and again while somebody else holds the lock, which is waited for; it
        may raise. None: not to wait.

    Raises:
      UserError: somebody else holds the lock, or the folder cannot be written, or named.
    """
    refuse_unknown_characters(workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / name).open("w")
    except OSError as error:
        raise UserError(f"cannot write to {workdir}: {error}; give another --workdir=") from error
    with released(file):
        if waiting is not None and not acquired(file):
            print(f"waiting for another process that writes to {workdir}", flush=True)
            while not acquired(file):
                waiting()
                time.sleep(POLL)
        elif waiting is None and not acquired(file):
            raise UserError(
                f"another process (or another thread of this one) is writing to {workdir}; wait "
                "for it, or give another --workdir="
            )
        yield


@contextlib.contextmanager
def released(file: IO[str]) -> Iterator[None]:
    """Context manager that closes a file in the end, which releases its lock.

    An error then loses nothing, since the file is empty, and the system has released the lock.
    """
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.close()


def acquired(file: IO[str], *, wait: bool = False) -> bool:
    """Locks a file; returns False if somebody else holds its lock.

    Some file systems (NFS, mounted drives) have no locks. There a warning is printed, and the
    process goes on as if it were alone.

    Args:
      file: the open file; closing it releases the lock.
      wait: True to wait for whoever holds the lock.

    Raises:
      UserError: the system refuses, so that somebody else may hold the lock.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in HELD:
            return False
        if error.errno not in NO_LOCKS:
            raise UserError(
                f"cannot lock {file.name}: {reason(error)}, so another process may be writing "
                "there. Check the disk, then run the same command again"
            ) from error
        _warn_of_no_locks(str(Path(file.name).parent), error.strerror)
    return True


@functools.cache  # one warning for each folder
def _warn_of_no_locks(folder: str, why: str) -> None:
    print_warning(
        f"{folder} cannot be locked ({why}); make sure that no other process writes to it"
    )
