"""Compares networks that were trained again with those in a checkpoint; says how they differ."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnist_jax.training import checkpoint, contents
from mnist_jax.training.checkpoint import Arrays
from mnist_jax.training.logs import Row

TIMINGS = ("seconds", "images_per_second")  # columns that no replay repeats
SHOWN = 12  # lines that describe the arrays of a network


@dataclass(frozen=True)
class Progress:
    """M networks at a step: arrays `[M, ...]` by name, and per network its rows and its status."""

    step: int
    arrays: Arrays
    rows: Sequence[Sequence[Row]]
    status: Sequence[str]


@dataclass(frozen=True)
class Difference:
    """How a network that was trained again differs from the one in a checkpoint."""

    member: int
    count: int  # of the arrays that differ
    lines: tuple[str, ...]  # what differs, saved -> replayed


def differences(saved: Progress, again: Progress, members: Sequence[int]) -> list[Difference]:
    """Compares digests of arrays, rows but for the timings, and status; returns what differs.

    Args:
      saved: what the checkpoint holds.
      again: what came of training again up to the same step; arrays of the same names and shapes.
      members: the positions of the networks to compare.

    Returns:
      One difference per network that differs, in their order.
    """
    then = {name: checkpoint.digests(array) for name, array in saved.arrays.items()}
    now = {name: checkpoint.digests(array) for name, array in again.arrays.items()}
    found = []
    for i in members:
        names = [name for name in then if then[name][i] != now[name][i]]
        names.sort(key=lambda name: contents.PARTS.index(name.partition("/")[0]))
        lines = [_array(name, saved.arrays[name][i], again.arrays[name][i]) for name in names]
        if len(lines) > SHOWN:
            lines = [*lines[:SHOWN], f"and {len(lines) - SHOWN} more arrays"]
        others = [*_steps(saved, again, i), *_rows(saved.rows[i], again.rows[i])]
        if lines or others:
            found.append(Difference(i, len(names), (*lines, *others)))
    return found


def _array(name: str, saved: np.ndarray, again: np.ndarray) -> str:
    """Says how many values of an array differ, and by how much."""
    with np.errstate(invalid="ignore"):  # infinity minus itself
        sizes = np.abs(again.astype(np.float64) - saved.astype(np.float64))
    count = int((saved != again).sum())
    if not count:  # zeros of another sign, for example
        return f"{name}: the same values in other bits"
    values = f"{count:,} of {saved.size:,} values differ" if saved.size > 1 else "differs"
    return f"{name}: {values}, by {np.nanmax(sizes, initial=0.0):.3g} at most"


def _steps(saved: Progress, again: Progress, member: int) -> list[str]:
    pairs = {
        "status": (saved.status[member], again.status[member]),
        "steps done": (saved.step, again.step),
    }
    return [f"{what}: {a} -> {b}" for what, (a, b) in pairs.items() if a != b]


def _rows(saved: Sequence[Row], again: Sequence[Row]) -> list[str]:
    """Names the columns that differ in the first row that does; later ones follow from it."""
    if len(saved) != len(again):
        return [f"rows of epochs: {len(saved)} -> {len(again)}"]
    for old, new in zip(saved, again, strict=True):
        names = [
            name for name in old if name not in TIMINGS and _text(old, name) != _text(new, name)
        ]
        if names:
            pairs = [f"{name} {_text(old, name)} -> {_text(new, name)}" for name in names]
            return [f"row of epoch {old['epoch']}: {', '.join(pairs)}"]
    return []


def _text(row: Row, name: str) -> str:
    return json.dumps(row.get(name))
