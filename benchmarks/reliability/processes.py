"""Kills processes that train one network or a sweep together, and starts all of them again.

`launch/local.py` starts two processes, each of which is killed at random operations and moments, or
all of them with the launcher. Whatever was killed is started again in the same folder. In the end,
the folder holds what two processes leave there that nobody killed, and of one network the bits of a
single process; a sweep's networks are distributed to the processes, which changes their programs.
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.reliability.killing import left, story
from benchmarks.reliability.killing.story import Start
from benchmarks.reliability.killing.together import (
    ALL,
    MAIN,
    PROCESSES,
    SWEEP,
    Blow,
    Bout,
    Place,
    Team,
)
from benchmarks.reliability.progress import SILENCE
from benchmarks.reliability.row import Row

SEED = 20
LEAST = {MAIN: 50, SWEEP: 12}  # kills that are promised
MORE = 2  # kills than that
CHAINS = {MAIN: 5, SWEEP: 3}  # kills in one folder, where a sweep is finished earlier
PLACES = 2  # at a time: who has lost a peer in a save waits for most of a minute
NAMES = {"0": "the first process", "1": "the second one", ALL: "all with the launcher"}


class Found:
    """Counts the kills, and collects what was lost."""

    def __init__(self) -> None:
        self.blows = 0  # tried
        self.kills: Counter[str] = Counter()  # by whom they met
        self.operations = 0  # of these at an operation
        self.lost: list[str] = []
        self.work: list[tuple[float, float]] = []
        self.ends: list[float] = []  # seconds from a kill to the end of all others
        self.aborted = 0  # processes, without a message of ours
        self.ended = 0  # processes, by the launcher

    def add(self, bouts: Sequence[Bout], different: str = "") -> None:
        """Adds what came of blows in one folder, which may differ in the end."""
        hit = [its for its in bouts if its.landed]
        self.blows += sum(its.blow is not None for its in bouts)
        self.aborted += sum(its.aborted for its in bouts)
        self.ended += sum(len(its.ended) for its in bouts)
        self.kills.update(its.blow.whom for its in hit if its.blow)
        self.operations += sum(its.blow is not None and its.blow.operation > 0 for its in hit)
        self.ends += [its.seconds for its in hit]
        starts = [its.start for its in bouts]
        wrong = [*(its.wrong for its in bouts), different, *story.not_gone_on(starts)]
        lost = next(filter(None, wrong), "")
        if lost:
            blows = ", ".join(str(its.blow) for its in bouts if its.blow)
            self.lost.append(f"{blows}: {lost}")
            print(f"processes: {self.lost[-1]}", flush=True)  # the part goes on for minutes
        self.work += story.lost_work(starts)


def _struck(place: Place, blows: Sequence[Blow], expected: left.Contents) -> tuple[list[Bout], str]:
    """Lets each blow meet a start in an empty folder, then lets the processes end.

    Returns:
      What came of them, and how what is there then differs from what is expected, in words.
    """
    shutil.rmtree(place.run, ignore_errors=True)
    bouts: list[Bout] = []
    try:
        for blow in [*blows, None]:
            bouts.append(place.start(blow))
            if bouts[-1].start.trial.status == 0:
                break
        return bouts, left.differences(left.contents(place.run), expected)
    except Exception as error:  # of what cannot be read; the other chains go on
        return bouts, f"{type(error).__name__}: {error}"


def _chain(
    number: int, size: int, operations: dict[str, int], seconds: dict[str, float]
) -> list[Blow]:
    """Returns blows for one folder, at operations and at moments in turn.

    Args:
      number: of the chain, from 0 on.
      size: the number of blows.
      operations: of each process, in a start that nobody kills.
      seconds: of such a start, and of each process from when all have joined.
    """
    dice, blows = random.Random(SEED + number), []
    for i in range(size):
        kind = (number + i) % 5
        if kind == 4:
            blows.append(Blow(ALL, after=dice.uniform(0.1, 0.9) * seconds[ALL]))
        elif kind % 2:
            whom = "01"[kind == 1]
            blows.append(Blow(whom, after=dice.uniform(0, 0.9) * seconds[whom]))
        else:  # later starts have less to do
            whom = "01"[kind == 2]
            last = max(1, operations[whom] // (i + 1))
            blows.append(Blow(whom, operation=dice.randint(1, last)))
    return blows


def measure(*, quick: bool) -> list[Row]:
    """Kills processes that train together, and returns a row for each command."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder).resolve()
        if quick:
            place = Place(where / "place", where / "shared", MAIN)
            return [row(_killed_once(place), MAIN, 1)]
        rows = []
        for team, least in LEAST.items():
            names = [where / f"{team.words[0]}-{i}" for i in range(PLACES)]
            places = [Place(name, where / "shared", team) for name in names]
            rows.append(row(_killed_often(places, team, least + MORE), team, least))
        return rows


