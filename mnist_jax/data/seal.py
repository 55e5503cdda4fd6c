"""Keeps digests of the files that tfds has prepared, in a file beside them.

tfds notices damage within an example. It does not notice a description that says something else,
such as fewer examples or other names of classes, nor a file in the place of another one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from mnist_jax import presence
from mnist_jax.files import write_text

FILE = "mnist_jax.json"
BEGINNING = 1 << 20  # bytes


def write(folder: Path) -> None:
    """Writes the digests of the files that are in a folder.

    Raises:
      UserError: the file cannot be written.
    """
    facts = {path.name: _facts(path) for path in _files(folder)}
    write_text(folder / FILE, json.dumps(facts, indent=2) + "\n")


def damage(folder: Path, *, whole: bool) -> str:
    """Returns what is wrong with the files in a folder; empty if nothing, or if it has no digests.

    Args:
      folder: the files'.
      whole: True to read all of them; False: their beginnings, which differ between any two.

    Raises:
      OSError: the system refuses to read a file.
      UserError: it refuses to look at one.
    """
    if not presence.exists(folder / FILE):  # prepared by tfds itself, or by an earlier version
        return ""
    try:
        sealed = json.loads((folder / FILE).read_bytes())
        expected = {str(name): dict(its) for name, its in sealed.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return f"{FILE} cannot be read: {error}"
    for name, its in expected.items():
        path = folder / name
        if path.parent != folder or not presence.is_file(path):
            return f"{name} is missing"
        for fact, found in _facts(path, whole=whole).items():
            if its.get(fact) != found:
                return f"{name}: expected {fact} {its.get(fact)}, found {found}"
    return ""


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != FILE]


def _facts(path: Path, *, whole: bool = True) -> dict[str, Any]:
    with path.open("rb") as file:
        beginning = hashlib.sha256(file.read(BEGINNING)).hexdigest()
        file.seek(0)
        digest = {"sha256": hashlib.file_digest(file, "sha256").hexdigest()} if whole else {}
    return {"bytes": path.stat().st_size, "sha256 of the beginning": beginning, **digest}
