"""Writes and reads one orbax checkpoint, with SHA-256 digests that reveal damage.

A checkpoint holds the state of M networks as a flat dict of arrays `[M, ...]`, and a record (plain
JSON: the rows and clocks of the run). The first word of an array's name, such as
`params/layers/output/kernel`, is its part. Orbax does not notice flipped bits, so the metadata
holds a SHA-256 digest of the record and of each network's share of each array. Whatever is restored
is checked against them. No other module imports orbax.
"""

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mnist_jax import presence, processes, starved
from mnist_jax.errors import UserError, led_to
from mnist_jax.files import refuse_unknown_characters
from mnist_jax.training.record import oddity

SHOWN = 12  # maximum number of differences in a message
TRIES = 2  # to load arrays
FORMAT = 3  # version of the format; 1 had no member axis, 2 held rows as JSON of their own
INDEX = "manifest.ocdbt"  # of the arrays, written last
METADATA = "_CHECKPOINT_METADATA"  # orbax's file; `ocp.metadata` would open every array, too
ORBAX = threading.Lock()  # orbax' operations share state of the process: two at once can hang
Arrays = dict[str, np.ndarray]
Record = dict[str, Any]


class DamagedError(Exception):
    """A checkpoint is damaged and must not be used; the message says how."""


def flatten(state: Any) -> Arrays:
    """Converts a tree of arrays to a flat dict `{"path/to/leaf": array}` on the host."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(state))
    return {path_name(path): np.asarray(leaf) for path, leaf in leaves}


def metadata(arrays: Arrays, record: Record) -> Record:
    """Returns what a checkpoint says of itself: its format, its record, and how to check arrays."""
    return {
        "format": FORMAT,
        "record": record,
        "digests": {name: digests(array) for name, array in arrays.items()},
        "shapes": {name: list(array.shape) for name, array in arrays.items()},
        "dtypes": {name: array.dtype.name for name, array in arrays.items()},
    }


def write(
    folder: Path, step: int, arrays: Arrays, sealed: Record, *, together: bool = False
) -> None:
    """Writes a checkpoint; it has its final name once it is complete.

    Args:
      folder: of the checkpoints; an absolute path, which is created if it does not exist.
      step: names the checkpoint.
      arrays: `[M, ...]`, by name.
      sealed: their `metadata`, which gets a digest of its own.
      together: True if all processes of the run call this with equal arrays.

    Raises:
      OSError: the system refused something that orbax goes on without, or the folder was removed or
        renamed meanwhile; nothing is left behind.
      Exception: whatever orbax raises.
    """
    sealed["seal"] = _seal(sealed)
    path = folder / str(step)
    folder.mkdir(parents=True, exist_ok=True)
    before = os.open(folder, os.O_RDONLY)  # as long as it is open, no other gets its inode
    try:
        with _orbax(together=together) as ocp:
            ocp.save(path, arrays, custom_metadata=sealed)
        if not together or processes.is_first():
            _refuse_moved(path, before)
            _refuse_unmerged(path)
    finally:
        os.close(before)


def _refuse_unmerged(path: Path) -> None:
    """Raises OSError if the index of the arrays is missing, and removes the checkpoint.

    Orbax merges what its processes have written into one index. If it cannot list the folder, it
    takes that for nothing to merge, and the checkpoint for complete.
    """
    try:
        merged = any(presence.is_file(its / INDEX) for its in presence.listed(path))
    except UserError:
        merged = False
    if not merged:
        shutil.rmtree(path, ignore_errors=True)
        raise OSError("its folder could not be listed")


def _refuse_moved(path: Path, before: int) -> None:
    """Raises OSError if its folder is not the one that is open as `before`; removes the checkpoint.

    Orbax makes the folder again where it finds none, and goes on without what it has written.
    """
    if not os.path.samestat(os.fstat(before), path.parent.stat()):
        shutil.rmtree(path, ignore_errors=True)
        raise OSError("its folder was removed or renamed meanwhile")


def load(
    folder: Path, step: int, template: Any, member: int | None = None, *, tries: int = TRIES
) -> tuple[Any, Record]:
    """Loads from a checkpoint the tree of arrays that `template` describes, and the record.

    Args:
      folder: of the checkpoints.
      step: names the checkpoint.
      template: dict of whole parts, each a tree of leaves with shape and dtype. Other parts of the
        checkpoint are not read; within a part, names and shapes must equal those that were saved.
      member: the position of one network, whose arrays are returned without the member axis;
        `None`: all networks, `[M, ...]`.
      tries: as for `read`.

    Raises:
      DamagedError: the checkpoint is incomplete, unreadable, or differs from what was saved.
      UserError: the checkpoint does not fit `template` or has another format, or the system
        refuses to read it.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    axis = 0 if member is not None else 1  # shapes are compared without the member axis
    wanted = {path_name(path): tuple(leaf.shape[axis:]) for path, leaf in leaves}
    arrays, record = read(folder, step, template, member, expected=wanted, tries=tries)
    for name, (_, leaf) in zip(wanted, leaves, strict=True):
        if arrays[name].shape != leaf.shape:
            raise UserError(
                f"checkpoint {folder / str(step)}: {name} holds {len(arrays[name])} networks, "
                f"expected {leaf.shape[0]}"
            )
    return jax.tree_util.tree_unflatten(structure, [arrays[name] for name in wanted]), record


