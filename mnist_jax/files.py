"""Writes text and JSON files atomically, and reads JSON files."""

import json
import os
from pathlib import Path
from typing import Any

from mnist_jax.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically: either the whole text or nothing.

    Raises:
      UserError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes a value to a JSON file, atomically as in `write_text`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file and returns its value.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def read_rows(path: Path) -> list[Any]:
    """Reads a JSON Lines file and returns one value per line.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
