"""Kills `main` and `sweep` at every operation that writes and at random moments, and goes on.

Each is started again until it ends by itself. It has to go on from the newest checkpoint that was
complete. What is then in its folder has to equal what a run holds that was left alone: the SHA-256
of each array of each checkpoint, the records, the rows, the figures, the pictures; and nothing may
be left over.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from benchmarks.reliability.killing import notice, operations, story
from benchmarks.reliability.killing.followed import JOINING, PHASES
from benchmarks.reliability.killing.stand import prepared
from benchmarks.reliability.killing.stands import Found, Stands, stands
from benchmarks.reliability.killing.victim import FEW, FIRST, MAIN, SMALL, SWEEP, Command, Kill
from benchmarks.reliability.row import Row
from benchmarks.reliability.trial import Disturbance

SEED = 0
LEAST = 500  # kills
STANDS = 2  # as many as there are cores
TAIL = 15  # operations, more than come after the report
SWEEPS = 3  # every how many of the other operations of `sweep` and the first start
REPORTS = 3  # every how many of the other operations of the report of `sweep`
MOMENTS = 6  # in each phase
CHAINS = 12
FRESH = 10  # processes that are no forks


# At operations


def operations_row(on: Stands, command: Command, *, others: int = 1, first: int = 1) -> Row:
    """Kills a command before its operations, and in the middle of its writes.

    Args:
      on: the stands.
      command: the command.
      others: 2: at every second one of the operations that are no write, fsync or rename.
      first: number of the operation to begin with.
    """
    found = Found()
    operations.kill(on, command, found, others=others, first=first)
    kinds = operations.meet_all_kinds(on, command, found, first)
    return _row(_at_which(command, others, first), found, kinds)


def _at_which(command: Command, others: int, first: int) -> str:
    """Returns at which operations a command was killed, in words."""
    text = "before each operation that writes"
    if others > 1:
        text = f"before each write, fsync and rename and every {_th(others)} other operation"
    text = f"{command.name} killed {text}, and in the middle of these writes"
    if command.cold:
        text += ", as it prepares its data and compiles its programs for the first time"
    return text + (" (evaluation, plots and report)" if first > 1 else "")


def _th(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def report_row(on: Stands, command: Command, *, others: int = 1) -> Row:
    """Kills a command at the operations of its evaluation, its plots and its report."""
    before = len(on.undisturbed(_without_report(command))[0].trial.operations) - TAIL
    return operations_row(on, command, others=others, first=max(2, before))


def _without_report(command: Command) -> Command:
    return dataclasses.replace(command, report=False)


# At moments


def moments(
    on: Stands, command: Command, phase: str, count: int, dice: random.Random, found: Found
) -> list[list[Kill]]:
    """Returns kills at random moments of a phase of a command, `count` of them.

    Before a checkpoint is restored, there has to be one: so before a kill in that phase comes one
    in the second save, when the first checkpoint is complete.
    """
    before: list[Kill] = []
    start, _ = on.undisturbed(command)
    if phase == "restore":
        before = [Kill(phase=("save", 2, 0.0))]
        start = next((its.starts[-1] for its in on.kill(command, [before], found)), start)
    durations = start.durations()
    numbers = [number for name, number in durations if name == phase]
    chains = []
    for _ in range(count if numbers else 0):
        number = dice.choice(numbers)
        seconds = dice.uniform(0, durations[phase, number])
        chains.append([*before, Kill(phase=(phase, number, seconds))])
    return chains


def moments_row(on: Stands) -> Row:
    """Kills commands at random moments of each phase."""
    found, dice = Found(), random.Random(SEED)
    others = [its for its in PHASES if its not in (JOINING, "data preparation", "report")]
    first = ["data preparation", "compilation"]

    def kill(command: Command, phases: Iterable[str], count: int = MOMENTS) -> None:
        left = list(phases)
        for _ in range(operations.TRIES):
            chains = [
                its for phase in left for its in moments(on, command, phase, count, dice, found)
            ]
            starts = [its for each in on.kill(command, chains, found) for its in each.starts]
            met = set[str]().union(*(its.phases for its in starts if its.killed))
            left = [phase for phase in left if phase not in met]
            if not left:
                return
        found.lost += [f"{command.name}: no kill met the phase {phase}" for phase in left]

    kill(_without_report(MAIN), others)
    kill(MAIN, ["report"])
    kill(_without_report(SWEEP), others)
    kill(SWEEP, ["report"])
    kill(FIRST, first)
    mnist = dataclasses.replace(MAIN, name="`main` on a new machine", report=False, cold=True)
    kill(mnist, first, MOMENTS // 2)
    hit = ", ".join(f"{phase} {n}" for phase, n in found.phases.most_common())
    text = f"under way were: {hit} (saves go on beside other phases)"
    return _row("`main` and `sweep` killed at random moments of each phase", found, text)


def chains_row(on: Stands) -> Row:
    """Kills commands again and again, up to five times in a row."""
    found, dice = Found(), random.Random(SEED + 1)
    for command, count in ((MAIN, CHAINS), (SWEEP, CHAINS // 2)):
        command = _without_report(command)
        start, _ = on.undisturbed(command)
        seconds = start.ended - start.began  # later starts have less to do
        chains = [
            [Kill(after=dice.uniform(0.1, 1 / n) * seconds) for n in range(1, dice.randint(3, 6))]
            for _ in range(count)
        ]
        on.kill(command, chains, found)
    return _row("`main` and `sweep` killed up to five times in a row, at random moments", found)


def fresh_row(on: Stands) -> Row:
    """Kills processes that are no forks."""
    found, dice = Found(), random.Random(SEED + 2)
    start, _ = on.undisturbed(MAIN)
    seconds = start.ended - start.began + 3.0  # in which it imports
    kills = [[Kill(after=dice.uniform(0.2, seconds), fresh=True)] for _ in range(FRESH)]
    on.kill(MAIN, kills, found)
    return _row("`python -m mnist_jax.main` killed at random moments from its start on", found)


# All together


PARTS: dict[str, Callable[[Stands], Row]] = {
    "the operations of `main`": lambda on: operations_row(on, _without_report(MAIN)),
    "the report of `main`": lambda on: report_row(on, MAIN),
    "the operations of `sweep`": lambda on: operations_row(
        on, _without_report(SWEEP), others=SWEEPS
    ),
    "the report of `sweep`": lambda on: report_row(on, SWEEP, others=REPORTS),
    "the first start": lambda on: operations_row(on, FIRST, others=SWEEPS),
    "moments": moments_row,
    "several kills in a row": chains_row,
    "new processes": fresh_row,
}


def measure(*, quick: bool) -> list[Row]:
    """Kills commands, and returns a row for each kind of kill."""
    if quick:
        with stands(1) as on:
            return quick_rows(on)
    with stands(STANDS, **prepared()) as on:
        rows = [_row_of(name, part, on) for name, part in PARTS.items()]
    rows[0].lost.extend(too_few(rows, LEAST))
    return rows + notice.measure()


def too_few(rows: Sequence[Row], least: int) -> list[str]:
    """Returns a line if fewer kills were tried than were promised."""
    tried = sum(row.tried for row in rows)
    return [] if tried >= least else [f"{tried} kills were tried; {least} were promised"]


def quick_rows(on: Stands) -> list[Row]:
    """Kills a small run in a save, its report and a restore, and a sweep at a random moment."""
    runs, sweeps = Found(), Found()
    start, _ = on.undisturbed(SMALL)
    counts = Counter(its.kind for its in start.trial.operations)
    saving = Disturbance(counts["write"] // 3, "torn", kinds=("write",))
    reporting = Disturbance(counts["rename"] * 3 // 4, "kill", kinds=("rename",))
    restoring = Kill(phase=("restore", 1, 0.0))
    on.kill(SMALL, [[Kill(at=saving), Kill(at=reporting), restoring]], runs)
    on.kill(FEW, moments(on, FEW, "training", 1, random.Random(SEED), sweeps), sweeps)
    return [
        _row(f"{SMALL.name} killed in a save, in its report, and in the restore after it", runs),
        _row(f"{FEW.name} killed once in its training", sweeps),
    ]


def _row_of(name: str, part: Callable[[Stands], Row], on: Stands) -> Row:
    """Returns the row of a part; if it fails, what kept it from its end is lost."""
    print(name, flush=True)
    try:
        return part(on)
    except Exception as error:
        return Row(f"kills: {name}", 0, "did not end", [f"{name}: {type(error).__name__}: {error}"])


def _row(what: str, found: Found, *more: str) -> Row:
    lost = found.lost if found.landed else [*found.lost, f"{what}: no case ran"]
    same = "all ended with the bits of an undisturbed run" if not lost else "not all the same"
    texts = [f"{found.landed} of {found.planned} planned kills landed", *more, same]
    if found.work:
        texts.append(story.summary(found.work))
    if found.programs:
        texts.append(f"starts that compiled a half-written program again: {found.programs}")
    return Row(what, found.landed, "; ".join(texts), lost)