def unflatten(arrays: Arrays, template: Any) -> Any:
    """Returns a tree of the structure of `template` from a flat dict of arrays by name."""
    return jax.tree_util.tree_map_with_path(lambda path, _: arrays[path_name(path)], template)


def read(
    folder: Path,
    step: int,
    parts: Iterable[str],
    member: int | None = None,
    *,
    expected: Mapping[str, tuple[int, ...]] | None = None,
    tries: int = TRIES,
) -> tuple[Arrays, Record]:
    """Reads whole parts of a checkpoint as a flat dict of arrays, and the record.

    Args:
      folder: of the checkpoints.
      step: names the checkpoint.
      parts: the names of the parts, such as `params`.
      member: as for `load`.
      expected: shapes without the member axis, by name, that the parts must have; `None`: any.
      tries: how often to load arrays that cannot be loaded. Where the system refuses to look at a
        file, orbax takes it for missing, without a word of the refusal.

    Raises:
      DamagedError: the checkpoint is incomplete, unreadable, or differs from what was saved.
      UserError: the arrays are not as `expected`, the checkpoint has another format, or the system
        refuses to read it.
    """
    path = folder.resolve() / str(step)
    sealed = _read_seal(path)
    parts = set(parts)
    saved = {
        name: tuple(shape[1:])
        for name, shape in sealed["shapes"].items()
        if name.partition("/")[0] in parts
    }
    if expected is not None:
        refuse_differences(f"checkpoint {path}", saved, expected)
    arrays = _load_arrays(path, {name: sealed["shapes"][name] for name in saved}, sealed, tries)
    for name, array in arrays.items():
        _compare(name, array, sealed["digests"][name], member)
    if member is not None:
        arrays = {name: array[member] for name, array in arrays.items()}
    return arrays, sealed["record"]


