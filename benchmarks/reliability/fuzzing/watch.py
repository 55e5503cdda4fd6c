"""Tries numbered cases in processes that are watched: for crashes, hangs and memory.

A target is a function `module:name` that takes a folder of its own and that of the `samples`, and
returns a function from the number of a case to the name of its outcome. Whatever that function
raises is a case in which the promise did not hold, and so are the end of the process, its memory
and its time.
"""

import json
import math
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzzing import worker
from benchmarks.reliability.fuzzing.samples import entered

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 10.0  # of a case
MEMORY = 3 << 29  # bytes of a process: 1.5 GiB
STARTING = 300.0  # seconds until the first case
PROGRESS = 30.0  # seconds from one line to the next
MOST_LOST = 20  # after so many, the rest is left out


@dataclass
class Tally:
    """What came of the cases of a target."""

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    peak: int = 0  # bytes of memory that the largest process had
    seconds: float = 0.0
    inputs: set[str] = field(default_factory=set)  # digests of those that differ, if noted

    def __iadd__(self, other: "Tally") -> "Tally":
        self.tried += other.tried
        self.outcomes += other.outcomes
        self.lost += other.lost
        self.peak = max(self.peak, other.peak)
        self.seconds += other.seconds
        self.inputs |= other.inputs
        return self

    def said(self) -> str:
        """Returns the outcomes, such as `1,203 distinct; 1,200 refused, 3 read`."""
        counts = sorted(self.outcomes.items(), key=lambda its: -its[1])
        text = ", ".join(f"{count:,} {name}" for name, count in counts)
        return f"{len(self.inputs):,} distinct; {text}" if self.inputs else text

    def complete(self, what: str, planned: int) -> "Tally":
        """Returns itself; a case that was planned and not tried is a loss."""
        if self.tried != planned:
            self.lost.append(f"{what}: {planned:,} cases were planned, {self.tried:,} tried")
        return self


def here(target: str, folder: Path, samples: Path, numbers: Iterable[int]) -> Tally:
    """Tries cases in this process, unwatched: for a few cases."""
    tally = Tally()
    started = time.perf_counter()
    worker.taken()
    with entered(samples):
        attempt = worker.prepared(target, folder, samples)
        for number in numbers:
            outcome, lost = worker.tried(attempt, number)
            tally.outcomes[outcome] += not lost
            tally.lost += [f"{target}, case {number}: {lost}"] if lost else []
            tally.tried += 1
    tally.inputs = {*worker.taken()}
    tally.peak = worker.peak()
    tally.seconds = time.perf_counter() - started
    return tally


def watched(
    target: str,
    samples: Path,
    count: int,
    *,
    memory: int = MEMORY,
    processes: int = 2,
    seconds: float = SECONDS,
) -> Tally:
    """Tries the cases 0 to `count` - 1 of a target, each in one of several processes.

    Args:
      target: names the function, as `module:name`.
      samples: the folder of the samples.
      count: of cases.
      memory: bytes that a process may have.
      processes: that work at once; each starts anew after a case that ends it.
      seconds: that a case may take.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        each = [
            _Process(
                target, Path(folder, str(i)), samples, range(i, count, processes), memory, seconds
            )
            for i in range(min(processes, count))
        ]
        told = started
        while any(not its.done for its in each):
            select.select([its.reports for its in each if not its.done], [], [], 1.0)
            for its in each:
                if not its.done:
                    its.look()
            if time.perf_counter() - told > PROGRESS:
                told = time.perf_counter()
                print(f"  {target}: {sum(its.tally.tried for its in each):,}", flush=True)
    tally = Tally()
    for its in each:
        tally += its.tally
    tally.seconds = time.perf_counter() - started
    return tally.complete(target, count)


class _Process:
    """A process that tries some of the cases, and its successors after a case that ended it."""

    def __init__(
        self,
        target: str,
        folder: Path,
        samples: Path,
        numbers: range,
        memory: int,
        seconds: float,
    ) -> None:
        self.tally, self.done = Tally(), False
        self._target, self._folder, self._samples = target, folder, samples
        self._left = numbers
        self._memory, self._seconds = memory, seconds
        self._ended: set[int] = set()  # cases that ended a process
        folder.mkdir()
        (folder / "current").write_bytes(struct.pack("q", -1))
        with (folder / "current").open("r+b") as file:
            self._current = mmap.mmap(file.fileno(), 8)
        self._start()

    def _start(self) -> None:
        place = self._folder / "cases"
        subprocess.run(["rm", "-rf", str(place)], check=True)
        place.mkdir()
        request = {
            "target": self._target,
            "folder": str(place),
            "samples": str(self._samples),
            "current": str(self._folder / "current"),
            "numbers": [self._left.start, self._left.stop, self._left.step],
            "without": sorted(self._ended),
            "memory": self._memory,
        }
        self._current[:] = struct.pack("q", -1)
        self._seen, self._since = -1, time.perf_counter()
        with (self._folder / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.reliability.fuzzing.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode())
        self._process.stdin.close()
        assert self._process.stdout is not None
        self.reports = self._process.stdout
        os.set_blocking(self.reports.fileno(), False)
        self._text = b""

    def look(self) -> None:
        """Reads what the process reports, and starts the next one if it ended or hangs."""
        self._read()
        (at,) = struct.unpack("q", self._current)
        now = time.perf_counter()
        if at != self._seen:
            self._seen, self._since = at, now
        limit = self._seconds if at >= 0 else STARTING
        if self._process.poll() is not None:
            self._read()
            self._finish(at)
        elif now - self._since > limit:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._read()
            self._lose(at, f"took more than {limit:.0f} s")

    def _finish(self, at: int) -> None:
        status = self._process.returncode
        if status == 0 or len(self.tally.lost) >= MOST_LOST:
            self.done = True
        elif status == worker.TOO_LARGE:
            self._lose(at, f"took more than {self._memory >> 20:,} MiB of memory")
        else:
            end = (self._folder / "stderr").read_text(errors="replace").strip()[-300:]
            self._lose(at, f"ended the process with status {status}: {end}")

    def _lose(self, at: int, why: str) -> None:
        """Counts a case that ended the process, and goes on after it."""
        self.tally.lost.append(f"{self._target}, case {at}: {why}")
        counted = 0 <= at < self._left.start  # as a case that has ended
        self.tally.tried += not counted
        self._ended.add(at)
        if at < 0 or len(self.tally.lost) >= MOST_LOST:
            self.done = True
        else:
            self._start()

    def _read(self) -> None:
        while found := _available(self.reports):
            self._text += found
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            report: dict[str, Any] = json.loads(line)
            self.tally += Tally(
                tried=report["tried"],
                outcomes=Counter(report["outcomes"]),
                lost=[f"{self._target}, {text}" for text in report["lost"]],
                peak=report["peak"],
                inputs={*report["inputs"]},
            )
            self._left = range(report["next"], self._left.stop, self._left.step)


def _available(file: Any) -> bytes:
    try:
        return os.read(file.fileno(), 1 << 16)
    except BlockingIOError:
        return b""


def rate(tally: Tally) -> str:
    """Returns how many cases a second there were, rounded to two digits."""
    its = tally.tried / max(tally.seconds, 1e-9)
    digits = 1 - math.floor(math.log10(max(its, 1e-9)))
    return f"{round(its, digits):,g}"
