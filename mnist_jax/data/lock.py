"""One process at a time prepares a data set; the lock dies with its holder."""

import contextlib
import fcntl
import sys
from collections.abc import Iterator

from mnist_jax.data.catalog import Dataset, own_dir
from mnist_jax.errors import UserError


@contextlib.contextmanager
def exclusive(dataset: Dataset) -> Iterator[None]:
    """Hold the data set's lock; wait for another process that does, and say so on stderr.

    Raises UserError where the data directory cannot be written.
    """
    path = own_dir() / f"{dataset.label}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as err:
        raise UserError(
            f"{dataset.name} has no whole cache, and {path.parent} cannot be written: {err}. "
            "Set TFDS_DATA_DIR to a folder that can be written."
        ) from err
    with file:  # closing it gives the lock back
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"another process prepares {dataset.name} (lock {path}); waiting for it",
                file=sys.stderr,
                flush=True,
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
