"""Checkpoints that can be trusted: orbax underneath, digests on top. Nothing else imports orbax.

A checkpoint holds the state of M networks as a flat dict of arrays `[M, ...]`, by names such as
`params/layers/output/kernel` whose first word is the part, and a record (plain JSON: the rows and
clocks of the run). Orbax loads a flipped bit in silence, so the SHA-256 of each network's share of
each array, and of the record, goes into the metadata and is checked at every restore.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mnist_jax.errors import UserError

SHOWN = 12  # differences between two networks
FORMAT = 2  # of what is written here; 1 had no axis of members
METADATA = "_CHECKPOINT_METADATA"  # orbax' own file; `ocp.metadata` opens every array besides
Arrays = dict[str, np.ndarray]
Record = dict[str, Any]


class DamagedError(Exception):
    """A checkpoint that must not be used; the text says why."""


class Checkpoints:
    """The one writer of a folder of checkpoints."""

    def __init__(self, folder: Path, *, keep_latest: int) -> None:
        self.folder = folder.resolve()  # orbax refuses relative paths
        self._keep_latest = keep_latest
        self._orbax: Any = None  # made at the first save: the first step need not wait for it
        self._pending: Any = None
        self._pending_step = -1
        with self._usable():
            self.folder.mkdir(parents=True, exist_ok=True)

    def _checkpointer(self) -> Any:
        if self._orbax is None:
            ocp = _import_orbax()
            with self._usable():
                self._orbax = ocp.training.Checkpointer(
                    self.folder,
                    save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                    preservation_policy=ocp.training.preservation_policies.LatestN(
                        self._keep_latest
                    ),
                    cleanup_tmp_directories=True,
                )
        return self._orbax

    def save(self, state: Any, step: int, record: Record) -> None:
        """Writes a checkpoint while the program goes on; the next call waits for it.

        Args:
          state: dict of parts, each a tree of arrays `[M, ...]`.
          step: names the checkpoint.
          record: plain JSON.

        Raises:
          UserError: this or the previous checkpoint could not be written.
        """
        self.wait()
        arrays = flatten(state)
        sealed = {
            "format": FORMAT,
            "record": record,
            "digests": {name: digests(array) for name, array in arrays.items()},
            "shapes": {name: list(array.shape) for name, array in arrays.items()},
            "dtypes": {name: array.dtype.name for name, array in arrays.items()},
        }
        sealed["seal"] = _seal(sealed)
        sealed = json.loads(json.dumps(sealed))  # a copy: it is written while training goes on
        with self._explained(step):
            self._pending_step = step
            self._pending = self._checkpointer().save_async(step, arrays, custom_metadata=sealed)
            if self._pending is None:
                raise OSError("orbax declined; is there a later checkpoint in the folder?")

    def wait(self) -> None:
        """Returns once the checkpoint being written is on disk."""
        if self._pending is None:
            return
        with self._explained(self._pending_step):
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Waits, then lets go of the folder."""
        try:
            self.wait()
        finally:
            orbax, self._orbax = self._orbax, None
            if orbax is not None:
                with self._explained(self._pending_step):
                    orbax.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"cannot keep checkpoints in {self.folder}: {error}") from error

    @contextlib.contextmanager
    def _explained(self, step: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            good = [s for s in steps(self.folder) if s != step]
            raise UserError(
                f"could not write checkpoint {step} in {self.folder}: {_root(error)}; "
                f"the last one on disk is {good[-1] if good else 'none'}. "
                f"See to the disk, then run the same command again"
            ) from error


def steps(folder: Path) -> list[int]:
    """The steps that have a folder, oldest first, whatever is in it.

    Raises:
      UserError: the system refuses to list them.
    """
    if not folder.is_dir():
        return []
    try:
        names = [path.name for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise UserError(f"the system refuses to list {folder}: {error}") from error
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def flatten(state: Any) -> Arrays:
    """A tree as `{"path/to/leaf": array}`, on the host."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(state))
    return {path_name(path): np.asarray(leaf) for path, leaf in leaves}


def load(folder: Path, step: int, template: Any, member: int | None = None) -> tuple[Any, Record]:
    """The tree that `template` describes, from one checkpoint, and its record.

    Args:
      folder: of the checkpoints.
      step: which.
      template: dict of whole parts, trees of anything with shape and dtype. Other parts of the
        checkpoint are left out; within a part, names and shapes must be those that were saved.
      member: the position of one network, whose arrays are returned without the axis of members;
        `None`: all of them, `[M, ...]`.

    Raises:
      DamagedError: unfinished, unreadable, or not what was saved.
      UserError: sound, but of another network or format than `template`; or the system refuses to
        read it.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    axis = 0 if member is not None else 1  # the axis of members is not the network's
    wanted = {path_name(path): tuple(leaf.shape[axis:]) for path, leaf in leaves}
    arrays, record = read(folder, step, template, member, expected=wanted)
    for name, (_, leaf) in zip(wanted, leaves, strict=True):
        if arrays[name].shape != leaf.shape:
            raise UserError(
                f"checkpoint {folder / str(step)}: {name} holds {len(arrays[name])} networks, "
                f"{leaf.shape[0]} are wanted"
            )
    return jax.tree_util.tree_unflatten(structure, [arrays[name] for name in wanted]), record


def read(
    folder: Path,
    step: int,
    parts: Iterable[str],
    member: int | None = None,
    *,
    expected: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Arrays, Record]:
    """Whole parts of a checkpoint by the names that were saved, and the record.

    Args:
      folder: of the checkpoints.
      step: which.
      parts: their names, such as `params`.
      member: as for `load`.
      expected: names and shapes, without the axis of members, that the parts must have; anything
        goes where it is `None`.

    Raises:
      DamagedError: unfinished, unreadable, or not what was saved.
      UserError: sound, but not as `expected` or of another format; or the system refuses to read.
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
    arrays = _load_arrays(path, {name: sealed["shapes"][name] for name in saved}, sealed)
    for name, array in arrays.items():
        _compare(name, array, sealed["digests"][name], member)
    if member is not None:
        arrays = {name: array[member] for name, array in arrays.items()}
    return arrays, sealed["record"]


def refuse_differences(
    what: str, saved: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Raises UserError unless two networks have the same arrays, by name and shape.

    Args:
      what: holds the arrays that were saved, for the message.
      saved: shapes by name.
      wanted: shapes by name, of the network that is to have them.
    """
    lines = [
        f"  {name}: saved {_shape(saved.get(name))}, wanted {_shape(wanted.get(name))}"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name)
    ]
    if len(lines) > SHOWN:
        lines = [*lines[:SHOWN], f"  and {len(lines) - SHOWN} more"]
    if lines:
        raise UserError("\n".join([f"{what} is of another network:", *lines]))


def check(folder: Path, step: int, member: int | None = None) -> None:
    """Reads the whole checkpoint and compares every digest, or those of one member.

    Raises:
      DamagedError: says what is wrong.
      UserError: it is of another format, or the system refuses to read it.
    """
    path = folder.resolve() / str(step)
    sealed = _read_seal(path)
    arrays = _load_arrays(path, None, sealed)
    missing = sealed["digests"].keys() ^ arrays.keys()
    if missing:
        raise DamagedError(f"arrays do not match the record: {', '.join(sorted(missing))}")
    for name, array in arrays.items():
        _compare(name, array, sealed["digests"][name], member)


def newest_sound(
    folder: Path, template: Any, *, set_aside: bool, member: int | None = None
) -> tuple[Any, Record, int] | None:
    """`(tree, record, step)` of the newest checkpoint that is sound, or `None` where none is.

    Each damaged one on the way is named on standard error; with `set_aside` it is also renamed to
    `<step>.damaged`, so that it is not met again. Only missing files, wrong digests and unreadable
    content are damage: what the system refuses to read is an error, and nothing is renamed.
    """
    for step in reversed(steps(folder)):
        try:
            return *load(folder, step, template, member), step
        except DamagedError as error:
            note = f"; set aside as {_set_aside(folder, step)}" if set_aside else ""
            print(
                f"warning: checkpoint {folder / str(step)} is damaged: {error}{note}",
                file=sys.stderr,
                flush=True,
            )
    return None


def verify(folder: Path, member: int | None = None) -> Iterator[tuple[int, str]]:
    """`(step, problem)` for each checkpoint; an empty problem means sound."""
    for step in steps(folder):
        try:
            check(folder, step, member)
            yield step, ""
        except DamagedError as error:
            yield step, str(error)


def _import_orbax() -> Any:
    """Orbax, where a checkpoint is written or read and not before: it takes a quarter of a second.

    Untyped, for its annotations refuse plain paths and its own policies.
    """
    from orbax.checkpoint import v1

    return v1


def _read_seal(path: Path) -> Record:
    try:
        if not (path / "commit_success.txt").is_file():
            raise DamagedError("it was not written to its end")
        text = (path / METADATA).read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"its metadata is missing: {error}") from error
    except OSError as error:
        raise _refused(path, error) from error
    try:
        sealed = json.loads(text)["custom_metadata"]
        sound = sealed.pop("seal") == _seal(sealed)
    except Exception as error:
        raise DamagedError(f"its metadata cannot be read: {_root(error)}") from error
    if not sound:
        raise DamagedError("its record does not match the record's digest")
    if sealed.get("format", 1) != FORMAT:
        raise UserError(
            f"checkpoint {path} has format {sealed.get('format', 1)}, this version of mnist_jax "
            f"reads format {FORMAT}. Go on with the version that wrote it (its commit is in "
            f"result.json), or train again into another --workdir="
        )
    return sealed


