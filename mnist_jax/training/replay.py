"""Trains again from each checkpoint to the next, and compares the bits with those that were saved.

Digests reveal what changed a checkpoint after it was saved. A training that computed wrongly, or
whose memory changed while it ran, saves wrong numbers with the right digests; but training the same
steps again, on sound hardware, gives other ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mnist_jax import models
from mnist_jax.config import Config
from mnist_jax.members import Planned
from mnist_jax.presence import is_file
from mnist_jax.training import (
    checkpoint,
    checkpoints,
    comparison,
    conditions,
    contents,
    layout,
    memory,
    sweepdir,
    verification,
)
from mnist_jax.training.checkpoint import Arrays, DamagedError, Record
from mnist_jax.training.comparison import Difference, Progress
from mnist_jax.training.console import Console
from mnist_jax.training.loop import train
from mnist_jax.training.position import Position
from mnist_jax.training.program import Program, prepare_many, prepare_one
from mnist_jax.training.stop import StopSignal
from mnist_jax.training.verification import Place
from mnist_jax.training.workdir import SWEEP, read_config

NAMED = 3  # networks of a population that are named in a line
AGREED = "a second replay gives the same as the first: the training, or what it read, went wrong"
CORRECTED = "a second replay is equal to what was saved: the first replay itself went wrong"
UNSTEADY = "a second replay differs from both: this machine does not compute the same twice"
SOURCE = "the weights that config.init_from names may have changed since"


@dataclass(frozen=True)
class Verdict:
    """What is known of a checkpoint: whether it is as it was saved, and as it is computed again."""

    name: str
    problem: str = ""  # how it is damaged; empty: it is sound
    replay: str = ""  # what came of the replay; empty if it is damaged
    details: tuple[str, ...] = ()  # what differs, one line each
    replayed: bool = False
    equal: bool = True  # False if a replay gives other bits


@dataclass(frozen=True)
class _Kept:
    """A sound checkpoint: its step, its arrays `[M, ...]` by name, and its record."""

    step: int
    arrays: Arrays
    record: Record


def replay(
    workdir: Path, member: str = "", seed: int | None = None, *, from_start: bool = False
) -> Iterator[Verdict]:
    """Yields a verdict on each checkpoint, oldest first; changes no files.

    From each sound checkpoint, the networks are trained to the next sound one, by the very loop
    that has trained them, on as many of the devices as they were trained on; in elastic mode on as
    many as can share a batch equally. The networks of a population are trained together, even if
    only one is asked for.

    Args:
      workdir: the folder of a run or a sweep.
      member: as for `verification.verify`.
      seed: as for `verification.verify`.
      from_start: True to train from the first step to the first checkpoint, too.

    Raises:
      UserError: there is no such network or no checkpoint, the networks do not fit the checkpoints
        or the memory, or the system refuses to read a file.
    """
    with memory.explained():
        for place in verification.places(workdir, member, seed):
            yield from _Replay(workdir, place).verdicts(from_start=from_start)


class _Replay:
    """Trains the networks again whose checkpoints are in one folder."""

    def __init__(self, workdir: Path, place: Place) -> None:
        self._place = place
        self._members: tuple[Planned, ...] = ()  # of a population; a run has none
        if is_file(workdir / SWEEP):
            folders = sweepdir.populations(workdir)
            (its,) = (one for one in folders if one.checkpoints == place.checkpoints)
            self._members = its.members
            self._configs = [member.config for member in its.members]
        else:
            self._configs = [models.resolve(read_config(workdir))]
        self._programs: dict[int, Program] = {}  # by the number of devices

    def verdicts(self, *, from_start: bool) -> Iterator[Verdict]:
        """Yields a verdict on each checkpoint, oldest first."""
        before: _Kept | None = None
        for step, found in checkpoints.oldest_first(self._place.checkpoints, self._read):
            name = f"{self._place.prefix}{step}"
            if isinstance(found, DamagedError):
                yield self._damaged(name, step, found)
                continue
            if before is None and not from_start:
                yield Verdict(name, replay="not replayed, as there is no sound one before it")
            else:
                yield self._judged(name, before, found)
            before = found

    def _read(self, step: int) -> _Kept:
        return _Kept(step, *checkpoint.read(self._place.checkpoints, step, contents.PARTS))

    def _damaged(self, name: str, step: int, error: DamagedError) -> Verdict:
        """Returns the verdict on a damaged checkpoint, of which the one network may be sound."""
        if self._place.member is not None:
            try:
                checkpoint.check(self._place.checkpoints, step, self._place.member)
                said = f"not replayed, as another network of its population is damaged: {error}"
                return Verdict(name, replay=said)
            except DamagedError as its:
                error = its
        return Verdict(name, str(error))

    def _judged(self, name: str, before: _Kept | None, kept: _Kept) -> Verdict:
        """Trains from a checkpoint, or from the start, to the next one, and compares."""
        start = 0 if before is None else before.step
        program = self._program(kept.record)
        trained = conditions.during(conditions.history(kept.record), start, kept.step)
        others = conditions.differences(
            trained, conditions.now(program), elastic=layout.is_elastic(self._configs[0])
        )
        saved = Progress(kept.step, kept.arrays, *contents.progress(program, kept.record))
        first = self._trained(program, before, kept)
        found = comparison.differences(saved, first, self._compared)
        since = f"replayed from {'the start' if before is None else start}"
        if not found:
            return Verdict(name, replay=f"{since}: equal", replayed=True)
        details = [line for its in found for line in self._lines(its)]
        if before is None and self._configs[0].init_from:
            details.append(SOURCE)
        if others:
            details += ["trained under other conditions, which may be why (trained -> replayed):"]
            details += [f"  {line}" for line in others]
        if all(line.startswith("commit") for line in others):  # another one may compute the same
            details.append(self._again(program, before, kept, saved, first))
        said = f"{since}: DIFFERS in {self._summary(found, len(kept.arrays))}"
        return Verdict(name, replay=said, details=tuple(details), replayed=True, equal=False)

    def _again(
        self, program: Program, before: _Kept | None, kept: _Kept, saved: Progress, first: Progress
    ) -> str:
        """Trains once more, to tell a training that went wrong from a replay that does."""
        second = self._trained(program, before, kept)
        if not comparison.differences(first, second, self._compared):
            return AGREED
        corrected = not comparison.differences(saved, second, self._compared)
        return CORRECTED if corrected else UNSTEADY

    @property
    def _compared(self) -> Sequence[int]:
        member = self._place.member
        return range(len(self._configs)) if member is None else [member]

    def _program(self, record: Record) -> Program:
        """Returns the networks' program on as many devices as they were trained on last.

        On all devices if that number is too large; in elastic mode, on as many as can share a
        batch equally. If the number is unknown, and they cannot share a batch, on one.
        """
        devices = jax.local_devices()
        history = conditions.history(record)
        trained = history[-1][conditions.FIELD] if history else None
        first = self._configs[0]
        if layout.is_elastic(first):
            devices = devices[: layout.sharing_equally(len(devices))]
        elif trained and trained["processes"] == 1:
            devices = devices[: trained["devices"]]
        elif not trained and not self._members and first.batch_size % len(devices):
            devices = devices[:1]
        count = len(devices)
        if count not in self._programs:
            self._programs[count] = _prepared(self._configs, devices, sweep=bool(self._members))
        return self._programs[count]

    def _trained(self, program: Program, before: _Kept | None, kept: _Kept) -> Progress:
        """Trains from a checkpoint, or from the start, to the step of the next one."""
        template = contents.template(program)
        leaves, _ = jax.tree_util.tree_flatten_with_path(template)
        shapes = {checkpoint.path_name(path): leaf.shape for path, leaf in leaves}
        for its in filter(None, (before, kept)):
            saved = {name: array.shape for name, array in its.arrays.items()}
            checkpoint.refuse_differences(self._what(its), saved, shapes)
        if before is None:
            at, _ = contents.first(program, program.start())
        else:
            # Copies: the compiled steps may write to what they are given.
            copies = {name: np.array(array) for name, array in before.arrays.items()}
            tree = checkpoint.unflatten(copies, template)
            at = contents.position(program, tree, before.record, self._what(before))
        _advance(program, at, kept.step, f"{self._place.prefix}{kept.step}")
        arrays = checkpoint.flatten(contents.arrays(program, at))
        return Progress(at.step, arrays, at.rows, at.status)

    def _what(self, kept: _Kept) -> str:
        return f"checkpoint {self._place.checkpoints / str(kept.step)}"

    def _name(self, member: int) -> str:
        its = self._members[member]
        return f"{its.architecture}, seed {its.config.seed}"

    def _lines(self, its: Difference) -> list[str]:
        where = f"{self._name(its.member)}: " if self._members else ""
        return [f"{where}{line}" for line in its.lines]

    def _summary(self, found: Sequence[Difference], arrays: int) -> str:
        """Says how much differs: arrays of a run; networks of a population, some by name."""
        if not self._members or self._place.member is not None:
            (its,) = found
            return f"{its.count} of {arrays} arrays" if its.count else "the rows or the status"
        names = [self._name(its.member) for its in found[:NAMED]]
        more = [f"{len(found) - NAMED} more"] if len(found) > NAMED else []
        return f"{len(found)} of {len(self._members)} networks ({'; '.join([*names, *more])})"


def _prepared(configs: Sequence[Config], devices: Sequence[Any], *, sweep: bool) -> Program:
    first = configs[0]
    if sweep:
        return prepare_many(configs, layout.for_members(first, len(configs), devices))
    return prepare_one(first, layout.for_batch(first, devices))


def _advance(program: Program, at: Position, until: int, name: str) -> None:
    """Trains the networks up to a step; shows the progress."""
    start = at.epochs * program.steps_per_epoch
    program.make_ready(at.step - start, min(until - start, program.steps_per_epoch))
    if until - start > program.steps_per_epoch:  # the last epoch may end early
        program.make_ready(0, until % program.steps_per_epoch)
    title = f"replaying to {name}"
    console = Console(program.config.num_epochs, program.steps_per_epoch, title)

    def say(at: Position) -> None:
        console.say(f"{title}: {at.step} of {until} steps done")

    train(program, at, StopSignal(), say, console, until)
