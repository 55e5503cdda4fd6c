"""Several stands that work at the same time, and what came of all of their kills."""

import contextlib
import queue
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.reliability.killing import bits, story
from benchmarks.reliability.killing.stand import Stand, prepared
from benchmarks.reliability.killing.story import Start, Story
from benchmarks.reliability.killing.victim import Command, Kill

STANDS = 2  # as many as there are cores
SILENCE = 30.0  # seconds between two lines that show progress


class Found:
    """Counts the kills of a row, and collects what was lost."""

    def __init__(self) -> None:
        self.kills = 0
        self.lost: list[str] = []
        self.work: list[tuple[float, float]] = []
        self.phases: Counter[str] = Counter()
        self.met: set[str] = set()  # kinds of operations
        self.programs = 0  # starts that found a half-written program

    def add(self, its: Story, folder: Path) -> None:
        """Adds how a command fared, which was killed on a stand in `folder`."""
        self.kills += its.kills
        self.lost += [its.wrong] if its.wrong else []
        self.work += its.work
        for start in its.starts:
            self.programs += "are damaged, and are compiled again" in start.trial.errors
            if start.killed:
                self.phases[start.phase] += 1
                if start.trial.disturbed is not None:
                    self.met.add(story.kind(start.trial.disturbed, folder))


class Stands:
    """Some stands, which work at the same time."""

    def __init__(self, folder: Path, count: int) -> None:
        """Starts the processes of the stands.

        Args:
          folder: of all of them.
          count: of stands.
        """
        names = [folder / f"stand-{i}" for i in range(count)]
        self._all = [Stand(name, folder / "shared", **prepared()) for name in names]
        self._free: queue.Queue[Stand] = queue.Queue()
        for stand in self._all:
            self._free.put(stand)
        self._expected: dict[Command, tuple[Start, bits.Contents]] = {}
        self._said = time.monotonic()

    def undisturbed(self, command: Command) -> tuple[Start, bits.Contents]:
        """Returns how a command goes that is left alone, and what it leaves."""
        if command not in self._expected:
            with self._one() as stand:
                stand.undisturbed(command)  # keeps its programs, whose writes are not met again
                self._expected[command] = stand.undisturbed(command)
        return self._expected[command]

    def kill(self, command: Command, chains: Iterable[Sequence[Kill]], found: Found) -> None:
        """Runs the command once for each chain of kills, and adds what came of it to `found`."""
        _, expected = self.undisturbed(command)
        chains = list(chains)

        def run(chain: Sequence[Kill]) -> None:
            with self._one() as stand:
                found.add(stand.story(command, chain, expected), stand.bench.folder)
            if time.monotonic() - self._said > SILENCE:
                self._said = time.monotonic()
                text = f"{command.name}: {found.kills} kills, {len(found.lost)} lost"
                print(f"{text}, of {len(chains)} cases", flush=True)

        with ThreadPoolExecutor(len(self._all)) as pool:
            list(pool.map(run, chains))

    @contextlib.contextmanager
    def _one(self) -> Iterator[Stand]:
        stand = self._free.get()
        try:
            yield stand
        finally:
            self._free.put(stand)

    def kinds(self, command: Command) -> dict[str, int]:
        """Returns the kinds of operations of a command that is left alone, with a number each."""
        start, _ = self.undisturbed(command)
        folder = start.folder
        return {story.kind(its, folder): its.number for its in start.trial.operations}

    def close(self) -> None:
        """Ends the processes of all stands."""
        for stand in self._all:
            stand.close()


@contextlib.contextmanager
def stands(count: int = STANDS) -> Iterator[Stands]:
    """Context manager that sets up stands in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        found = Stands(Path(folder).resolve(), count)
        try:
            yield found
        finally:
            found.close()
