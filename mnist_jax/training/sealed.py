"""Seals results by digests, so that a figure that has changed is noticed.

A result holds the SHA-256 of its own values, and of the files that are read back with it. Those
that earlier versions wrote hold none, and are taken as they are.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_jax.files import damaged, reading

SEAL, FILES = "sha256", "files"


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a result, as JSON has them, with the digest of all of them."""
    plain = json.loads(json.dumps(values))
    return {**plain, SEAL: _digest(plain)}


def unsealed(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a result without their seal, if they have one.

    Args:
      path: the file that holds them, for messages.
      values: as JSON has them.

    Raises:
      DamagedFileError: they are not those that were sealed.
    """
    rest = {name: value for name, value in values.items() if name != SEAL}
    if SEAL in values and values[SEAL] != _digest(rest):
        raise damaged(path, f"its values are not those of its {SEAL}")
    return rest


def digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Returns the SHA-256 of each of these files that a folder holds.

    Raises:
      UserError: the system refuses to read one.
    """
    found = {name: _digest_of(folder / name) for name in names}
    return {name: digest for name, digest in found.items() if digest is not None}


def changed(folder: Path, expected: Any) -> list[Path]:
    """Returns the files that are no longer what a result's `files` tells; raises as `digests`."""
    names = [name for name in expected if Path(name).name == name] if expected else []
    now = digests(folder, names)
    return [folder / name for name in names if now.get(name) != expected[name]]


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _digest_of(path: Path) -> str | None:
    with reading(path):
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            return None
