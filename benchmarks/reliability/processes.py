"""Kills processes that train one network together, and starts all of them again.

`launch/local.py` starts two processes, each of which is killed at random operations and moments, or
all of them with the launcher. Whatever was killed is started again in the same folder. In the end,
the folder holds what two processes leave there that nobody killed, and the bits of a single one.
"""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.reliability.killing import bits, story
from benchmarks.reliability.killing.story import Start
from benchmarks.reliability.killing.together import ALL, PROCESSES, Blow, Place, killed, wrong
from benchmarks.reliability.row import Row

SEED = 20
KILLS = 52
CHAIN = 5  # kills in one folder
PLACES = 2  # at a time: who has lost a peer in a save waits for most of a minute


class Found:
    """Counts the kills, and collects what was lost."""

    def __init__(self) -> None:
        self.kills: Counter[str] = Counter()  # by whom they met, and how
        self.lost: list[str] = []
        self.work: list[tuple[float, float]] = []
        self.ends: list[float] = []  # seconds from a kill to the end of all others

    def add(self, blows: Sequence[Blow], starts: Sequence[Start], different: str) -> None:
        """Adds what came of blows to starts in one folder, which may differ in the end."""
        for blow, start in zip(blows, starts, strict=False):
            if killed(start):
                self.kills[f"{blow.whom}{' at an operation' if blow.operation else ''}"] += 1
                self.ends += [start.since_signal - blow.after] if blow.after else []
        lost = next(filter(None, map(wrong, starts)), different)
        if lost:
            self.lost.append(f"{', '.join(map(str, blows))}: {lost}")
        self.work += story.lost_work(starts)


def _struck(
    place: Place, blows: Sequence[Blow], expected: bits.Contents
) -> tuple[list[Start], str]:
    """Lets each blow meet a start in an empty folder, then lets the processes end.

    Returns:
      The starts, and how what is there then differs from what is expected, in words.
    """
    shutil.rmtree(place.run, ignore_errors=True)
    starts = []
    for blow in [*blows, None]:
        starts.append(place.start(blow))
        if starts[-1].trial.status == 0:
            break
    return starts, bits.differences(bits.contents(place.run), expected)


def _chain(number: int, size: int, operations: dict[str, int], seconds: float) -> list[Blow]:
    """Returns blows for one folder, at operations and at moments in turn.

    Args:
      number: of the chain, from 0 on.
      size: the number of blows.
      operations: of each process, in a start that nobody kills.
      seconds: of such a start.
    """
    dice, blows = random.Random(SEED + number), []
    for i in range(size):
        kind = (number + i) % 5
        if kind == 4:
            blows.append(Blow(ALL, after=dice.uniform(0.1, 0.9) * seconds))
        elif kind % 2:
            blows.append(Blow("01"[kind == 1], after=dice.uniform(0.4, 0.9) * seconds))
        else:  # later starts have less to do
            whom = "01"[kind == 2]
            last = max(1, operations[whom] // (i + 1))
            blows.append(Blow(whom, operation=dice.randint(1, last)))
    return blows


def measure(*, quick: bool) -> list[Row]:
    """Kills processes that train together, and returns a row with what came of it."""
    goal, size = (2, 1) if quick else (KILLS, CHAIN)
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder).resolve()
        places = [Place(where / f"place-{i}", where / "shared") for i in range(PLACES)]
        _left_alone(places[0], 1)
        single = bits.contents(places[0].run)
        both = [_left_alone(places[0], PROCESSES, process) for process in ("0", "1")]
        expected = bits.contents(places[0].run)
        found.lost += _other_bits(expected, single)
        operations = {str(i): len(start.trial.operations) for i, start in enumerate(both)}
        seconds = both[-1].ended - both[-1].began
        for number in range(0, goal, PLACES):  # more than it takes, unless many come too late
            chains = [_chain(number + i, size, operations, seconds) for i in range(PLACES)]
            with ThreadPoolExecutor(PLACES) as pool:
                struck = list(pool.map(_struck, places, chains, [expected] * PLACES))
            for blows, (starts, different) in zip(chains, struck, strict=True):
                found.add(blows, starts, different)
            print(f"{found.kills.total()} kills, {len(found.lost)} lost", flush=True)
            if found.kills.total() >= goal:
                break
    return [_row(found)]


def _left_alone(place: Place, count: int, counted: str = "") -> Start:
    """Trains in an empty folder; the operations are those of the process that is counted.

    Raises:
      RuntimeError: it did not end with status 0.
    """
    shutil.rmtree(place.run, ignore_errors=True)
    start = place.start(Blow(counted) if counted else None, count)
    if start.trial.status:
        raise RuntimeError(f"{count} processes ended with {start.trial.status}: {start.trial}")
    return start


def _other_bits(found: bits.Contents, single: bits.Contents) -> list[str]:
    """Returns a line if the checkpoints and rows are not those of a single process."""

    def compared(contents: bits.Contents) -> bits.Contents:
        return {n: its for n, its in contents.items() if not n.endswith("result.json")}

    text = bits.differences(compared(found), compared(single))
    return [f"two processes, without a kill, do not end as one does: {text}"] if text else []


def _row(found: Found) -> Row:
    kills = found.kills
    whom = {
        "the first process": "0",
        "the second one": "1",
        "all with the launcher": ALL,
    }
    parts = [
        f"{name} {kills[key] + kills[f'{key} at an operation']} times"
        for name, key in whom.items()
        if kills[key] or kills[f"{key} at an operation"]
    ]
    at = sum(n for key, n in kills.items() if "operation" in key)
    same = "all ended with the bits of a single process that nobody killed"
    texts = [
        f"{', '.join(parts)}, {at} of these at an operation that writes",
        "not all the same" if found.lost else same,
        story.summary(found.work) if found.work else "no work was lost",
    ]
    if found.ends:
        texts.append(f"all had ended {max(found.ends):.0f} s after a kill at the latest")
    what = f"{PROCESSES} processes of `launch/local.py`, killed up to five times in a row"
    return Row(what, kills.total(), "; ".join(texts), found.lost)
