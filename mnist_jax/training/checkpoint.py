"""Checkpoints that can be trusted: orbax underneath, digests on top. Nothing else imports orbax.

A checkpoint is a flat dict of arrays, `{"params/layers/output/kernel": ...}`, and a record (plain
JSON: the history and clocks of the run). Orbax loads a flipped bit in silence, so the SHA-256 of
each array, and of the record, goes into the metadata and is checked at every restore.
"""

import contextlib
import functools
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mnist_jax.errors import UserError

Arrays = dict[str, np.ndarray]
Record = dict[str, Any]


class DamagedError(Exception):
    """A checkpoint that must not be used; the text says why."""


class Checkpoints:
    """The one writer of a folder of checkpoints."""

    def __init__(self, folder: Path, *, keep_latest: int, keep_best: int) -> None:
        self.folder = folder.resolve()  # orbax refuses relative paths
        self._keep_latest, self._keep_best = keep_latest, keep_best
        self._pending: Any = None
        self._pending_step = -1
        with self._usable():
            self.folder.mkdir(parents=True, exist_ok=True)

    @functools.cached_property
    def _orbax(self) -> Any:
        """Made at the first save, so that the first step need not wait for the import."""
        ocp = _import_orbax()
        policies = ocp.training.preservation_policies
        keep = [policies.LatestN(self._keep_latest)]
        if self._keep_best > 0:  # best alone would evict the latest
            keep.append(policies.BestN(get_metric_fn=lambda m: m["rank"], n=self._keep_best))
        with self._usable():
            return ocp.training.Checkpointer(
                self.folder,
                save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                preservation_policy=policies.AnyPreservationPolicy(keep),
                cleanup_tmp_directories=True,
            )

    def save(self, state: Any, step: int, record: Record, rank: float | None = None) -> None:
        """Writes a checkpoint behind the program's back; the next call waits for it.

        Args:
          state: tree of arrays.
          step: names the checkpoint.
          record: plain JSON.
          rank: higher is better; NaN and `None` rank last.

        Raises:
          UserError: this or the previous checkpoint could not be written.
        """
        self.wait()
        arrays = flatten(state)
        rank = -1.0 if rank is None or not np.isfinite(rank) else float(rank)
        record = record | {"rank": rank}
        sealed = {
            "record": record,
            "digests": {name: _digest(array) for name, array in arrays.items()},
            "shapes": {name: list(array.shape) for name, array in arrays.items()},
        }
        sealed["seal"] = _seal(sealed)
        sealed = json.loads(json.dumps(sealed))  # a copy: it is written while training goes on
        with self._explained(step):
            self._pending_step = step
            self._pending = self._orbax.save_async(
                step, arrays, metrics={"rank": rank}, custom_metadata=sealed
            )
            if self._pending is None:
                raise OSError("orbax declined; is there a later checkpoint in the folder?")

    def wait(self) -> None:
        """Until the checkpoint under way is on disk."""
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
            orbax = self.__dict__.pop("_orbax", None)  # None: nothing was saved since
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
    """The steps that have a folder, oldest first, whatever is in it."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir())


def flatten(state: Any) -> Arrays:
    """A tree as `{"path/to/leaf": array}`, on the host."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(state))
    return {_path(path): np.asarray(leaf) for path, leaf in leaves}


def load(folder: Path, step: int, template: Any) -> tuple[Any, Record]:
    """The tree that `template` describes, from one checkpoint, and its record.

    Args:
      folder: of the checkpoints.
      step: which.
      template: tree of anything with shape and dtype; may be a part of what was saved.

    Raises:
      DamagedError: unfinished, unreadable, or not what was saved.
      UserError: sound, but of another shape than `template`.
    """
    path = folder.resolve() / str(step)
    sealed = _read_seal(path)
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    wanted = {_path(p): leaf for p, leaf in leaves}
    arrays = _load_arrays(path, wanted, sealed)
    values = [arrays[name] for name in wanted]
    return jax.tree_util.tree_unflatten(structure, values), sealed["record"]