def _load_arrays(path: Path, shapes: Mapping[str, Any] | None, sealed: Record) -> Arrays:
    """Arrays by name and shape, or all there are where `shapes` is None."""
    ocp = _import_orbax()
    context = ocp.Context()
    context.pytree.loading.partial_load = shapes is not None
    try:
        with context:
            if shapes is None:
                return ocp.load(path)
            dtypes = sealed["dtypes"]
            return ocp.load(path, {n: np.empty(s, dtypes[n]) for n, s in shapes.items()})
    except (OSError, MemoryError) as error:
        if not isinstance(error, FileNotFoundError):
            raise _refused(path, error) from error
        raise DamagedError(f"cannot be read: {_root(error)}") from error
    except Exception as error:
        _refuse_unreadable_files(path)
        raise DamagedError(f"cannot be read: {_root(error)}") from error


def _refuse_unreadable_files(path: Path) -> None:
    """Raises UserError where the system refuses to read a file; orbax names no reason."""
    try:
        for file in path.rglob("*"):
            if file.is_file():
                file.read_bytes()
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: BaseException) -> UserError:
    return UserError(
        f"the system refuses to read checkpoint {path}: {_root(error)}. It may be sound, so it was "
        f"not touched. See to the disk or the permissions, then run the same command again"
    )


