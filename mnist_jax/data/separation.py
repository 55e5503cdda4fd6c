"""Checks that the training, validation and test splits share no rows."""

import shlex
from collections.abc import Iterator

import numpy as np

from mnist_jax.data import splits
from mnist_jax.data.splits import Shards
from mnist_jax.errors import UserError

TEST = "test"  # the split that is used for neither training nor model selection


def check(name: str, train_split: str, val_split: str, shards: Shards) -> None:
    """Checks that the training, validation and test splits of the data set `name` do not overlap.

    Rows are compared, so that it does not matter how the split strings are written.

    Raises:
      UserError: there is no test split, the training or validation split contains rows of it, or
        they share rows; the message ends with a split to use instead. Also as `splits.resolve`.
    """
    if not sum(shards.get(TEST, ())):
        raise UserError(
            f"config.data.name: {name} has no split 'test', on which networks are evaluated; "
            f"its splits are {splits.describe(shards)}"
        )
    training = _marks_of("train_split", train_split, shards)
    validation = _marks_of("val_split", val_split, shards)
    test = _marks(TEST, shards)
    near = _whole(training | validation, shards) & ~test

    instead = [training & ~test, near & ~validation, ~test]
    _refuse_test("train_split", train_split, training & test, instead, shards)
    instead = [validation & ~test & ~training, near & ~training, np.zeros_like(test)]
    _refuse_test("val_split", val_split, validation & test, instead, shards)
    shared = int((training & validation).sum())
    if shared:
        raise UserError(
            f"config.data.val_split: {val_split!r} shares {shared} of its rows with the training "
            f"split {train_split!r}. {_use('val_split', instead, shards)}"
        )


def repeated(field: str, split: str, shards: Shards) -> str:
    """Returns a warning if a split lists rows more than once, else an empty string.

    Split strings mean what tfds means by them: `train+train` is all of `train`, twice.
    """
    listed = sum(max(stop - start, 0) for _, start, stop in splits.resolve(split, shards))
    more = listed - int(_marks(split, shards).sum())
    if not more:
        return ""
    return f"{field}: {split!r} lists {more} rows again; each counts as often as it is listed"


def _refuse_test(
    field: str, split: str, marks: np.ndarray, instead: list[np.ndarray], shards: Shards
) -> None:
    if marks.any():
        raise UserError(
            f"config.data.{field}: {split!r} holds {marks.sum()} rows of the test split, which may "
            f"be used for neither training nor model selection. {_use(field, instead, shards)}"
        )


def _use(field: str, instead: list[np.ndarray], shards: Shards) -> str:
    """Returns the advice to use the first of `instead` that has any rows, or else the last."""
    best = next((marks for marks in instead if marks.any()), instead[-1])
    return f"Use --config.data.{field}={shlex.quote('+'.join(_written(best, shards)))}"


def _marks_of(field: str, split: str, shards: Shards) -> np.ndarray:
    """Returns `_marks` of a field of the configuration, which errors name."""
    try:
        return _marks(split, shards)
    except UserError as error:
        raise UserError(f"config.data.{field}: {error}") from error


def _marks(split: str, shards: Shards) -> np.ndarray:
    """Returns which rows a split string selects, `[n]` bool: a row per example, split by split."""
    marks = {name: np.zeros(sum(lengths), bool) for name, lengths in shards.items()}
    for name, start, stop in splits.resolve(split, shards):
        marks[name][start:stop] = True
    return np.concatenate(list(marks.values()))


def _by_split(marks: np.ndarray, shards: Shards) -> list[np.ndarray]:
    return np.split(marks, np.cumsum([sum(lengths) for lengths in shards.values()])[:-1])


def _whole(marks: np.ndarray, shards: Shards) -> np.ndarray:
    """Marks all rows of the prepared splits of which `marks` has any."""
    return np.concatenate([np.full_like(rows, rows.any()) for rows in _by_split(marks, shards)])


def _written(marks: np.ndarray, shards: Shards) -> Iterator[str]:
    """Yields the parts of a split string that selects the rows."""
    for name, rows in zip(shards, _by_split(marks, shards), strict=True):
        edges = np.flatnonzero(np.diff(rows, prepend=False, append=False)).tolist()
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            part = f"[{start or ''}:{'' if stop == len(rows) else stop}]"
            yield name if part == "[:]" else name + part
