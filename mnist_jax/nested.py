"""Flattens nested dicts, such as configurations."""

from collections.abc import Mapping
from typing import Any


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of a nested dict by dotted name, in order; an empty dict is a leaf.

    Args:
      tree: the nested dict; lists and tuples in it are leaves.
      prefix: start of all names, with its dot.
    """
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
