"""Checks that all processes of a run see the same folder, as they write one run together."""

import secrets
import time
from pathlib import Path

from mnist_jax import processes
from mnist_jax.errors import UserError
from mnist_jax.files import reason, writing

NAME = ".processes"
SEEN_WITHIN = 90  # seconds; NFS shows a new file within 60


def refuse_unshared(workdir: Path) -> None:
    """Raises UserError unless all processes see the file that the first one writes there."""
    path = workdir / NAME

    def write() -> str:
        word = secrets.token_hex(8)
        with writing(path):
            path.write_text(word)
        return word

    word = processes.decided("the look at the workdir", write)
    try:
        _wait_for(word, path)
        processes.barrier("the look at the workdir, seen")
    finally:
        if processes.is_first():
            path.unlink(missing_ok=True)


def _wait_for(word: str, path: Path) -> None:
    started = time.monotonic()
    while (found := _compared(path, word)) is not None:
        if time.monotonic() - started > SEEN_WITHIN:
            raise UserError(
                f"--workdir={path.parent} is not the same folder in process {processes.index()} as "
                f"in process 0: the {NAME} that process 0 has written there is missing in "
                f"{path.resolve().parent}{found}; give a folder on a file system that all hosts "
                "share, such as NFS or Lustre"
            )
        time.sleep(0.1)


def _compared(path: Path, word: str) -> str | None:
    """Returns `None` if a file holds a word, else why it cannot be read, if that is so."""
    try:
        return None if path.read_text() == word else ""
    except OSError as error:
        return f" ({reason(error)} here)"
