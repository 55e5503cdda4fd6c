"""Runs a training, and samples from outside what its process has and has used."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import readme

LOGS = ("metrics.jsonl", "sweep.jsonl")
OF_ROWS = (*LOGS, "metrics.csv")  # these files grow by a line per epoch
METADATA = "_CHECKPOINT_METADATA"  # of a checkpoint, which holds all rows so far
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")
SAID_EVERY = 30.0  # seconds


@dataclass(frozen=True)
class Sample:
    """What a process has and has used at one time."""

    seconds: float  # since the start
    done: int  # epochs, over all networks
    memory: int  # bytes in RAM
    handles: int  # open files, sockets and pipes
    threads: int
    cpu: float  # seconds
    others: float  # CPU seconds of all other processes of the machine, since it was started
    disk: int  # bytes in the folder, without those of rows
    of_rows: int  # bytes of rows
    metadata: int  # bytes of the metadata of checkpoints


def watch(words: Sequence[str], workdir: Path, *, every: float = 1.0) -> list[Sample]:
    """Runs Python with these arguments, and samples its process until it ends.

    Args:
      words: the arguments.
      workdir: the folder into which it trains.
      every: seconds between two samples.

    Raises:
      RuntimeError: it ended with another status than 0.
    """
    paths = [str(readme.ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    found: list[Sample] = []
    started = said = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=readme.ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        lines = Lines(workdir)
        while process.poll() is None:
            try:
                found.append(_sample(process.pid, workdir, lines.count(), started))
            except (OSError, IndexError):  # it is ending
                continue
            if time.monotonic() - said > SAID_EVERY:
                said = time.monotonic()
                print(f"  {found[-1].done:,} epochs in {said - started:.0f} s", flush=True)
            time.sleep(every)
        output.seek(0)
        if process.returncode:
            raise RuntimeError(f"status {process.returncode}: {output.read()[-2000:]}")
    return found


def row_size(workdir: Path) -> int:
    """Returns the bytes that a row takes in memory: as a dict, and as the text in checkpoints."""
    (path,) = (workdir / name for name in LOGS if (workdir / name).exists())
    text = path.read_text().splitlines()[-1]
    row = json.loads(text)
    return sys.getsizeof(row) + sum(map(sys.getsizeof, row.values())) + len(text)


class Lines:
    """Counts the lines of a growing file of rows, and reads each only once."""

    def __init__(self, workdir: Path) -> None:
        self._paths = [workdir / name for name in LOGS]
        self._read = self._count = 0

    def count(self) -> int:
        """Returns the number of lines so far."""
        for path in self._paths:
            if path.exists():
                with path.open("rb") as file:
                    file.seek(self._read)
                    text = file.read()
                self._read += len(text)
                self._count += text.count(b"\n")
        return self._count


def _sample(pid: int, workdir: Path, done: int, started: float) -> Sample:
    folder = Path("/proc", str(pid))
    words = (folder / "stat").read_text().rpartition(")")[2].split()
    cpu = (int(words[11]) + int(words[12])) / TICKS
    disk, of_rows, metadata = _disk(workdir)
    return Sample(
        seconds=time.monotonic() - started,
        done=done,
        memory=int((folder / "statm").read_text().split()[1]) * PAGE,
        handles=len(os.listdir(folder / "fd")),
        threads=int(words[17]),
        cpu=cpu,
        others=_busy() - cpu,
        disk=disk,
        of_rows=of_rows,
        metadata=metadata,
    )


def _busy() -> float:
    """Returns the CPU seconds of all processes since the machine was started, of all its cores."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    user, nice, system, _, _, *rest = map(int, line.split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS


def _disk(workdir: Path) -> tuple[int, int, int]:
    """Returns the bytes of other files, of those of rows, and of the metadata of checkpoints."""
    others = rows = metadata = 0
    for folder, _, names in os.walk(workdir):
        for name in names:
            try:
                size = os.stat(os.path.join(folder, name)).st_size
            except OSError:  # it was removed meanwhile
                continue
            if name == METADATA:
                metadata += size
            elif name in OF_ROWS or Path(folder).name == "tensorboard":
                rows += size
            else:
                others += size
    return others, rows, metadata
