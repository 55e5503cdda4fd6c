"""Tells values that a run writes from what damage, or somebody's editor, has made of them."""

from collections.abc import Mapping
from typing import Any

LARGEST = 1e300  # no number that a run writes comes near to it


def is_number(value: Any) -> bool:
    """True for a finite number; not for True, False, NaN, and integers beyond all floats."""
    return type(value) in (int, float) and abs(value) <= LARGEST


def is_count(value: Any) -> bool:
    """True for an integer from 0 on."""
    return type(value) is int and 0 <= value <= LARGEST


def are_figures(values: Any) -> bool:
    """True for a dict of numbers by name, of which some may be None."""
    return isinstance(values, Mapping) and all(
        value is None or is_number(value) for value in values.values()
    )


def is_row(row: Any) -> bool:
    """True for a row of metrics: the number of its epoch, its step, and figures.

    A row of a sweep also names its network.
    """
    if not isinstance(row, Mapping) or not all(is_count(row.get(n)) for n in ("epoch", "step")):
        return False
    names = {"architecture": str, "seed": int}
    named = all(type(row[name]) is kind for name, kind in names.items() if name in row)
    return named and are_figures({name: row[name] for name in row if name not in names})


def are_rows(rows: Any) -> bool:
    """True for a list of rows."""
    return isinstance(rows, list) and all(map(is_row, rows))
