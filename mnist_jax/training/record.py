"""Checks that the metadata of a checkpoint is as a run writes it.

A seal that fits does not suffice: whoever changes a record can seal it again. A version that writes
other records must raise `checkpoint.FORMAT`, so that this one does not take them for damaged.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mnist_jax.training import sound
from mnist_jax.training.row_texts import rows_of

OF_ARRAYS = ("digests", "shapes", "dtypes")  # by name
OF_NETWORKS = ("status", "rows", "models")  # of a record: one of each network
LATER = ("models", "conditions")  # which earlier versions did not record


def oddity(metadata: Mapping[str, Any]) -> str:
    """Returns what a run would not have written in the metadata of a checkpoint; empty if nothing.

    Args:
      metadata: as `checkpoint.metadata` returns them.
    """
    digests, shapes, dtypes = (metadata.get(name) for name in OF_ARRAYS)
    if not (isinstance(digests, dict) and isinstance(shapes, dict) and isinstance(dtypes, dict)):
        return "its metadata do not describe arrays"
    if not digests.keys() == shapes.keys() == dtypes.keys():
        return "its metadata do not describe the same arrays"
    record = metadata.get("record")
    if not isinstance(record, dict) or not isinstance(record.get("status"), list):
        return "its record has no valid status of networks"
    networks = len(record["status"])
    for name, shape in shapes.items():
        if not (_all(sound.is_count, shape) and shape[:1] == [networks]):
            return f"the shape of {name} is not that of {networks} networks"
        if not (_all(_is_text, digests[name]) and len(digests[name]) == networks):
            return f"{name} has no digest of each of the {networks} networks"
    odd = [name for name, is_sound in RULES.items() if not _holds(record, name, is_sound)]
    return f"its record has no valid {', '.join(odd)}" if odd else ""


def _holds(record: Mapping[str, Any], name: str, is_sound: Callable[[Any], bool]) -> bool:
    """True if a record has a sound value, or one for each network."""
    if name not in record:
        return name in LATER
    value = record[name]
    return is_sound(value) and (name not in OF_NETWORKS or len(value) == len(record["status"]))


def _all(is_sound: Callable[[Any], bool], values: Any) -> bool:
    return isinstance(values, list) and all(map(is_sound, values))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_rows(text: Any) -> bool:
    """True for the text of rows, as `RowTexts` writes it."""
    try:
        return sound.are_rows(rows_of(text))
    except MemoryError:
        raise
    except Exception:  # no text, no JSON, or no list in a line
        return False


def _are_times(value: Any) -> bool:
    names = ("compile_seconds", "total_seconds")
    return isinstance(value, dict) and all(sound.is_number(value.get(name)) for name in names)


def _is_entry(value: Any) -> bool:
    """True for an entry of a history of conditions."""
    if not isinstance(value, dict) or not isinstance(value.get("conditions"), dict):
        return False
    numbers = [value["conditions"].get(name) for name in ("devices", "processes")]
    return sound.is_count(value.get("step")) and all(sound.is_count(n) and n for n in numbers)


RULES: dict[str, Callable[[Any], bool]] = {
    "status": lambda its: _all(_is_text, its),
    "step": sound.is_count,
    "epochs": sound.is_count,
    "seconds": sound.is_number,
    "rows": lambda its: _all(_are_rows, its),
    "clock": _are_times,
    "models": lambda its: _all(lambda keywords: isinstance(keywords, dict), its),
    "conditions": lambda its: _all(_is_entry, its),
}
