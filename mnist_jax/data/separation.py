"""Keeps the rows of training, validation and test apart."""

import shlex
from collections.abc import Iterator, Mapping

import numpy as np

from mnist_jax.data import splits
from mnist_jax.data.splits import Rows, Shards
from mnist_jax.errors import UserError

TEST = "test"  # the split that nothing is trained or chosen on
Marks = Mapping[str, np.ndarray]  # by prepared split, [n] bool: which of its rows are meant


def check(name: str, train_split: str, val_split: str, shards: Shards) -> None:
    """Refuses splits of the data set `name` that train or choose on what is tested on.

    Rows decide, however the splits are written. Raises UserError where there is no test split,
    where training or validation hold a row of it, and where they share rows; the message ends with
    what to write instead. Raises it as `splits.resolve` does, too.
    """
    if not sum(shards.get(TEST, ())):
        raise UserError(
            f"config.data.name: {name} has no split 'test', by which networks are evaluated. "
            f"There are: {splits.described(shards)}."
        )
    training, validation = (_marks(split, shards) for split in (train_split, val_split))
    instead = [_left_over(validation, training), _others(TEST, shards)]
    _refuse_test("train_split", train_split, training, [_without_test(training), *instead])
    instead = [_without(_without_test(validation), training), _left_over(training, validation)]
    _refuse_test("val_split", val_split, validation, [*instead, {}])
    shared = _count(validation) - _count(_without(validation, training))
    if shared:
        raise UserError(
            f"config.data.val_split: {val_split!r} shares {shared} of its rows with training, "
            f"{train_split!r}. {_use('val_split', [*instead, {}])}"
        )


def _refuse_test(field: str, split: str, marks: Marks, instead: list[Marks]) -> None:
    count = int(marks[TEST].sum())
    if count:
        raise UserError(
            f"config.data.{field}: {split!r} holds {count} rows of the test split, on which "
            f"nothing is trained or chosen. {_use(field, instead)}"
        )


def _use(field: str, instead: list[Marks]) -> str:
    """What to write: the first of `instead` that has any rows, else the last."""
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
    """Rows that are not `used`, of the prepared splits that either takes rows from."""
    return {
        name: ~rows & (name != TEST and bool(rows.any() or others[name].any()))
        for name, rows in used.items()
    }


def _count(marks: Marks) -> int:
    return sum(int(rows.sum()) for rows in marks.values())


def _written(marks: Marks) -> Iterator[str]:
    """The parts of a split string that selects the rows."""
    for name, rows in marks.items():
        edges = np.flatnonzero(np.diff(rows, prepend=False, append=False)).tolist()
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            yield _part(Rows(name, start, stop), len(rows))


def _part(rows: Rows, count: int) -> str:
    name, start, stop = rows
    if (start, stop) == (0, count):
        return name
    return f"{name}[{start or ''}:{'' if stop == count else stop}]"
