"""Finds a trained network in a folder: that of a run, or one member of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_jax import metrics
from mnist_jax.config import Config
from mnist_jax.errors import UserError, print_warning
from mnist_jax.files import file_name
from mnist_jax.members import FINISHED, Planned
from mnist_jax.presence import is_file
from mnist_jax.training import sweepdir
from mnist_jax.training.workdir import RUN, SWEEP, read_config

BEST = "best"


@dataclass(frozen=True)
class Network:
    """A trained network's configuration, the place of its checkpoints, and its output folder."""

    title: str
    workdir: Path  # of the run or the sweep
    config: Config
    checkpoints: Path
    position: int  # along the first axis of a checkpoint's arrays [M, ...]
    output: Path  # the folder for evaluations, plots and the report
    result: dict[str, Any] | None  # from `results.json`; None for a run or an unfinished member
    architecture: str = ""  # of a member of a sweep; empty for a run
    seed: int | None = None  # of a member of a sweep; None for a run


def find(workdir: Path, member: str = "", seed: int | None = None) -> Network:
    """Finds the network of the run in `workdir`, or one member of the sweep there.

    Args:
      workdir: the folder of a run or a sweep.
      member: for a sweep only: the name of an architecture, or `best`: the single network that is
        best by `config.best` after its last epoch, among architectures of which every seed is
        finished and none diverged.
      seed: for a sweep only; may be left out if the architecture has a single seed.

    Raises:
      UserError: there is no such network, or `member` and `seed` do not identify one.
    """
    if is_file(workdir / SWEEP):
        return _member(workdir, member, seed)
    if is_file(workdir / RUN) and (member or seed is not None):
        raise UserError(
            f"{workdir} holds a single run: leave out --member= and --seed=, which are for sweeps"
        )
    config = read_config(workdir)
    return Network(
        title=workdir.resolve().name,
        workdir=workdir,
        config=config,
        checkpoints=workdir / "checkpoints",
        position=0,
        output=workdir,
        result=None,
    )


def _member(workdir: Path, member: str, seed: int | None) -> Network:
    folders = sweepdir.populations(workdir)
    members = [its for folder in folders for its in folder.members]
    if not member and len({its.architecture for its in members}) == 1:
        member = members[0].architecture
    if member == BEST and seed is not None:
        raise UserError("--member=best names a single network: leave out --seed=")
    chosen = _best(folders, workdir) if member == BEST else _named(members, member, seed, workdir)
    folder = next(folder for folder in folders if chosen in folder.members)
    position = folder.members.index(chosen)
    name, its_seed = sweepdir.key(chosen)
    return Network(
        title=f"{name}, seed {its_seed}",
        workdir=workdir,
        config=chosen.config,
        checkpoints=folder.checkpoints,
        position=position,
        output=workdir / "members" / f"{file_name(name)}-{its_seed}",
        result=(folder.results or [None] * len(folder.members))[position],
        architecture=name,
        seed=its_seed,
    )


def _named(members: Sequence[Planned], member: str, seed: int | None, workdir: Path) -> Planned:
    """Returns the member of this architecture and seed; its errors list the choices."""
    names = list(dict.fromkeys(its.architecture for its in members))
    if member not in names:
        listed = ", ".join(map(repr, names)) or "none yet"
        said = f"has no member {member!r}" if member else "holds a sweep: choose a network of it"
        raise UserError(f"{workdir} {said}; --member= is one of {listed}, or best")
    seeds = {its.config.seed: its for its in members if its.architecture == member}
    if seed is None and len(seeds) == 1:
        return next(iter(seeds.values()))
    if seed not in seeds:
        listed = ", ".join(map(str, sorted(seeds)))
        said = "has several seeds" if seed is None else f"has no seed {seed}"
        raise UserError(f"{workdir}: member {member!r} {said}; --seed= is one of {listed}")
    return seeds[seed]


def _best(folders: Sequence[sweepdir.PopulationDir], workdir: Path) -> Planned:
    columns = {member.config.best for folder in folders for member in folder.members}
    if len(columns) > 1:
        raise UserError(
            f"{workdir}: there is no best member: config.best differs among the members: "
            f"{', '.join(sorted(columns))}; choose one by --member= and --seed="
        )
    results = sweepdir.finished(folders)
    lost = {name for (name, _), result in results.items() if result["status"] != FINISHED}
    unfinished = {sweepdir.key(m) for folder in folders for m in folder.members} - results.keys()
    if unfinished:
        lost |= {name for name, _ in unfinished}
        several = len(unfinished) > 1
        print_warning(
            f"{workdir}: {len(unfinished)} network{'s are' if several else ' is'} not finished; "
            f"{'their architectures are' if several else 'its architecture is'} left out"
        )
    best: tuple[float, Planned] | None = None
    for folder in folders:
        for member in folder.members:
            result = results.get(sweepdir.key(member))
            if result is None or member.architecture in lost or not result["history"]:
                continue
            metric = metrics.of_column(metrics.find(member.config.metrics), member.config.best)
            value = result["history"][-1].get(member.config.best)
            if value is not None and (best is None or metric.better(value, best[0])):
                best = value, member
    if best is None:
        raise UserError(
            f"{workdir}: there is no best member: that needs a validation split, and a finished "
            f"architecture of which no seed diverged; choose one by --member= and --seed="
        )
    return best[1]
