"""Writes checkpoints to a folder, finds the newest sound one, and sets damaged ones aside."""

import concurrent.futures
import copy
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mnist_jax import processes, starved
from mnist_jax.errors import UserError, print_warning
from mnist_jax.files import writing
from mnist_jax.presence import exists, is_folder, listed
from mnist_jax.training import checkpoint, memory
from mnist_jax.training.checkpoint import Arrays, DamagedError, Record, root_cause

UNFINISHED = ".orbax-checkpoint-tmp"  # orbax's suffix of a checkpoint while it is being written
REMOVED = ".removed"  # suffix of a checkpoint that is being deleted
Found = TypeVar("Found")


class Checkpoints:
    """Writes checkpoints to a folder in a thread; there may be only one writer per folder."""

    def __init__(self, folder: Path, *, keep_latest: int, together: bool = False) -> None:
        """Creates the folder, or removes from it what a process that was killed would have removed.

        Damaged checkpoints must have been set aside, else they count among those that are kept.

        Args:
          folder: of the checkpoints.
          keep_latest: number of checkpoints to keep.
          together: True if all processes of the run write each checkpoint together, with the
            record of the first one; each calls the same methods.

        Raises:
          UserError: the folder cannot be written.
        """
        self.folder = folder.resolve()  # orbax refuses relative paths
        self._keep_latest = keep_latest
        self._together = together
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")
        self._pending: concurrent.futures.Future[None] | None = None
        self._pending_step = -1
        memory.share_arenas()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write checkpoints to {self.folder}: {error}") from error
        if not together or processes.is_first():
            self._prune()  # there may be nothing left to save, if it was killed at the end

    def save(self, state: Any, step: int, record: Record) -> None:
        """Writes a checkpoint asynchronously; the next call waits until it is on disk.

        Several processes wait at once.

        Args:
          state: dict of parts, each a tree of arrays `[M, ...]`.
          step: number of steps done, which names the checkpoint.
          record: plain JSON, whose lists may change afterwards.

        Raises:
          UserError: the previous checkpoint could not be written; of several processes, this one.
        """
        self.wait()
        flat = checkpoint.flatten(state)
        arrays = {name: np.array(array) for name, array in flat.items()}  # copies
        metadata = checkpoint.metadata(arrays, copy.deepcopy(record))
        self._pending_step = step
        if not self._together:
            self._pending = self._thread.submit(self._write, step, arrays, metadata)
            return
        # Not in a thread: orbax lets processes agree by a computation on the devices, which must
        # come in the same order as those of the training in all of them.
        self._pending = concurrent.futures.Future()
        try:
            self._write(step, arrays, metadata)
            self._pending.set_result(None)
        except Exception as error:
            self._pending.set_exception(error)
        self.wait()

    def _write(self, step: int, arrays: Arrays, metadata: Record) -> None:
        if self._together and not processes.is_first():
            checkpoint.write(self.folder, step, arrays, metadata, together=True)
            return
        there = steps(self.folder)
        if there and step <= there[-1]:
            raise OSError(f"the folder holds a later checkpoint, {there[-1]}")
        checkpoint.write(self.folder, step, arrays, metadata, together=self._together)
        self._prune()

    def _prune(self) -> None:
        """Deletes what was never finished or wholly deleted, and all but the newest checkpoints.

        Raises:
          UserError: the system refuses to rename one.
        """
        # What a process that was killed has left, if the system lists the folder.
        for path in [*self.folder.glob(f"*{REMOVED}"), *self.folder.glob(f"*{UNFINISHED}*")]:
            shutil.rmtree(path, ignore_errors=True)
        for old in steps(self.folder)[: -self._keep_latest]:
            path = self.folder / str(old)
            removed = path.with_suffix(REMOVED)
            with writing(path):
                path.rename(removed)  # a reader finds all of its files or none
            shutil.rmtree(removed, ignore_errors=True)

    def wait(self) -> None:
        """Waits until the checkpoint being written is on disk.

        Raises:
          UserError: it could not be written, or an older one could not be removed.
        """
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        step = self._pending_step
        try:
            pending.result()
        except UserError:  # about another checkpoint, or the folder; it says so
            raise
        except Exception as error:
            good = [s for s in steps(self.folder) if s != step]
            last = f"the last one on disk is {good[-1] if good else 'none'}"
            what = f"could not write checkpoint {step} in {self.folder}"
            if lack := starved.shortage(error):
                raise UserError(f"{what}; {last}; {starved.explained(lack)}") from error
            raise UserError(
                f"{what}: {root_cause(error)}; {last}. Check the disk, then run the same command "
                f"again"
            ) from error

    def close(self) -> None:
        """Waits until the checkpoint being written is on disk, and ends the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def steps(folder: Path) -> list[int]:
    """Returns the steps of all checkpoints, oldest first, including those that are damaged.

    Raises:
      UserError: the system refuses to list the folder.
    """
    names = [path.name for path in listed(folder) if is_folder(path)]
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def newest_first(
    folder: Path, read: Callable[[int], Found]
) -> Iterator[tuple[int, Found | DamagedError]]:
    """Yields each checkpoint's step with what `read(step)` returns, or with how it is damaged.

    The writer of the folder may be at work: a checkpoint that it removes meanwhile is left out, and
    those that it adds are read.

    Raises:
      UserError: as `read` does.
    """
    tried: set[int] = set()
    while left := [step for step in steps(folder) if step not in tried]:
        step = left[-1]
        tried.add(step)
        yield from _found(folder, step, read)


def oldest_first(
    folder: Path, read: Callable[[int], Found]
) -> Iterator[tuple[int, Found | DamagedError]]:
    """Yields each checkpoint's step with what `read(step)` returns, or with how it is damaged.

    A checkpoint that the writer of the folder removes meanwhile is left out. If it removes all,
    those that it has added are read.

    Raises:
      UserError: as `read` does.
    """
    last = -1
    found = False
    while not found and (left := [step for step in steps(folder) if step > last]):
        for last in left:
            for both in _found(folder, last, read):
                found = True
                yield both


def _found(
    folder: Path, step: int, read: Callable[[int], Found]
) -> Iterator[tuple[int, Found | DamagedError]]:
    """Yields a checkpoint's step with what `read` returns; nothing if it is removed meanwhile."""
    try:
        found = read(step)
    except (DamagedError, UserError) as error:
        if not is_folder(folder / str(step)):
            return
        if isinstance(error, UserError):
            raise
        found = error
    yield step, found