def check(folder: Path, step: int) -> None:
    """Reads the whole checkpoint and compares every digest.

    Raises:
      DamagedError: says what is wrong.
    """
    path = folder.resolve() / str(step)
    sealed = _read_seal(path)
    try:
        arrays = _import_orbax().load(path)
    except Exception as error:
        raise DamagedError(f"cannot be read: {_root(error)}") from error
    missing = sealed["digests"].keys() ^ arrays.keys()
    if missing:
        raise DamagedError(f"arrays do not match the record: {', '.join(sorted(missing))}")
    _compare(arrays, sealed["digests"])


def newest_sound(folder: Path, template: Any, *, set_aside: bool) -> tuple[Any, Record, int] | None:
    """`(tree, record, step)` of the newest checkpoint that is sound, or `None` where none is.

    Each damaged one on the way is named on standard error; with `set_aside` it is also renamed to
    `<step>.damaged`, so that it is not met again.
    """
    for step in reversed(steps(folder)):
        try:
            return *load(folder, step, template), step
        except DamagedError as error:
            note = f"; set aside as {_set_aside(folder, step)}" if set_aside else ""
            print(
                f"warning: checkpoint {folder / str(step)} is damaged: {error}{note}",
                file=sys.stderr,
                flush=True,
            )
    return None


def best_step(folder: Path) -> int:
    """The step whose record ranks highest; of equals, the latest.

    Raises:
      UserError: there is none.
    """
    ranked = []
    for step in steps(folder):
        try:
            ranked.append((_read_seal(folder / str(step))["record"]["rank"], step))
        except DamagedError as error:
            print(f"warning: checkpoint {folder / str(step)}: {error}", file=sys.stderr)
    if not ranked:
        raise UserError(f"{folder}: there is no checkpoint")
    return max(ranked)[1]


def verify(folder: Path) -> Iterator[tuple[int, str]]:
    """`(step, problem)` for each checkpoint; an empty problem means sound."""
    for step in steps(folder):
        try:
            check(folder, step)
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
    if not (path / "commit_success.txt").is_file():
        raise DamagedError("it was not written to its end")
    try:  # the file itself: ocp.metadata opens every array besides
        sealed = json.loads((path / "_CHECKPOINT_METADATA").read_text())["custom_metadata"]
        sound = sealed.pop("seal") == _seal(sealed)
    except Exception as error:
        raise DamagedError(f"its metadata cannot be read: {_root(error)}") from error
    if not sound:
        raise DamagedError("its record does not match the record's digest")
    return sealed


def _load_arrays(path: Path, wanted: Mapping[str, Any], sealed: Record) -> Arrays:
    _refuse_other_model(path, wanted, sealed["shapes"])
    ocp = _import_orbax()
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    abstract = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in wanted.items()}
    try:
        with context:
            arrays = ocp.load(path, abstract)
    except Exception as error:
        raise DamagedError(f"cannot be read: {_root(error)}") from error
    _compare(arrays, sealed["digests"])
    return arrays


def _refuse_other_model(
    path: Path, wanted: Mapping[str, Any], shapes: Mapping[str, list[int]]
) -> None:
    lines = [
        f"  {name}: saved {tuple(shapes[name])}, wanted {tuple(leaf.shape)}"
        if name in shapes
        else f"  {name}: not saved"
        for name, leaf in wanted.items()
        if shapes.get(name) != list(leaf.shape)
    ]
    if lines:
        raise UserError("\n".join([f"checkpoint {path} is of another model:", *lines]))


def _compare(arrays: Arrays, digests: Mapping[str, str]) -> None:
    for name, array in arrays.items():
        found = _digest(array)
        if found != digests[name]:
            raise DamagedError(f"{name}: SHA-256 is {found}, was {digests[name]} when saved")


def _digest(array: np.ndarray) -> str:
    array = np.ascontiguousarray(array)
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def _seal(sealed: Record) -> str:
    return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()


def _set_aside(folder: Path, step: int) -> str:
    taken = len(list(folder.glob(f"{step}.damaged*")))
    name = f"{step}.damaged" + (f"-{taken}" if taken else "")
    (folder / str(step)).rename(folder / name)
    return name


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _root(error: BaseException) -> str:
    """The first cause: orbax hides it behind a long general message."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:300]
