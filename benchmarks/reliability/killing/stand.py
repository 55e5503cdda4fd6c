"""Commands that are killed and started again until they have ended by themselves."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.forks import TIMEOUT
from benchmarks.reliability.killing import left, network
from benchmarks.reliability.killing.story import (
    Start,
    Story,
    lost_work,
    not_gone_on,
    read_notes,
    wrong,
)
from benchmarks.reliability.killing.victim import RUN, Command, Kill
from benchmarks.reliability.trial import Bench, Trial

FOLLOWED = ("-m", "benchmarks.reliability.killing.followed")
STARTS = 10  # at most, of a command that should end


class Stand:
    """A bench with the small configurations, in which commands are killed and started again."""

    def __init__(self, folder: Path, shared: Path, **variables: str) -> None:
        """Starts the process of the bench.

        Args:
          folder: of the bench.
          shared: the data, the programs and the notes of all benches.
          variables: of the environment.
        """
        network.write(folder)
        self._notes = shared / f"notes-{folder.name}.jsonl"
        self._temporary = folder / "temporary"
        self._temporary.mkdir()
        self._variables = {"TMPDIR": str(self._temporary)} | variables
        self.run = folder / RUN
        self._cold = {name: str(folder / name) for name in ("TFDS_DATA_DIR", "XDG_CACHE_HOME")}
        self._data = Path(self._cold["TFDS_DATA_DIR"])
        self.bench = Bench(folder, shared, timeout=TIMEOUT, **self._variables)
        self._shared = shared

    def renew(self) -> None:
        """Ends the process of the bench, which may hang, and starts another one."""
        with contextlib.suppress(Exception):
            self.bench.close()
        self.bench = Bench(self.bench.folder, self._shared, timeout=TIMEOUT, **self._variables)

    def undisturbed(self, command: Command) -> tuple[Start, left.Contents]:
        """Runs a command in an empty folder; returns how it went and what is there then.

        Raises:
          RuntimeError: it did not end with status 0.
        """
        self.empty(command)
        start = self.start(command)
        if start.trial.status:
            raise RuntimeError(f"{command.name} ended with {start.trial.status}: {start.trial}")
        return start, self._left(command)

    def has_prepared(self, start: Start) -> bool:
        """True if a start has written data or programs that all stands share."""
        shared = tuple(self.bench.environment[name] for name in self._cold)
        return any(  # each start makes the folders, in case that they are not there
            its.path.startswith(shared) and its.kind != "mkdir" for its in start.trial.operations
        )

    def _left(self, command: Command) -> left.Contents:
        """Returns what is in the folder of the run, in its own data, and in temporary files."""
        data = left.prepared(self._data) if command.cold else {}
        return left.contents(self.run) | data | left.temporary(self._temporary)

    def story(self, command: Command, kills: Sequence[Kill], expected: Mapping[str, Any]) -> Story:
        """Runs a command in an empty folder, kills it, and starts it until it ends by itself.

        Args:
          command: the command.
          kills: of its first starts, in this order.
          expected: what is in its folder if it is left alone.
        """
        self.empty(command)
        starts = []
        for kill in [*kills, *[None] * STARTS]:
            starts.append(self.start(command, kill))
            if not starts[-1].killed:
                break
        lost = next(filter(None, (wrong(start.trial) for start in starts)), "")
        if not lost:
            lost = left.differences(self._left(command), dict(expected))
        if not lost and left.rows_differ(self.run):
            lost = "metrics.csv does not hold the rows of metrics.jsonl"
        if not lost:
            lost = next(filter(None, not_gone_on(starts)), "")
        if lost:
            lost = f"{command.name}, {', '.join(map(str, kills))}: {lost}"
        missed = len(kills) - sum(start.killed for start in starts)
        return Story(starts, lost, lost_work(starts), missed)

    def start(self, command: Command, kill: Kill | None = None, **more: str) -> Start:
        """Runs a command in the folder as it is.

        Args:
          command: the command.
          kill: what happens to it; None: nothing.
          more: variables of the environment.
        """
        self._notes.unlink(missing_ok=True)
        variables = {"FOLLOWED_NOTES": str(self._notes)} | more
        if not command.report:
            variables["FOLLOWED_REPORT"] = "0"
        if command.cold:
            variables |= self._cold
        kill = kill or Kill()
        if kill.phase is not None:
            variables["FOLLOWED_SIGNAL"] = " ".join(map(str, [*kill.phase, kill.number.name]))
        sent = None if kill.after is None else (kill.number, kill.after)
        words = (*FOLLOWED, *command.words)
        began = time.perf_counter()
        if kill.fresh:
            trial = self._fresh(words, variables, kill.after)
        else:
            trial = self.bench.run(*words, disturbance=kill.at, sent=sent, **variables)
        ended, notes = time.perf_counter(), read_notes(self._notes)
        return Start(trial, notes, self.bench.folder, began, ended, left.newest(self.run))

    def _fresh(self, words: Sequence[str], variables: dict[str, str], after: float | None) -> Trial:
        """Runs `python WORDS` in a new process, and kills it after some seconds."""
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.bench.folder,
            env=self.bench.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
        output, errors = process.communicate()
        return Trial(process.returncode, output, errors, [])

    def empty(self, command: Command) -> None:
        """Removes what earlier commands have left that this one would find."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir()
        if command.cold:
            for folder in self._cold.values():
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Ends the process of the bench."""
        self.bench.close()


def prepared() -> dict[str, str]:
    """Returns the setting of the data's folder, if there is one, so that stands find them there."""
    return {name: os.environ[name] for name in ("TFDS_DATA_DIR",) if name in os.environ}