def newest_sound(
    folder: Path, template: Any, *, set_aside: bool, member: int | None = None
) -> tuple[Any, Record, int] | None:
    """Loads the newest sound checkpoint as `(tree, record, step)`; returns `None` if there is none.

    Warns on standard error of each damaged checkpoint that it skips. With `set_aside`, it also
    renames them to `<step>.damaged`, so that they are not tried again. Only missing files, wrong
    digests and unreadable content count as damage. A checkpoint that another process removes
    meanwhile is not damaged.

    Raises:
      UserError: a checkpoint does not fit `template` or has another format, or the system refuses
        to read it; that checkpoint is not renamed.
    """
    for step, found in newest_first(
        folder, lambda step: checkpoint.load(folder, step, template, member)
    ):
        if not isinstance(found, DamagedError):
            return *found, step
        if set_aside:
            put_aside(folder, step, str(found))
        else:
            warn_of_damage(folder, step, found)
    return None


def put_aside(folder: Path, step: int, problem: str) -> None:
    """Renames a damaged checkpoint, so that it is not tried again, and prints a warning.

    Raises:
      UserError: the system refuses to rename it.
    """
    names = itertools.chain(
        [f"{step}.damaged"], (f"{step}.damaged-{n}" for n in itertools.count(1))
    )
    name = next(name for name in names if not exists(folder / name))
    with writing(folder / name):
        (folder / str(step)).rename(folder / name)
    warn_of_damage(folder, step, f"{problem}; set aside as {name}")


def warn_of_damage(folder: Path, step: int, problem: DamagedError | str) -> None:
    """Prints a warning that a checkpoint is damaged."""
    print_warning(f"checkpoint {folder / str(step)} is damaged: {problem}")


def verify(folder: Path, member: int | None = None) -> Iterator[tuple[int, str]]:
    """Yields `(step, problem)` for each, oldest first; the problem of a sound one is empty."""
    for step, found in oldest_first(folder, lambda step: checkpoint.check(folder, step, member)):
        yield step, "" if found is None else str(found)
