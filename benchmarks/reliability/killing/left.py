"""What a folder of a run or a sweep holds, but for the time that it took."""

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from benchmarks.reliability.left import untimed
from mnist_jax.training import checkpoint, row_texts
from mnist_jax.training.checkpoint import DamagedError

LOCKS = (".lock", ".evaluate.lock")
SHOWN = 3  # maximum number of differences in a line
PREPARING = ".preparing"  # ends the names of folders in which data are prepared
RECORD = "the record's "  # begins the names of what a checkpoint's record holds
Contents = dict[str, Any]  # what is in a file or a checkpoint, by its path in the folder


def contents(folder: Path) -> Contents:
    """Returns what is in each file and each checkpoint below a folder, without timings.

    Of a checkpoint these are the SHA-256s of all arrays, which are read and checked, and its
    record; of a picture, its SHA-256. TensorBoard's files are left out: each start adds one.
    """
    found: Contents = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.parent.name == "checkpoints":
            found[name] = _of_checkpoint(path)
        elif path.is_file() and not {"checkpoints", "tensorboard"} & {*path.parts}:
            found[name] = _of_file(path, folder)
    return {name: its for name, its in found.items() if Path(name).name not in LOCKS}


def prepared(data: Path) -> Contents:
    """Returns the names of the files of prepared data, and the SHA-256s of the caches.

    A folder in which data were to be prepared counts as well, even if it is empty.
    """
    found: Contents = {}
    for path in sorted(data.rglob("*")):
        name = f"{data.name}/{path.relative_to(data)}"
        if path.suffix == ".cache":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.is_file() or path.name.endswith(PREPARING):
            found[name] = "there"
    return found


def temporary(folder: Path) -> Contents:
    """Returns what is in a folder for temporary files, but for what a kill has to leave there.

    This is an empty folder that tfds makes with `mkdtemp` whenever it prepares data, and the file
    of four letters by which Python's `tempfile` finds out whether it can write there.
    """
    files = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    found = {f"{folder.name}/{path.relative_to(folder)}": path for path in files}
    return {
        n: "there" for n, path in found.items() if path.read_bytes() not in (b"", b"bl", b"blat")
    }


def newest(folder: Path) -> dict[str, int]:
    """Returns the step of the newest complete checkpoint in each folder of checkpoints below it.

    A checkpoint gets its final name once it is complete, and only then.
    """
    found: dict[str, int] = {}
    for path in folder.rglob("checkpoints/*/commit_success.txt"):
        if path.parent.name.isdecimal():
            its = str(path.parent.parent)
            found[its] = max(found.get(its, 0), int(path.parent.name))
    return found


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
        sealed = checkpoint._read_seal(path)
    except DamagedError as error:
        return f"damaged: {error}"
    record = sealed["record"]
    record["rows"] = [row_texts.rows_of(text) for text in record["rows"]]
    return sealed["digests"] | {f"{RECORD}{k}": its for k, its in untimed(record).items()}


def _of_file(path: Path, folder: Path) -> Any:
    if path.suffix == ".json":  # which may name the user's own files
        return untimed(json.loads(path.read_text().replace(str(folder.resolve().parent), "")))
    if path.suffix == ".jsonl":  # a sweep's lines come in the order in which it trains
        return sorted(
            json.dumps(untimed(json.loads(line)), sort_keys=True)
            for line in path.read_text().splitlines()
        )
    if path.suffix == ".csv":
        return untimed(_table(path))
    if path.suffix == ".html":
        return _of_page(path.read_text())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _of_page(text: str) -> Any:
    """Returns the digests of a page's pictures, and of its text without numbers.

    Among the numbers are timings; the others are those of the files beside it. A second more can
    change the unit, too.
    """
    if not text.rstrip().endswith("</html>"):
        return "damaged: it ends before its end"
    pictures = re.findall(r"data:image/[^\"']+", text)
    words = re.sub(r"data:image/[^\"']+|[\d.,]+(\s(s|min|h)\b)?", "", text)
    words = "".join(words.split())
    return [hashlib.sha256(its.encode()).hexdigest() for its in [*pictures, words]]


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _how(found: Any, expected: Any) -> str:
    if isinstance(found, dict) and isinstance(expected, dict):
        names = sorted(n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n))
        return f"differs in {', '.join(names[:SHOWN])}"
    return found if isinstance(found, str) and found.startswith("damaged") else "differs"
