"""Finds the picture files that paths, folders and patterns name."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_jax.errors import UserError
from mnist_jax.files import local_path, reason
from mnist_jax.pictures.reading import FORMATS

SUFFIXES = {suffix for suffixes in FORMATS.values() for suffix in suffixes}


@dataclass(frozen=True)
class File:
    """A picture file to read, or what is wrong with a name that was given."""

    name: str
    path: Path | None = None
    error: str = ""


def find(names: Iterable[Any]) -> Iterator[File]:
    """Yields the files in the order of the names.

    A folder stands for the pictures directly in it, by their suffixes, and a pattern such as
    `scans/*.png` for the files that match it, both sorted by name. A name that stands for nothing
    yields one entry with its error.
    """
    for name in names:
        text = str(name)
        try:
            path = local_path(name, "picture")
            if path.is_dir():
                yield from _some(text, sorted(_pictures(path)), f"contains no {_kinds()}")
            elif not path.exists() and glob.has_magic(text):
                found = sorted(glob.glob(str(path), recursive=True))
                yield from _some(text, map(Path, found), "no file matches this pattern")
            else:
                yield File(text, path)
        except UserError as error:
            yield File(text, error=str(error))
        except OSError as error:
            yield File(text, error=f"cannot be read: {reason(error)}")


def _pictures(folder: Path) -> list[Path]:
    return [its for its in folder.iterdir() if its.suffix.lower() in SUFFIXES and its.is_file()]


def _kinds() -> str:
    return f"pictures ({', '.join(suffixes[0] for suffixes in FORMATS.values())})"


def _some(name: str, paths: Iterable[Path], otherwise: str) -> list[File]:
    return [File(str(path), path) for path in paths if not path.is_dir()] or [
        File(name, error=otherwise)
    ]
