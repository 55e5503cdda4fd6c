"""Configuration fields of a sweep: which of them vary, and how fields and values are shown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mnist_jax.nested import leaves


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a configuration by their dotted names, with lists as tuples."""
    return {name: _hashable(value) for name, value in leaves(config).items()}


def split(
    configs: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Separates the fields that all configurations share from those that vary; ignores `seed`.

    Args:
      configs: the configurations, as `flat` returns them.

    Returns:
      The value of each shared field, and the distinct values of each varying field, by dotted
      names. Numbers and lists are in ascending order (lists by length first), other values in order
      of appearance. None stands for configurations that lack the field.
    """
    names = dict.fromkeys(name for config in configs for name in config if name != "seed")
    shared, varied = {}, {}
    for name in names:
        values = list(dict.fromkeys(config.get(name) for config in configs))
        if len(values) == 1:
            shared[name] = values[0]
        else:
            varied[name] = _ascending(values)
    return shared, varied


def format_value(value: Any) -> str:
    """Formats a value of a configuration: `128-32` for (128, 32), `none` for an empty value."""
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return "-".join(map(format_value, value)) or "none"
    return f"{value:.5g}" if isinstance(value, float) else str(value) or "none"


def field_names(fields: Iterable[str]) -> dict[str, str]:
    """Returns dotted names in words such as `learning rate`: only the last part if it is unique."""
    words = {"model.hidden": "hidden layers", "num_epochs": "epochs"}
    short = {
        field: words.get(field, field.removesuffix(".name").rpartition(".")[2].replace("_", " "))
        for field in fields
    }
    names = list(short.values())
    return {
        field: name if names.count(name) == 1 else field.replace("_", " ")
        for field, name in short.items()
    }


def file_name(*names: str) -> str:
    """Joins names in words to a part of a file name."""
    return "_".join(re.sub(r"\W+", "_", name) for name in names)


def is_number(value: Any) -> bool:
    """True if the value is a number; booleans do not count."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numeric(values: Sequence[Any]) -> dict[Any, float] | None:
    """Maps each value of a field to a number: itself, or the one that fills a tuple.

    Returns None if a value has no such number: (128, 64) has not. Tuples are comparable only if
    they have the same length: widths of hidden layers between networks of the same depth.
    """
    if all(map(is_number, values)):
        return {value: float(value) for value in values}
    depths = {len(value) if isinstance(value, tuple) else 0 for value in values}
    if depths == {0} or len(depths) > 1:
        return None
    widths = {value: set(value) for value in values}
    if not all(len(width) == 1 and is_number(*width) for width in widths.values()):
        return None
    return {value: float(*width) for value, width in widths.items()}


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _hashable(part)) for name, part in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _ascending(values: list[Any]) -> list[Any]:
    if all(map(is_number, values)):
        return sorted(values)
    if all(isinstance(value, tuple) and all(map(is_number, value)) for value in values):
        return sorted(values, key=lambda value: (len(value), value))
    return values
