"""Several stands that work at the same time, and what came of all of their kills."""

import contextlib
import queue
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.reliability.killing import left, story
from benchmarks.reliability.killing.stand import Stand
from benchmarks.reliability.killing.story import Start, Story
from benchmarks.reliability.killing.victim import Command, Kill
from benchmarks.reliability.progress import Progress

TRIES = 4  # to meet a command that ended before it was killed


class Found:
    """Counts the kills of a row, and collects what was lost; threads may add to it at once."""

    def __init__(self) -> None:
        self.planned = 0  # kills
        self.landed = 0  # of these, in the last of some tries
        self.lost: list[str] = []
        self.work: list[tuple[float, float]] = []
        self.phases: Counter[str] = Counter()
        self.met: set[str] = set()  # kinds of operations
        self.programs = 0  # starts that found a half-written program
        self._lock = threading.Lock()

    def add(self, its: Story) -> None:
        """Adds how a command fared that was killed."""
        with self._lock:
            self.lost += [its.wrong] if its.wrong else []
            self.work += its.work
            for start in its.starts:
                self.programs += "are damaged, and are compiled again" in start.trial.errors
                if start.killed:
                    self.phases.update(start.phases)
                    if start.trial.disturbed is not None:
                        self.met.add(story.kind(start.trial.disturbed, start.folder))

    def fail(self, text: str) -> None:
        """Adds a line about what was lost."""
        with self._lock:
            self.lost.append(text)


class Stands:
    """Some stands, which work at the same time."""

    def __init__(self, folder: Path, count: int, **variables: str) -> None:
        """Starts the processes of the stands.

        Args:
          folder: of all of them.
          count: of stands.
          variables: of the environment.
        """
        names = [folder / f"stand-{i}" for i in range(count)]
        self.all = [Stand(name, folder / "shared", **variables) for name in names]
        self._free: queue.Queue[Stand] = queue.Queue()
        for stand in self.all:
            self._free.put(stand)
        self._expected: dict[Command, tuple[Start, left.Contents]] = {}

    def undisturbed(self, command: Command) -> tuple[Start, left.Contents]:
        """Returns how a command goes that is left alone, and what it leaves.

        A command that prepares data or compiles programs, which it keeps, is run once more: its
        writes are not met again.
        """
        if command not in self._expected:
            with self._one() as stand:
                found = stand.undisturbed(command)
                if stand.has_prepared(found[0]):
                    found = stand.undisturbed(command)
            self._expected[command] = found
        return self._expected[command]

    def kill(self, command: Command, chains: Iterable[Sequence[Kill]], found: Found) -> list[Story]:
        """Runs the command for each chain of kills, and adds what came of it to `found`.

        Operations and times differ from run to run. A chain with a kill that came too late is tried
        again with a kill that comes a little sooner. What hangs, or leaves something that cannot be
        read, is a line of what was lost; the stand gets a new bench.

        Returns:
          The stories of all others.
        """
        _, expected = self.undisturbed(command)
        chains = list(chains)
        progress = Progress(command.name, len(chains))

        def run(chain: Sequence[Kill]) -> list[Story]:
            stories: list[Story] = []
            try:
                for _ in range(TRIES):
                    with self._one() as stand:
                        stories.append(stand.story(command, chain, expected))
                    found.add(stories[-1])
                    if stories[-1].wrong or not stories[-1].missed:
                        break
                    chain = _sooner(chain, stories[-1].kills)
            except Exception as error:
                kills = ", ".join(map(str, chain))
                text = str(error) or "no end within the time that a command may take"
                wrong = f"{command.name}, {kills}: {type(error).__name__}: {text}"
                found.fail(wrong)
                progress.add(wrong)
                return []
            progress.add(stories[-1].wrong)
            return stories

        with ThreadPoolExecutor(len(self.all)) as pool:
            told = list(filter(None, pool.map(run, chains)))
        found.planned += sum(map(len, chains))
        found.landed += sum(stories[-1].kills for stories in told)
        return [its for stories in told for its in stories]

    @contextlib.contextmanager
    def _one(self) -> Iterator[Stand]:
        """Context manager with a stand that is free; whatever fails there, it gets a new bench."""
        stand = self._free.get()
        try:
            yield stand
        except Exception:
            stand.renew()
            raise
        finally:
            self._free.put(stand)

    def close(self) -> None:
        """Ends the processes of all stands."""
        for stand in self.all:
            stand.close()


def _sooner(chain: Sequence[Kill], met: int) -> list[Kill]:
    """Returns a chain of kills of which only the first so many had met a command."""
    return [*chain[:met], *(kill.sooner() for kill in chain[met:])]


@contextlib.contextmanager
def stands(count: int, **variables: str) -> Iterator[Stands]:
    """Context manager that sets up stands in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        found = Stands(Path(folder).resolve(), count, **variables)
        try:
            yield found
        finally:
            found.close()
