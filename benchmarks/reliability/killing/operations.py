"""Kills at each operation of a command that writes."""

import dataclasses
from collections import Counter

from benchmarks.reliability.killing import story
from benchmarks.reliability.killing.stands import Found, Stands
from benchmarks.reliability.killing.victim import Command, Kill
from benchmarks.reliability.trial import Disturbance

TRIES = 12  # to meet a kind of operation, whose numbers differ from run to run
ALWAYS = ("write", "fsync", "rename")  # are met one by one, whatever is left out of the others


def kill(
    on: Stands, command: Command, found: Found, *, others: int, first: int, every: int
) -> None:
    """Kills a command before its operations, and in the middle of its writes.

    Args:
      on: the stands.
      command: the command.
      found: what comes of it is added to this.
      others: 2: at every second one of the operations that are no write, fsync or rename.
      first: number of the operation to begin with.
      every: 2: at every second one of all operations.
    """
    start, _ = on.undisturbed(command)
    operations = [its for its in start.trial.operations if its.number >= first][::every]
    chosen = [its for its in operations if its.kind in ALWAYS]
    chosen += [its for its in operations if its.kind not in ALWAYS][::others]
    kills = [Disturbance(its.number, "kill") for its in chosen]
    kills += [Disturbance(its.number, "torn") for its in chosen if its.kind == "write"]
    on.kill(command, ([Kill(at=its)] for its in kills), found)


def meet_all_kinds(on: Stands, command: Command, found: Found, first: int = 1) -> str:
    """Kills a command at each kind of operation that no kill has met yet.

    The order of operations, and with it their numbers, differs from run to run. Here they are
    counted among those that do the same to a file, such as renaming. A kind that is never met is
    lost.

    Returns:
      How many kinds were met, in words.
    """
    start, _ = on.undisturbed(command)
    places: dict[str, list[Disturbance]] = {}
    counts: Counter[str] = Counter()
    for its in start.trial.operations:
        counts[its.kind] += 1
        if its.number >= first:
            here = Disturbance(counts[its.kind], "kill", kinds=(its.kind,))
            places.setdefault(story.kind(its, start.folder), []).append(here)
    for attempt in range(TRIES):
        missed = [its[attempt % len(its)] for kind, its in places.items() if kind not in found.met]
        if not missed:
            break
        shift = (attempt + 1) // 2 * (-1) ** attempt
        near = [dataclasses.replace(its, at=max(1, its.at + shift)) for its in missed]
        on.kill(command, ([Kill(at=its)] for its in near), found)
    missed = sorted(places.keys() - found.met)
    found.lost += [f"{command.name}: no kill met this kind of operation: {its}" for its in missed]
    if missed:
        return f"{len(places) - len(missed)} of {len(places)} kinds of operations were met"
    return f"all {len(places)} kinds of operations were met"
