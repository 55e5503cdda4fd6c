"""Reads back what a training has left: its arrays, as digests, and its rows without timings."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from mnist_jax.training import checkpoint, checkpoints

PARTS = (
    "params", "variables", "optimizer", "average", "step", "key", "sums", "bad_step", "best",
)  # fmt: skip
TIMINGS = ("seconds", "images_per_second")
Arrays = dict[str, np.ndarray]


def saved(workdir: Path) -> dict[int, Arrays]:
    """Returns the arrays `[M, ...]` of each checkpoint by its step, read from disk and checked."""
    folder = workdir / "checkpoints"
    return {step: checkpoint.read(folder, step, PARTS)[0] for step in checkpoints.steps(folder)}


def digests(workdir: Path, member: int | None = None) -> dict[str, str]:
    """Returns the SHA-256 of each array of each checkpoint, by `<step>/<name>`.

    Args:
      workdir: the folder that holds `checkpoints/`.
      member: the position of one network, to leave out the others; `None`: all.
    """
    found = {}
    for step, arrays in saved(workdir).items():
        for name, array in arrays.items():
            its = array if member is None else array[member]
            header = f"{its.dtype.str}{its.shape}".encode()
            found[f"{step}/{name}"] = hashlib.sha256(header + its.tobytes()).hexdigest()
    return found


def rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSON Lines file without timings; none if there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [untimed(json.loads(line)) for line in lines]


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row without what the clock says."""
    return {name: value for name, value in row.items() if name not in TIMINGS}
