"""Whether the checkpoints in a folder are what was saved."""

from collections.abc import Iterator
from pathlib import Path

from mnist_jax.errors import UserError
from mnist_jax.training import checkpoint, network, sweepdir
from mnist_jax.training.workdir import SWEEP


def verify(workdir: Path, member: str = "", seed: int | None = None) -> Iterator[tuple[str, str]]:
    """`(name, problem)` for each checkpoint; an empty problem means sound.

    Args:
      workdir: of a run or a sweep.
      member: of a sweep: as `network.find` takes it; all networks where neither it nor a seed is
        given.
      seed: of a sweep.

    Raises:
      UserError: there is no such network, or no checkpoint; or the system refuses to read one.
    """
    if (workdir / SWEEP).is_file() and not member and seed is None:
        folders = [(its.checkpoints, None) for its in sweepdir.populations(workdir)]
    elif member or seed is not None:
        found = network.find(workdir, member, seed)
        folders = [(found.checkpoints, found.position)]
    else:  # a run, whose configuration need not be sound for its checkpoints to be
        folders = [(workdir / "checkpoints", None)]
    if not any(checkpoint.steps(folder) for folder, _ in folders):
        raise UserError(f"{workdir} holds no checkpoint")
    for folder, position in folders:
        prefix = "" if len(folders) == 1 else f"{folder.parent.name}/"
        for step, problem in checkpoint.verify(folder, position):
            yield f"{prefix}{step}", problem
