"""Kills `main` and `sweep` at every operation that writes and at random moments, and goes on.

Each is started again until it ends by itself. What is then in its folder has to equal what a run
holds that was left alone: the SHA-256 of each array of each checkpoint, the rows, the figures, the
pictures; and nothing may be left over.
"""

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.reliability.killing import notice, story
from benchmarks.reliability.killing.followed import PHASES
from benchmarks.reliability.killing.stands import Found, Stands, stands
from benchmarks.reliability.killing.victim import FIRST, MAIN, SWEEP, Command, Kill
from benchmarks.reliability.row import Row
from benchmarks.reliability.trial import Disturbance

SEED = 0
TAIL = 15  # operations, more than come after the report
TRIES = 6  # to meet an operation whose number differs from run to run


@dataclass(frozen=True)
class Amount:
    """How often the kills of each kind are tried."""

    operations: int = 1  # every how many of those of `main`
    others: int = 4  # the same of `sweep`, of the reports and of the first start
    moments: int = 6  # in each phase
    chains: int = 12
    fresh: int = 10  # processes that are no forks
    whole: bool = True  # False: leaves out whatever takes long


ALL = Amount()
QUICK = Amount(operations=40, others=90, moments=1, chains=1, fresh=0, whole=False)


# At operations


def at_operations(
    on: Stands, command: Command, found: Found, *, first: int = 1, every: int = 1, all_kinds: bool
) -> str:
    """Kills a command before its operations, and in the middle of its writes.

    Args:
      on: the stands.
      command: the command.
      found: what comes of it is added to this.
      first: number of the operation to begin with.
      every: 2: at every second one, and so on.
      all_kinds: True to see to it that no kind of operation was left out: the order of operations,
        and with it their numbers, differs from run to run.

    Returns:
      How many kinds of operations were met, in words.
    """
    start, _ = on.undisturbed(command)
    operations = [its for its in start.trial.operations if its.number >= first]
    chosen = operations[::every]
    writes = [its for its in operations if its.kind == "write"][::every]
    disturbances = [Disturbance(its.number, "kill") for its in chosen]
    disturbances += [Disturbance(its.number, "torn") for its in writes]
    on.kill(command, ([Kill(at=its)] for its in disturbances), found)
    kinds = {kind: n for kind, n in on.kinds(command).items() if n >= first}
    if all_kinds:
        for attempt in range(TRIES):
            missed = [n for kind, n in kinds.items() if kind not in found.met]
            near = [max(1, n + (attempt + 1) // 2 * (-1) ** attempt) for n in missed]
            on.kill(command, ([Kill(at=Disturbance(n, "kill"))] for n in near), found)
    return f"{len(kinds.keys() & found.met)} of {len(kinds)} kinds of operations"


def _without_report(command: Command) -> Command:
    return dataclasses.replace(command, report=False)


def operations_row(on: Stands, command: Command, amount: Amount, every: int) -> Row:
    """Kills a command at its operations up to its report, which is left out."""
    found = Found()
    command = _without_report(command)
    met = at_operations(on, command, found, every=every, all_kinds=amount.whole)
    where = "each operation" if every == 1 else f"every {every}th operation"
    where += ", and each kind of them," if amount.whole and every > 1 else ""
    what = f"{command.name} killed before {where}"
    what += " that writes, and in the middle of writes"
    if command.cold:
        what += ", as it prepares its data and compiles its programs for the first time"
    return _row(what, found, f"{met} were met; ")


def report_row(on: Stands, amount: Amount) -> Row:
    """Kills commands at the operations of their reports."""
    found, met = Found(), []
    for command in (MAIN, SWEEP) if amount.whole else (MAIN,):
        before = len(on.undisturbed(_without_report(command))[0].trial.operations) - TAIL
        met += [
            at_operations(
                on, command, found, first=before, every=amount.others, all_kinds=amount.whole
            )
        ]
    names = "`main` and `sweep`" if amount.whole else "`main`"
    what = f"{names} killed at operations of the evaluation, the plots and the report"
    return _row(what, found, f"{' and '.join(met)} were met; ")


# At moments


def moments(
    on: Stands, command: Command, phases: Iterable[str], count: int, dice: random.Random
) -> Iterator[Kill]:
    """Yields kills at random moments of phases of a command, `count` in each phase."""
    durations = on.undisturbed(command)[0].durations()
    for phase in phases:
        numbers = [number for name, number in durations if name == phase]
        for _ in range(count if numbers else 0):
            number = dice.choice(numbers)
            yield Kill(phase=(phase, number, dice.uniform(0, durations[phase, number])))


def moments_row(on: Stands, amount: Amount) -> Row:
    """Kills commands at random moments of each phase."""
    found, dice = Found(), random.Random(SEED)
    others = [phase for phase in PHASES if phase not in ("data preparation", "report")]

    def kill(command: Command, phases: Sequence[str], count: int) -> None:
        on.kill(command, [[kill] for kill in moments(on, command, phases, count, dice)], found)

    kill(_without_report(MAIN), others[-3:] if not amount.whole else others, amount.moments)
    kill(MAIN, ["report"], amount.moments)
    if amount.whole:
        kill(_without_report(SWEEP), others, amount.moments)
        kill(SWEEP, ["report"], amount.moments)
        kill(FIRST, ["data preparation", "compilation"], amount.moments)
        mnist = dataclasses.replace(MAIN, name="`main` on a new machine", report=False, cold=True)
        kill(mnist, ["data preparation", "compilation"], amount.moments // 2)
    hit = ", ".join(f"{phase} {n}" for phase, n in found.phases.most_common())
    what = "`main` and `sweep`" if amount.whole else "`main`"
    return _row(f"{what} killed at random moments of each phase", found, f"({hit}); ")


def chains_row(on: Stands, amount: Amount) -> Row:
    """Kills commands again and again, up to five times in a row."""
    found, dice = Found(), random.Random(SEED + 1)
    for command, count in ((MAIN, amount.chains), (SWEEP, amount.chains // 2)):
        command = _without_report(command)
        start, _ = on.undisturbed(command)
        seconds = start.ended - start.began
        chains = [
            [Kill(after=dice.uniform(0.1 * seconds, seconds)) for _ in range(dice.randint(2, 5))]
            for _ in range(count)
        ]
        on.kill(command, chains, found)
    return _row("killed two to five times in a row, at random moments", found)


def fresh_row(on: Stands, amount: Amount) -> Row:
    """Kills processes that are no forks."""
    found, dice = Found(), random.Random(SEED + 2)
    start, _ = on.undisturbed(MAIN)
    seconds = start.ended - start.began + 3.0  # in which it imports
    kills = [[Kill(after=dice.uniform(0.2, seconds), fresh=True)] for _ in range(amount.fresh)]
    on.kill(MAIN, kills, found)
    return _row("`python -m mnist_jax.main` killed at random moments from its start on", found)


def _row(what: str, found: Found, more: str = "") -> Row:
    same = "all ended with the bits of an undisturbed run" if not found.lost else "not all the same"
    work = f"; {story.summary(found.work)}" if found.work else ""
    again = f"; {found.programs} starts compiled a half-written program again"
    return Row(
        what, found.kills, f"{more}{same}{work}{again if found.programs else ''}", found.lost
    )


def measure(*, quick: bool) -> list[Row]:
    """Kills commands, and returns a row for each kind of kill."""
    amount = QUICK if quick else ALL
    parts: list[Callable[[Stands], Row]] = [
        lambda on: operations_row(on, MAIN, amount, amount.operations),
        lambda on: report_row(on, amount),
        lambda on: moments_row(on, amount),
        lambda on: chains_row(on, amount),
    ]
    if amount.whole:
        parts += [
            lambda on: operations_row(on, SWEEP, amount, amount.others),
            lambda on: operations_row(on, FIRST, amount, amount.others),
            lambda on: fresh_row(on, amount),
        ]
    with stands() as on:
        rows = [part(on) for part in parts]
    return rows + notice.measure(quick=quick)
