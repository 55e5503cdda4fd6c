"""Flattens nested dicts, such as configurations."""

from collections.abc import Mapping
from typing import Any


def leaves(tree: Mapping[str, Any], *, depth: int = 100) -> dict[str, Any]:
    """Returns the leaves of a nested dict by dotted name, in order; an empty dict is a leaf.

    Args:
      tree: the nested dict; lists and tuples in it are leaves.
      depth: a dict that is nested deeper than this is a leaf.
    """
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value and depth > 1:
            inner = leaves(value, depth=depth - 1)
            found |= {f"{name}.{rest}": leaf for rest, leaf in inner.items()}
        else:
            found[name] = value
    return found