def _killed_once(place: Place, whom: str = "0") -> Found:
    """Kills a process once, in the second of three saves; the first one is missed at once."""
    found = Found()
    count = _operations(place, _left_alone(place, PROCESSES, whom))
    expected = left.contents(place.run)
    found.add(*_struck(place, [Blow(whom, operation=count * 2 // 3)], expected))
    return found


def _killed_often(places: Sequence[Place], team: Team, kills: int) -> Found:
    found, first = Found(), places[0]
    both = {process: _left_alone(first, PROCESSES, process) for process in ("0", "1")}
    expected = left.contents(first.run)
    if team.elastic:
        _left_alone(first, 1)
        found.lost += other_bits(expected, left.contents(first.run))
    operations = {process: _operations(first, bout) for process, bout in both.items()}
    seconds, said = _seconds(both["1"].start), time.monotonic()
    for number in range(0, kills, PLACES):  # more than it takes, unless many come too late
        chains = [_chain(number + i, CHAINS[team], operations, seconds) for i in range(PLACES)]
        with ThreadPoolExecutor(PLACES) as pool:
            for bouts, different in pool.map(_struck, places, chains, [expected] * PLACES):
                found.add(bouts, different)
        if time.monotonic() - said > SILENCE:
            said = time.monotonic()
            counts = f"{found.kills.total()} kills, {len(found.lost)} lost"
            print(f"processes, {team.name}: {counts}", flush=True)
        if found.kills.total() >= kills:
            break
    return found


def _operations(place: Place, bout: Bout) -> int:
    """Returns the number of operations on the run's files; no others are met in each start."""
    folder = f"{place.run}/"
    return sum(its.path.startswith(folder) for its in bout.start.trial.operations)


def _seconds(start: Start) -> dict[str, float]:
    """Returns the seconds of a start, and those of each process from when all have joined."""
    joined = max(note.at for note in start.joined)
    return {ALL: start.ended - start.began} | dict.fromkeys("01", start.ended - joined)


def _left_alone(place: Place, count: int, counted: str = "") -> Bout:
    """Trains in an empty folder; the operations are those of the process that is counted.

    Raises:
      RuntimeError: it did not end with status 0.
    """
    shutil.rmtree(place.run, ignore_errors=True)
    bout = place.start(Blow(counted) if counted else None, count)
    if bout.wrong:
        raise RuntimeError(f"{count} processes that nobody killed: {bout.wrong}")
    return bout


def other_bits(found: left.Contents, single: left.Contents) -> list[str]:
    """Returns a line if the checkpoints and rows are not those of a single process."""

    def compared(contents: left.Contents) -> left.Contents:
        return {
            name: {k: v for k, v in its.items() if k != f"{left.RECORD}conditions"}
            if isinstance(its, dict)
            else its
            for name, its in contents.items()
            if not name.endswith("result.json")
        }

    text = left.differences(compared(found), compared(single))
    return [f"two processes, without a kill, do not end as one does: {text}"] if text else []


def row(found: Found, team: Team, least: int) -> Row:
    """Returns the row of what was found; fewer kills than `least` are lost."""
    what = f"{team.name} in {PROCESSES} processes of `launch/local.py`, "
    what += f"killed up to {CHAINS[team]} times in a row"
    count, lost = found.kills.total(), [*found.lost]
    if count < least:
        lost.append(f"{what}: {count} kills were tried; {least} were promised")
    killed = ", ".join(f"{NAMES[whom]}: {n}" for whom, n in sorted(found.kills.items()))
    texts = [f"{count} of {found.blows} tried kills landed; by whom they met: {killed or 'none'}"]
    texts.append(f"kills at an operation on a file: {found.operations}")
    texts.append("not all the same" if lost else "all ended with the bits of a run left alone")
    if found.work:
        texts.append(story.summary(found.work))
    if found.ends:
        texts.append(f"all had ended {max(found.ends):.0f} s after a kill at the latest")
    if found.aborted:
        texts.append(f"others that JAX aborted, without a message of ours: {found.aborted}")
    if found.ended:
        texts.append(
            "others that the launcher ended, as the one that was killed had not joined them: "
            f"{found.ended}"
        )
    return Row(what, count, "; ".join(texts), lost)