def _compare(name: str, array: np.ndarray, expected: list[str], member: int | None) -> None:
    found = digests(array)
    if len(found) != len(expected):
        raise DamagedError(f"{name}: holds {len(found)} members, {len(expected)} were saved")
    for i, (now, then) in enumerate(zip(found, expected, strict=True)):
        if now != then and member in (None, i):
            raise DamagedError(f"{name}, member {i}: SHA-256 is {now}, was {then} when saved")


def digests(array: np.ndarray) -> list[str]:
    """The SHA-256 of each member's share of an array `[M, ...]`, its type and shape included."""
    shares = np.ascontiguousarray(array)
    header = f"{shares.dtype.str}{shares.shape[1:]}".encode()
    return [hashlib.sha256(header + share.tobytes()).hexdigest() for share in shares]


def _seal(sealed: Record) -> str:
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


def _set_aside(folder: Path, step: int) -> str:
    taken = len(list(folder.glob(f"{step}.damaged*")))
    name = f"{step}.damaged" + (f"-{taken}" if taken else "")
    (folder / str(step)).rename(folder / name)
    return name


def path_name(path: Any) -> str:
    """The name of a leaf, `path/to/leaf`, from its path in JAX' words."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(shape)


def _root(error: BaseException) -> str:
    """The first cause: orbax hides it behind a long general message."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:300]
