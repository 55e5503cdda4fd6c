"""Reads what a training has left: its checkpoints, rows and files, without what the clock says."""

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_jax.training import checkpoint, checkpoints, contents
from mnist_jax.training.checkpoint import Arrays
from mnist_jax.training.row_texts import rows_of

# A report holds timings in its text, and each start adds a file for TensorBoard: both are left out.
SUFFIXES = (".json", ".jsonl", ".csv", ".png")
CLOCK = "clock.json"
RECORD = "record"  # in place of an array's name: the rows and statuses in a checkpoint
OTHERS = ("commit", "files", "sha256")  # the last two: digests, also of timings
SHOWN = 3  # names in a line
Left = dict[str, str]  # digests by name


def left(workdir: Path) -> Left:
    """Returns digests of all that the folder of a run or a sweep holds, by path in the folder."""
    found: Left = {}
    for folder in folders(workdir):
        its = digests(folder)
        found |= {f"{folder.relative_to(workdir)}/checkpoints/{n}": d for n, d in its.items()}
    for path in sorted(workdir.rglob("*")):
        name = path.relative_to(workdir)
        its = path.suffix in SUFFIXES and path.name != CLOCK
        if its and "checkpoints" not in name.parts:
            found[str(name)] = hashlib.sha256(content(path)).hexdigest()
    return found


def folders(workdir: Path) -> Iterator[Path]:
    """Yields the folders that can hold checkpoints: of a run, and of a sweep's populations."""
    yield workdir
    yield from sorted(workdir.glob("populations/*"))


def digests(folder: Path) -> Left:
    """Returns the digest of each array of each checkpoint, by `<step>/<name>`.

    With the name `record` come the rows and the status of each network.
    """
    found: Left = {}
    for step, (its, record) in _read(folder):
        rows = [untimed(rows_of(text)) for text in record["rows"]]
        found[f"{step}/{RECORD}"] = _digest(json.dumps([rows, record["status"]]))
        for name, array in its.items():
            found[f"{step}/{name}"] = _digest("".join(checkpoint.digests(array)))
    return found


def arrays(folder: Path) -> dict[int, Arrays]:
    """Returns the arrays `[M, ...]` of each checkpoint by its step, read from disk and checked."""
    return {step: its for step, (its, _) in _read(folder)}


def step_of(name: str) -> int:
    """Returns the step in a name of `digests`."""
    return int(name.partition("/")[0])


def rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSON Lines file without timings; none if there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [untimed(json.loads(line)) for line in lines]


def content(path: Path) -> bytes:
    """Returns the bytes of a picture, or the values of another file without timings."""
    if path.suffix == ".png":
        return path.read_bytes()
    if path.suffix == ".jsonl":
        its: Any = rows(path)
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            its = untimed(list(csv.DictReader(file)))
    else:
        its = untimed(json.loads(path.read_text()))
    return json.dumps(its).encode()


def untimed(value: Any) -> Any:
    """Returns a value of JSON without times, speeds, the commit and what depends on them."""
    if isinstance(value, dict):
        return {
            n: untimed(its) for n, its in value.items() if "second" not in n and n not in OTHERS
        }
    return [untimed(its) for its in value] if isinstance(value, list) else value


def compared(what: str, first: Left, second: Left) -> list[str]:
    """Returns a line that names what differs, or none if nothing does."""
    names = sorted(n for n in first.keys() | second.keys() if first.get(n) != second.get(n))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{what}: {', '.join(names[:SHOWN])}{more} differ"] if names else []


def _read(folder: Path) -> Iterator[tuple[int, tuple[Arrays, dict[str, Any]]]]:
    """Yields the step, the arrays and the record of each checkpoint, read from disk and checked."""
    its = folder / "checkpoints"
    for step in checkpoints.steps(its):
        yield step, checkpoint.read(its, step, contents.PARTS)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
