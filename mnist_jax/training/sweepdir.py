"""Reads and writes the folder of a sweep.

A population is a group of members that one compiled program trains together.

sweep.json                             all members requested so far
populations/<digest>/members.json      the members of one population
populations/<digest>/checkpoints/      the population's checkpoints, with arrays [M, ...]
populations/<digest>/results.json      the members' results, once all of them are finished

Only sweep.json holds the members' loggers: they change nothing that a population trains, so that a
sweep can go on with other ones.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_jax import presence
from mnist_jax.config import parse
from mnist_jax.errors import UserError, print_warning
from mnist_jax.files import (
    DamagedFileError,
    damaged,
    make_folder,
    read_json,
    reading,
    write_json,
    writing,
)
from mnist_jax.members import Planned
from mnist_jax.training import sound
from mnist_jax.training.sealed import sealed, unsealed
from mnist_jax.training.workdir import RUN, SWEEP, identity, parsed, plain, refuse, refuse_kind

FORMAT = 2  # version of sweep.json; in version 1, populations were numbered
READ = 512  # files of populations that are kept in memory once they are read
REMOVE = "Remove it, then run the same command again: the folders of the populations hold the rest"
RESULTS = {"architecture", "seed", "config", "parameters", "history", "seconds", "test", "status"}
Version = tuple[int, int, int]


@dataclass(frozen=True)
class PopulationDir:
    """The folder of one population, a group of members that train together."""

    path: Path
    members: tuple[Planned, ...]  # M, in the order of the arrays in its checkpoints

    @property
    def checkpoints(self) -> Path:
        """The folder of the population's checkpoints."""
        return self.path / "checkpoints"

    @property
    def results(self) -> list[dict[str, Any]] | None:
        """The result of each member; `None` if the population is not finished.

        Results that are damaged count as none, with a warning: the population is evaluated again.
        """
        path = self.path / "results.json"
        version = _version(path)
        return None if version is None else _read_results(path, version)

    def begin(self) -> None:
        """Creates the folder and writes the list of its members, unless they are there."""
        make_folder(self.path)
        path = self.path / "members.json"
        if not presence.exists(path):  # its text names the folder: an older version's must stay
            write_json(path, [_values(member) for member in self.members])

    def forget(self) -> None:
        """Removes the list of members: undoes `begin` for a population that was not trained."""
        path = self.path / "members.json"
        with writing(path):
            path.unlink(missing_ok=True)

    def finish(self, results: Sequence[dict[str, Any]]) -> None:
        """Writes the result of each member, which marks the population as finished."""
        write_json(self.path / "results.json", [sealed(its) for its in results])


def population_dir(workdir: Path, members: Sequence[Planned]) -> PopulationDir:
    """Returns the folder of the population of exactly these members; writes nothing."""
    name = _name([_values(member) for member in members])
    return PopulationDir(workdir / "populations" / name, tuple(members))


def populations(workdir: Path) -> list[PopulationDir]:
    """Returns the populations begun so far, in the order in which `sweep.json` lists their members.

    Raises:
      UserError: a population's `members.json` is damaged.
    """
    folders = presence.listed(workdir / "populations")
    paths = [path for its in folders if presence.exists(path := its / "members.json")]
    read = [_read(path) for path in paths]
    found = [folder for folder in read if folder is not None]
    order = {key(member): i for i, member in enumerate(asked(workdir))}
    return sorted(found, key=lambda its: order.get(key(its.members[0]), len(order)))


def asked(workdir: Path) -> list[Planned]:
    """Returns all members requested so far; none if `workdir` holds no sweep.

    Raises:
      UserError: the sweep was written by another version.
    """
    path = workdir / SWEEP
    version = _version(path)
    return [] if version is None else list(_read_asked(path, version))


@functools.lru_cache(maxsize=READ)
def _read_asked(path: Path, version: Version) -> tuple[Planned, ...]:
    del version
    values = read_json(path, advice=REMOVE)
    if isinstance(values, dict) and values.get("format") == FORMAT:
        return _planned(values.get("members"), path, REMOVE)
    raise UserError(
        f"{path} was written by another version of mnist_jax, whose sweeps this version cannot "
        f"read. Use that version (its commit is in result.json), or another --workdir="
    )


def claim(workdir: Path, plan: Sequence[Planned]) -> list[Planned]:
    """Adds the members of `plan` to `sweep.json` and returns all members, in the order of tables.

    Drops members that were requested earlier but never begun.

    Raises:
      UserError: the folder holds a run, or a member of the same name with another configuration.
    """
    both = merged(workdir, plan)
    values = {"format": FORMAT, "members": [_values(member) for member in both]}
    path = workdir / SWEEP
    if not presence.exists(path) or read_json(path) != values:
        write_json(path, values)
    return both


