"""Kills processes that train one network together, and starts all of them again.

`launch/local.py` starts two processes, each of which is killed at random operations and moments, or
all of them with the launcher. Whatever was killed is started again in the same folder. In the end,
the folder holds what two processes leave there that nobody killed, and the bits of a single one.
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
from benchmarks.reliability.killing.together import ALL, PROCESSES, Blow, Bout, Place
from benchmarks.reliability.progress import SILENCE
from benchmarks.reliability.row import Row

SEED = 20
LEAST = 50  # kills that are promised
KILLS = 52
CHAIN = 5  # kills in one folder
PLACES = 2  # at a time: who has lost a peer in a save waits for most of a minute
NAMES = {"0": "the first process", "1": "the second one", ALL: "all with the launcher"}


class Found:
    """Counts the kills, and collects what was lost."""

    def __init__(self) -> None:
        self.kills: Counter[str] = Counter()  # by whom they met
        self.operations = 0  # of these at an operation
        self.lost: list[str] = []
        self.work: list[tuple[float, float]] = []
        self.ends: list[float] = []  # seconds from a kill to the end of all others

    def add(self, bouts: Sequence[Bout], different: str = "") -> None:
        """Adds what came of blows in one folder, which may differ in the end."""
        hit = [its for its in bouts if its.landed]
        self.kills.update(its.blow.whom for its in hit if its.blow)
        self.operations += sum(its.blow is not None and its.blow.operation > 0 for its in hit)
        self.ends += [its.seconds for its in hit]
        starts = [its.start for its in bouts]
        wrong = [*(its.wrong for its in bouts), different, story.not_gone_on(starts)]
        lost = next(filter(None, wrong), "")
        if lost:
            blows = ", ".join(str(its.blow) for its in bouts if its.blow)
            self.lost.append(f"{blows}: {lost}")
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
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder).resolve()
        places = [Place(where / f"place-{i}", where / "shared") for i in range(PLACES)]
        if quick:
            _kill_once(places[0], found)
        else:
            _kill_often(places, found)
    return [row(found, least=1 if quick else LEAST)]


def _kill_once(place: Place, found: Found) -> None:
    """Kills the second process once, when there is a checkpoint already."""
    start = _left_alone(place, PROCESSES, "1").start
    expected = left.contents(place.run)
    blow = Blow("1", operation=len(start.trial.operations) * 2 // 3)  # in the second of three saves
    found.add(*_struck(place, [blow], expected))


def _kill_often(places: Sequence[Place], found: Found) -> None:
    _left_alone(places[0], 1)
    single = left.contents(places[0].run)
    both = [_left_alone(places[0], PROCESSES, process).start for process in ("0", "1")]
    expected = left.contents(places[0].run)
    found.lost += other_bits(expected, single)
    operations = {str(i): len(start.trial.operations) for i, start in enumerate(both)}
    seconds, said = both[-1].ended - both[-1].began, time.monotonic()
    for number in range(0, KILLS, PLACES):  # more than it takes, unless many come too late
        chains = [_chain(number + i, CHAIN, operations, seconds) for i in range(PLACES)]
        with ThreadPoolExecutor(PLACES) as pool:
            for bouts, different in pool.map(_struck, places, chains, [expected] * PLACES):
                found.add(bouts, different)
        if time.monotonic() - said > SILENCE:
            said = time.monotonic()
            print(f"processes: {found.kills.total()} kills, {len(found.lost)} lost", flush=True)
        if found.kills.total() >= KILLS:
            break


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


def row(found: Found, least: int) -> Row:
    """Returns the row of what was found; fewer kills than `least` are lost."""
    what = f"{PROCESSES} processes of `launch/local.py`, killed up to {CHAIN} times in a row"
    count, lost = found.kills.total(), [*found.lost]
    if count < least:
        lost.append(f"{what}: {count} kills were tried; {least} were promised")
    killed = ", ".join(f"{NAMES[whom]}: {n}" for whom, n in sorted(found.kills.items()))
    texts = [f"kills by whom they met: {killed or 'none'}"]
    texts.append(f"kills at an operation on a file: {found.operations}")
    texts.append("not all the same" if lost else "all ended with the bits of a run left alone")
    if found.work:
        texts.append(story.summary(found.work))
    if found.ends:
        texts.append(f"all had ended {max(found.ends):.0f} s after a kill at the latest")
    return Row(what, count, "; ".join(texts), lost)
