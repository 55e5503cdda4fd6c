"""Checks the digests of the checkpoints in a folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mnist_jax.errors import UserError
from mnist_jax.presence import is_file
from mnist_jax.training import checkpoints, network, sweepdir
from mnist_jax.training.workdir import SWEEP


@dataclass(frozen=True)
class Place:
    """A folder of checkpoints that is to be checked."""

    checkpoints: Path
    member: int | None  # the position of the one network to check; None: all
    prefix: str = ""  # of the checkpoints' names: the population, if there are several


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
    for place in places(workdir, member, seed):
        for step, problem in checkpoints.verify(place.checkpoints, place.member):
            yield f"{place.prefix}{step}", problem


def places(workdir: Path, member: str = "", seed: int | None = None) -> list[Place]:
    """Returns the folders of the checkpoints to check; arguments and errors as for `verify`."""
    if is_file(workdir / SWEEP) and not member and seed is None:
        folders = [its.checkpoints for its in sweepdir.populations(workdir)]
        several = len(folders) > 1
        found = [Place(its, None, f"{its.parent.name}/" if several else "") for its in folders]
    elif member or seed is not None:
        its = network.find(workdir, member, seed)
        found = [Place(its.checkpoints, its.position)]
    else:  # a run: not by `network.find`, which needs a valid configuration
        found = [Place(workdir / "checkpoints", None)]
    if not any(checkpoints.steps(place.checkpoints) for place in found):
        raise UserError(f"{workdir} holds no checkpoint")
    return found
