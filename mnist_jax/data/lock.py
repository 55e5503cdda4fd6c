"""A file lock that lets only one process at a time prepare a data set."""

import contextlib
import sys
from collections.abc import Iterator

from mnist_jax.data.catalog import Dataset, own_dir
from mnist_jax.errors import UserError
from mnist_jax.lock import acquired, released
from mnist_jax.presence import exists


@contextlib.contextmanager
def exclusive(dataset: Dataset) -> Iterator[None]:
    """Holds the data set's lock, after waiting for any other process that holds it.

    The wait is reported on standard error. The operating system releases the lock if the process
    dies.

    Raises:
      UserError: the data directory is not writable.
    """
    path = own_dir() / f"{dataset.label}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("w")
        except PermissionError:
            if not exists(path):
                raise
            file = path.open()  # another user's, whose lock can be held all the same
    except OSError as error:
        raise UserError(
            f"{path.parent} is not writable, and holds no valid cache of {dataset.name}: {error}. "
            "Set TFDS_DATA_DIR to a writable folder"
        ) from error
    with released(file):
        if not acquired(file):
            print(
                f"another process holds {path} to prepare {dataset.name}; waiting for it",
                file=sys.stderr,
            )
            acquired(file, wait=True)
        yield