def merged(workdir: Path, plan: Sequence[Planned]) -> list[Planned]:
    """Returns the members begun so far and those of `plan`, in the order of tables; writes nothing.

    Raises:
      UserError: the folder holds a run, or a member of the same name with another configuration.
    """
    refuse_kind(workdir, RUN)
    begun = {key(member) for folder in populations(workdir) for member in folder.members}
    before = asked(workdir)
    there = [member for member in before if key(member) in begun]
    known = {member.architecture: member for member in there}
    for member in plan:
        old = known.setdefault(member.architecture, member)
        values = [identity(_values(its)["config"]) | {"seed": None} for its in (old, member)]
        if values[0] != values[1]:
            what = f"another member named {member.architecture!r}"
            refuse(workdir, what, *values)
    by_key = {key(member): member for member in (*there, *plan)}
    # What was asked for and never begun keeps its place, even with another configuration.
    names = list(dict.fromkeys(member.architecture for member in (*before, *plan)))
    return sorted(by_key.values(), key=lambda its: (names.index(its.architecture), its.config.seed))


def key(member: Planned) -> tuple[str, int]:
    """Returns the identity of a member: its architecture and its seed."""
    return member.architecture, member.config.seed


def without_loggers(member: Planned) -> Planned:
    """Returns a member as its population trains it."""
    return Planned(member.architecture, dataclasses.replace(member.config, loggers=()))


def finished(folders: Iterable[PopulationDir]) -> dict[tuple[str, int], dict[str, Any]]:
    """Returns the results of all finished members, by architecture and seed."""
    return {
        key(member): result
        for folder in folders
        if (results := folder.results) is not None
        for member, result in zip(folder.members, results, strict=True)
    }


def _values(member: Planned) -> dict[str, Any]:
    config = plain(member.config.to_dict())
    return {"architecture": member.architecture, "seed": config["seed"], "config": config}


def _name(values: Any) -> str:
    """Returns the name of a population's folder, from the contents of its `members.json`."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _version(path: Path) -> Version | None:
    """Identifies the content of a file without reading it; `None` if there is no file."""
    with reading(path):
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> PopulationDir | None:
    """Reads the `members.json` of a population; `None` if the sweep removes it meanwhile."""
    version = _version(path)
    try:
        return None if version is None else _read_members(path, version)
    except UserError:
        if not presence.exists(path):
            return None
        raise


# Memoised, because a sweep asks for its populations several times.
@functools.lru_cache(maxsize=READ)
def _read_members(path: Path, version: Version) -> PopulationDir:
    del version
    again = f"Remove {path.parent} to train its members again"
    values = read_json(path, list, advice=again)
    if _name(values) != path.parent.name:
        raise UserError(
            f"{path} is damaged: the members that it lists do not match the folder's name. {again}"
        )
    return PopulationDir(path.parent, _planned(values, path, again))


@functools.lru_cache(maxsize=READ)
def _read_results(path: Path, version: Version) -> list[dict[str, Any]] | None:
    del version
    population = _read(path.with_name("members.json"))
    members = () if population is None else population.members
    try:
        found = read_json(path, list)
        if len(found) != len(members) or not all(map(_is_result, found, members)):
            raise damaged(path, f"expected the results of {len(members)} members")
        return [unsealed(path, its) for its in found]
    except DamagedFileError as error:
        print_warning(f"{error.cause}; taken as not finished")
        return None


def _is_result(found: Any, member: Planned) -> bool:
    """True if a value from a file is the result of this member."""
    if not isinstance(found, dict) or not found.keys() >= RESULTS:
        return False
    try:
        config = parse(found["config"])
    except UserError:
        return False
    named = (found["architecture"], found["seed"]) == key(member)
    same = dataclasses.replace(config, loggers=()) == without_loggers(member).config
    figures = sound.is_count(found["parameters"]) and sound.is_number(found["seconds"])
    figures = figures and sound.are_rows(found["history"]) and sound.are_figures(found["test"])
    return named and same and figures and isinstance(found["status"], str)


def _planned(values: Any, path: Path, advice: str) -> tuple[Planned, ...]:
    """Returns members from their values in the file `path`."""
    sound = isinstance(values, list) and all(
        isinstance(its, dict) and isinstance(its.get("architecture"), str) for its in values
    )
    if not sound:
        raise damaged(path, "it does not hold a list of members", advice)
    return tuple(Planned(its["architecture"], parsed(its.get("config"), path)) for its in values)
