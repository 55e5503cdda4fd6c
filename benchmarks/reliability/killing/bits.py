"""What a folder of a run or a sweep holds, but for the time that it took."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

from mnist_jax.training import checkpoint
from mnist_jax.training.checkpoint import DamagedError

LOCKS = (".lock", ".evaluate.lock")
SHOWN = 3  # maximum number of differences in a line
Contents = dict[str, Any]  # what is in a file or a checkpoint, by its path in the folder


def contents(folder: Path) -> Contents:
    """Returns what is in each file and each checkpoint below a folder, without timings.

    Of a checkpoint these are the SHA-256s of all arrays, which are read and checked; of a picture,
    its SHA-256. TensorBoard's files are left out: each start adds one.
    """
    found: Contents = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.parent.name == "checkpoints":
            found[name] = _of_checkpoint(path)
        elif path.is_file() and not {"checkpoints", "tensorboard"} & {*path.parts}:
            found[name] = _of_file(path, folder)
    return {name: its for name, its in found.items() if Path(name).name not in LOCKS}


def differences(found: Contents, expected: Contents) -> str:
    """Returns what is missing, is left over or differs, in words; empty if nothing does."""
    names = [n for n in sorted(found.keys() | expected.keys()) if found.get(n) != expected.get(n)]
    texts = [
        f"{name} {_how(found.get(name), expected.get(name))}"
        if name in found and name in expected
        else f"{name} is {'left over' if name in found else 'missing'}"
        for name in names
    ]
    return "; ".join(texts[:SHOWN] + ["..."] * (len(texts) > SHOWN))


def rows_differ(folder: Path) -> bool:
    """True if `metrics.csv` does not hold the rows of `metrics.jsonl`, if these are there."""
    jsonl, table = folder / "metrics.jsonl", folder / "metrics.csv"
    if not jsonl.exists():
        return table.exists()
    rows = [json.loads(line) for line in jsonl.read_text().splitlines()]
    texts = [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]
    return texts != _table(table)


def _of_checkpoint(path: Path) -> Any:
    if not path.name.isdecimal():
        return "no checkpoint"  # unfinished, removed, or set aside as damaged
    try:
        checkpoint.check(path.parent, int(path.name))
        return checkpoint._read_seal(path)["digests"]
    except DamagedError as error:
        return f"damaged: {error}"


def _of_file(path: Path, folder: Path) -> Any:
    if path.suffix == ".json":  # which may name the user's own files
        return _untimed(json.loads(path.read_text().replace(str(folder.resolve().parent), "")))
    if path.suffix == ".jsonl":  # a sweep's lines come in the order in which it trains
        return sorted(
            json.dumps(_untimed(json.loads(line)), sort_keys=True)
            for line in path.read_text().splitlines()
        )
    if path.suffix == ".csv":
        return _untimed(_table(path))
    if path.suffix == ".html":  # shows timings
        return "a report"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _untimed(value: Any) -> Any:
    """Returns a value of JSON without times, speeds and the commit of the code, at any depth."""
    if isinstance(value, dict):
        kept = [name for name in value if "second" not in name and name != "commit"]
        return {name: _untimed(value[name]) for name in kept}
    return [_untimed(its) for its in value] if isinstance(value, list) else value


def _how(found: Any, expected: Any) -> str:
    if isinstance(found, dict) and isinstance(expected, dict):
        names = sorted(n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n))
        return f"differs in {', '.join(names[:SHOWN])}"
    return found if isinstance(found, str) and found.startswith("damaged") else "differs"
