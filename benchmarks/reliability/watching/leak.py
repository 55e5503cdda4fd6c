"""Measures what a fault of a library leaks, so that it is told apart from this project's memory."""

import json
import tracemalloc
from pathlib import Path

import tensorstore

from mnist_jax.training import checkpoint, checkpoints

CALLS = 1_000
MERGES = 2  # further specifications per checkpoint: of the folders that orbax merges into one


def of_tensorstore(workdir: Path) -> float:
    """Returns the bytes that TensorStore leaks in each save of a run.

    For each array, orbax has TensorStore turn a specification into JSON. TensorStore 0.1.86 takes
    one reference too many to each string in it, so that none of them is ever freed. The number is
    that of the installed version.
    """
    folder = workdir / "checkpoints"
    step = checkpoints.steps(folder)[-1]
    sealed = json.loads((folder / str(step) / checkpoint.METADATA).read_text())["custom_metadata"]
    path = folder / f"{step}{checkpoints.UNFINISHED}" / "ocdbt.process_0"
    return _per_call(f"{path}/") * (len(sealed["shapes"]) + MERGES)


def _per_call(path: str) -> float:
    _convert(path)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(CALLS):
            _convert(path)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / CALLS


def _convert(path: str) -> None:
    tensorstore.KvStore.Spec({"driver": "file", "path": path}).to_json()
