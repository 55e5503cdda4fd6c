"""Checks that the training, validation and test splits share no rows."""

import shlex
from collections.abc import Iterator, Mapping

import numpy as np

from mnist_jax.data import splits
from mnist_jax.data.splits import Rows, Shards
from mnist_jax.errors import UserError

TEST = "test"  # the split that is used for neither training nor model selection
Marks = Mapping[str, np.ndarray]  # for each prepared split, [n] bool: the rows that are selected


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
            f"its splits are {splits.described(shards)}"
        )
    training, validation = (_marks(split, shards) for split in (train_split, val_split))
    instead = [_left_over(validation, training), _others(TEST, shards)]
    _refuse_test("train_split", train_split, training, [_without_test(training), *instead])
    instead = [_without(_without_test(validation), training), _left_over(training, validation)]
    _refuse_test("val_split", val_split, validation, [*instead, {}])
    shared = _count(validation) - _count(_without(validation, training))
    if shared:
        raise UserError(
            f"config.data.val_split: {val_split!r} shares {shared} of its rows with the training "
            f"split {train_split!r}. {_use('val_split', [*instead, {}])}"
        )


def _refuse_test(field: str, split: str, marks: Marks, instead: list[Marks]) -> None:
    count = int(marks[TEST].sum())
    if count:
        raise UserError(
            f"config.data.{field}: {split!r} holds {count} rows of the test split, which may be "
            f"used for neither training nor model selection. {_use(field, instead)}"
        )


def _use(field: str, instead: list[Marks]) -> str:
    """Returns the advice to use the first of `instead` that has any rows, or else the last."""
    best = next((marks for marks in instead if _count(marks)), instead[-1])
    return f"Use --config.data.{field}={shlex.quote('+'.join(_written(best)))}"


def _marks(split: str, shards: Shards) -> dict[str, np.ndarray]:
    marks = {name: np.zeros(sum(lengths), bool) for name, lengths in shards.items()}
    for name, start, stop in splits.resolve(split, shards):
        marks[name][start:stop] = True
    return marks


def _others(split: str, shards: Shards) -> dict[str, np.ndarray]:
    return {name: np.full(sum(lengths), name != split) for name, lengths in shards.items()}


def _without(marks: Marks, others: Marks) -> dict[str, np.ndarray]:
    return {name: rows & ~others[name] for name, rows in marks.items()}


def _without_test(marks: Marks) -> dict[str, np.ndarray]:
    return {name: rows & (name != TEST) for name, rows in marks.items()}


def _left_over(used: Marks, others: Marks) -> dict[str, np.ndarray]:
    """Returns the rows not in `used`, of the prepared splits from which either takes rows."""
    return {
        name: ~rows & (name != TEST and bool(rows.any() or others[name].any()))
        for name, rows in used.items()
    }


def _count(marks: Marks) -> int:
    return sum(int(rows.sum()) for rows in marks.values())


def _written(marks: Marks) -> Iterator[str]:
    """Yields the parts of a split string that selects the rows."""
    for name, rows in marks.items():
        edges = np.flatnonzero(np.diff(rows, prepend=False, append=False)).tolist()
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            yield _part(Rows(name, start, stop), len(rows))


def _part(rows: Rows, count: int) -> str:
    name, start, stop = rows
    if (start, stop) == (0, count):
        return name
    return f"{name}[{start or ''}:{'' if stop == count else stop}]"