def refuse_differences(
    what: str, saved: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Raises UserError unless saved arrays have the names and shapes that a network needs.

    Args:
      what: names the source of the saved arrays in the message.
      saved: shapes of the saved arrays, by name.
      wanted: shapes of the network's arrays, by name.
    """
    lines = [
        f"  {name}: saved {_shape(saved.get(name))}, wanted {_shape(wanted.get(name))}"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name)
    ]
    if len(lines) > SHOWN:
        lines = [*lines[:SHOWN], f"  and {len(lines) - SHOWN} more"]
    if lines:
        raise UserError("\n".join([f"{what} does not fit this network:", *lines]))


def check(folder: Path, step: int, member: int | None = None) -> None:
    """Reads a whole checkpoint and checks all its digests, or those of one member.

    Raises:
      DamagedError: the checkpoint is incomplete, unreadable, or differs from what was saved.
      UserError: the checkpoint has another format, or the system refuses to read it.
    """
    path = folder.resolve() / str(step)
    sealed = _read_seal(path)
    arrays = _load_arrays(path, None, sealed, TRIES)
    missing = sealed["digests"].keys() ^ arrays.keys()
    if missing:
        raise DamagedError(f"arrays do not match the record: {', '.join(sorted(missing))}")
    for name, array in arrays.items():
        _compare(name, array, sealed["digests"][name], member)


@contextlib.contextmanager
def _orbax(*, partial: bool = False, together: bool = False) -> Iterator[Any]:
    """Context manager that gives orbax to one thread at a time.

    Orbax is imported when it is first needed, because the import takes a quarter of a second. It is
    typed as `Any`: its annotations reject plain paths and its own policies.

    Args:
      partial: True to load some of the arrays.
      together: True if all processes of the run take part; else each is on its own.
    """
    ocp = _import_orbax()
    context = ocp.Context()
    context.pytree.loading.partial_load = partial
    # Else threads wait five minutes for a folder that the system has refused to make, and the
    # process waits for them.
    context.async_options.create_directories_asynchronously = False
    if processes.count() > 1 and jax.process_count() > 1:  # else each is alone for orbax
        # They are named even if they are all: else orbax would wait for them in computations on
        # the devices, which must not meet those of the training.
        own = jax.process_index()  # which the platform may number differently
        taking_part = set(range(processes.count())) if together else {own}
        context.multiprocessing.active_processes = taking_part
        context.multiprocessing.primary_host = min(taking_part)
    with ORBAX, context:
        yield ocp


@functools.cache
def _import_orbax() -> Any:
    from orbax.checkpoint import v1

    # After an error, orbax' threads log tracebacks of it, and go on to call a loop that is closed,
    # and asyncio logs the errors of all other arrays: dozens of lines, which would bury the one
    # that says what to do.
    logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
    loud = ("_wrap_awaitable", "tensorstore")
    logging.getLogger("asyncio").addFilter(
        lambda record: not any(word in record.getMessage() for word in loud)
    )
    shown = sys.unraisablehook

    def hook(found: Any) -> None:
        if found.object is not None or str(found.exc_value) != "Event loop is closed":
            shown(found)

    sys.unraisablehook = hook
    return v1


def _read_seal(path: Path) -> Record:
    refuse_unknown_characters(path)
    try:
        if not presence.is_file(path / "commit_success.txt"):
            raise DamagedError("it was not written completely")
        text = (path / METADATA).read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"its metadata is missing: {error}") from error
    except OSError as error:
        raise _refused(path, error) from error
    try:
        sealed = json.loads(text)["custom_metadata"]
        sound = sealed.pop("seal") == _seal(sealed)
    except MemoryError:
        raise
    except Exception as error:
        raise DamagedError(f"its metadata cannot be read: {root_cause(error)}") from error
    if not sound:
        raise DamagedError("its record does not match the record's digest")
    if sealed.get("format", 1) != FORMAT:
        raise UserError(
            f"checkpoint {path} has format {sealed.get('format', 1)}, this version of mnist_jax "
            f"reads format {FORMAT}. Use the version that wrote it (its commit is in "
            f"result.json), or train again into another --workdir="
        )
    if odd := oddity(sealed):
        raise DamagedError(odd)
    step = sealed["record"]["step"]
    if str(step) != path.name:
        raise DamagedError(f"it holds step {step}; was the folder renamed?")
    return sealed


def _load_arrays(
    path: Path, shapes: Mapping[str, Any] | None, sealed: Record, tries: int
) -> Arrays:
    """Loads the arrays that `shapes` names, or all arrays if it is `None`."""
    for _ in range(tries - 1):
        with contextlib.suppress(DamagedError):
            return _load_once(path, shapes, sealed)
    return _load_once(path, shapes, sealed)


def _load_once(path: Path, shapes: Mapping[str, Any] | None, sealed: Record) -> Arrays:
    try:
        with _orbax(partial=shapes is not None) as ocp:
            if shapes is None:
                return ocp.load(path)
            dtypes = sealed["dtypes"]
            return ocp.load(path, {n: np.empty(s, dtypes[n]) for n, s in shapes.items()})
    except Exception as error:
        if lack := starved.shortage(error):
            problem = f"checkpoint {path} cannot be read: {starved.explained(lack)}"
            raise UserError(problem) from error
        if any(map(_is_refusal, led_to(error))):
            raise _refused(path, error) from error
        _refuse_unreadable_files(path)
        raise DamagedError(f"cannot be read: {root_cause(error)}") from error


def _is_refusal(error: BaseException) -> bool:
    """True if the system has refused an operation, other than for a missing file."""
    code = re.search(r"os_error_code='(\d+)'", str(error))  # of orbax' C++
    number = int(code[1]) if code else error.errno if isinstance(error, OSError) else None
    return number not in (None, errno.ENOENT)


def _refuse_unreadable_files(path: Path) -> None:
    """Raises UserError if the system refuses to read a file, which orbax's errors do not show."""

    def refused(error: OSError) -> None:
        raise error

    try:
        for folder, _, files in os.walk(path, onerror=refused):
            for name in files:
                Path(folder, name).read_bytes()
    except FileNotFoundError:  # it is being removed
        return
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: BaseException) -> UserError:
    return UserError(
        f"the system refuses to read checkpoint {path}: {root_cause(error)}. It may be sound, so "
        f"it was not touched. Check the disk and the permissions, then run the same command again"
    )


def _compare(name: str, array: np.ndarray, expected: list[str], member: int | None) -> None:
    found = digests(array)
    if len(found) != len(expected):
        raise DamagedError(f"{name}: holds {len(found)} members, {len(expected)} were saved")
    for i, (now, then) in enumerate(zip(found, expected, strict=True)):
        if now != then and member in (None, i):
            raise DamagedError(f"{name}, member {i}: SHA-256 is {now}, was {then} when saved")


def digests(array: np.ndarray) -> list[str]:
    """Returns the SHA-256 of each member's share of an array `[M, ...]`, with dtype and shape."""
    shares = np.ascontiguousarray(array)
    header = f"{shares.dtype.str}{shares.shape[1:]}".encode()
    return [hashlib.sha256(header + share.tobytes()).hexdigest() for share in shares]


def _seal(sealed: Record) -> str:
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


def path_name(path: Any) -> str:
    """Converts JAX's path of a leaf to a name such as `path/to/leaf`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(shape)


def root_cause(error: BaseException) -> str:
    """Describes an error's first cause, which orbax hides behind a long general message."""
    while error.__cause__ is not None:
        error = error.__cause__
    if code := re.search(r"os_error_code='(\d+)'", str(error)):  # of orbax' C++
        return os.strerror(int(code[1]))
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:300]
