"""Kills at each operation of a command that writes."""

import dataclasses
from collections import Counter

from benchmarks.reliability.killing import story
from benchmarks.reliability.killing.stands import Found, Stands
from benchmarks.reliability.killing.story import Start
from benchmarks.reliability.killing.victim import Command, Kill
from benchmarks.reliability.trial import Disturbance

TRIES = 12  # to meet a kind of operation, whose numbers differ from run to run
ALWAYS = ("write", "fsync", "rename")  # are met one by one, whatever is left out of the others


def places(start: Start, first: int = 1) -> list[tuple[str, Disturbance]]:
    """Returns a kill at each operation of a start, from the `first` one on, and its kind.

    The order of operations, and with it their numbers, differs from run to run. So they are
    counted among those that do the same to a file, such as renaming: each rename is met.
    """
    found, counts = [], Counter[str]()
    for its in start.trial.operations:
        counts[its.kind] += 1
        if its.number >= first:
            here = Disturbance(counts[its.kind], "kill", kinds=(its.kind,))
            found.append((story.kind(its, start.folder), here))
    return found


def kill(on: Stands, command: Command, found: Found, *, others: int, first: int) -> None:
    """Kills a command before its operations, and in the middle of its writes.

    Args:
      on: the stands.
      command: the command.
      found: what comes of it is added to this.
      others: 2: at every second one of the operations that are no write, fsync or rename.
      first: number of the operation to begin with.
    """
    start, _ = on.undisturbed(command)
    there = [here for _, here in places(start, first)]
    kills = [its for its in there if its.kinds[0] in ALWAYS]
    kills += [its for its in there if its.kinds[0] not in ALWAYS][::others]
    kills += [dataclasses.replace(its, act="torn") for its in there if its.kinds == ("write",)]
    on.kill(command, ([Kill(at=its)] for its in kills), found)


def meet_all_kinds(on: Stands, command: Command, found: Found, first: int = 1) -> str:
    """Kills a command at each kind of operation that no kill has met yet.

    A kind that is never met, at its places and near them, is lost.

    Returns:
      How many kinds were met, in words.
    """
    start, _ = on.undisturbed(command)
    kinds: dict[str, list[Disturbance]] = {}
    for kind, here in places(start, first):
        kinds.setdefault(kind, []).append(here)
    for attempt in range(TRIES):
        missed = [its[attempt % len(its)] for kind, its in kinds.items() if kind not in found.met]
        if not missed:
            break
        shift = (attempt + 1) // 2 * (-1) ** attempt
        near = [dataclasses.replace(its, at=max(1, its.at + shift)) for its in missed]
        on.kill(command, ([Kill(at=its)] for its in near), found)
    missed = sorted(kinds.keys() - found.met)
    found.lost += [f"{command.name}: no kill met this kind of operation: {its}" for its in missed]
    if missed:
        return f"{len(kinds) - len(missed)} of {len(kinds)} kinds of operations were met"
    return f"all {len(kinds)} kinds of operations were met"
