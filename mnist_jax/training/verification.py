"""Checks the digests of the checkpoints in a folder."""

from collections.abc import Iterator
from pathlib import Path

from mnist_jax.errors import UserError
from mnist_jax.presence import is_file
from mnist_jax.training import checkpoints, network, sweepdir
from mnist_jax.training.workdir import SWEEP


def verify(workdir: Path, member: str = "", seed: int | None = None) -> Iterator[tuple[str, str]]:
    """Yields `(name, problem)` for each checkpoint; the problem of a sound one is empty.

    Args:
      workdir: the folder of a run or a sweep.
      member: for a sweep only: as for `network.find`; all members if both this and `seed` are
        missing.
      seed: for a sweep only: as for `network.find`.

    Raises:
      UserError: there is no such network or no checkpoint, or the system refuses to read one.
    """
    if is_file(workdir / SWEEP) and not member and seed is None:
        folders = [(its.checkpoints, None) for its in sweepdir.populations(workdir)]
    elif member or seed is not None:
        found = network.find(workdir, member, seed)
        folders = [(found.checkpoints, found.position)]
    else:  # a run: not by `network.find`, which needs a valid configuration
        folders = [(workdir / "checkpoints", None)]
    if not any(checkpoints.steps(folder) for folder, _ in folders):
        raise UserError(f"{workdir} holds no checkpoint")
    for folder, position in folders:
        prefix = "" if len(folders) == 1 else f"{folder.parent.name}/"
        for step, problem in checkpoints.verify(folder, position):
            yield f"{prefix}{step}", problem
