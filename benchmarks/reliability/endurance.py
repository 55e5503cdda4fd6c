"""Watches long trainings from outside, and compares their beginning with their end.

One network is trained for 10,000 epochs, and a sweep trains 1,000 networks. The long form also
saves benchmarks/measured/endurance.json, and draws endurance.png beside it.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from benchmarks import measured, readme
from benchmarks.reliability import curves
from benchmarks.reliability.row import Row

EPOCHS, QUICK_EPOCHS = 10_000, 60
ARCHITECTURES, SEEDS = 40, 25  # of the sweep: 1,000 networks
SWEEP_EPOCHS = 5
SWEEP = f"""
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {{}}
    for i in range({ARCHITECTURES}):
        config = default()
        config.num_epochs = {SWEEP_EPOCHS}
        config.data.train_split, config.data.val_split = "train[:5000]", "train[5000:6000]"
        width = 5 + 7 * i % {ARCHITECTURES}  # so that wide networks do not all come last
        config.model = dict(name="mlp", hidden=(width,))
        members[f"width {{width}}"] = config
    return Sweep(members, seeds={SEEDS})
"""
SMALL = ("--config.data.train_split=train[:1280]", "--config.data.val_split=train[1280:1800]")
# These files hold the rows, and grow by a line per epoch; so does a checkpoint's metadata.
OF_ROWS = ("metrics.jsonl", "metrics.csv", "sweep.jsonl", "_CHECKPOINT_METADATA")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")
MOST_POINTS = 200  # that are kept of a curve
SAID_EVERY = 30.0  # seconds
# How much more the last tenth of a training may need than the second one.
MEMORY, MEMORY_BYTES = 1.05, 20e6
THREADS = 4  # a pool starts them as they are needed
TIME = 1.15
LEAST_TIME = 5.0  # CPU seconds of a tenth, below which its time says nothing
DISK, DISK_BYTES = 1.05, 1e6


@dataclass(frozen=True)
class Sample:
    """What a process has and has used at one time."""

    seconds: float  # since the start
    done: int  # epochs, over all networks
    memory: int  # bytes in RAM
    handles: int  # open files, sockets and pipes
    threads: int
    cpu: float  # seconds
    disk: int  # bytes in the folder, without those of rows
    of_rows: int  # bytes of rows


def measure(*, quick: bool) -> list[Row]:
    """Watches a training and a sweep; if `quick`, a short training alone."""
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            words = main_words(Path(folder, "run"), QUICK_EPOCHS, *SMALL)
            its = watch(words, Path(folder, "run"), every=0.02)
            return [row(f"{QUICK_EPOCHS} epochs of `configs/mlp_tiny.py`", its, "epoch")]
        Path(folder, "many.py").write_text(SWEEP)
        run, sweep = Path(folder, "run"), Path(folder, "sweep")
        of_run = watch(main_words(run, EPOCHS), run)
        words = ["-m", "mnist_jax.sweep", f"--config={folder}/many.py", f"--workdir={sweep}"]
        of_sweep = watch(words, sweep)
    networks = ARCHITECTURES * SEEDS
    _keep({"10,000 epochs of one network": of_run, "1,000 networks of a sweep": of_sweep})
    return [
        row(f"{EPOCHS:,} epochs of `configs/mlp_tiny.py`", of_run, "epoch"),
        row(
            f"a sweep of {networks:,} networks, {ARCHITECTURES} architectures with {SEEDS} seeds",
            of_sweep,
            "epoch of a network",
            tried=networks,
        ),
    ]


def main_words(workdir: Path, epochs: int, *options: str) -> list[str]:
    """Returns the arguments of Python that train `configs/mlp_tiny.py`."""
    words = ["-m", "mnist_jax.main", "--config=configs/mlp_tiny.py", f"--workdir={workdir}"]
    return [*words, f"--config.num_epochs={epochs}", *options]


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
        lines = _Lines(workdir)
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


class _Lines:
    """Counts the lines of a growing file of rows, and reads each only once."""

    def __init__(self, workdir: Path) -> None:
        self._paths = [workdir / name for name in ("metrics.jsonl", "sweep.jsonl")]
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
    disk, of_rows = _disk(workdir)
    return Sample(
        seconds=time.monotonic() - started,
        done=done,
        memory=int((folder / "statm").read_text().split()[1]) * PAGE,
        handles=len(os.listdir(folder / "fd")),
        threads=int(words[17]),
        cpu=(int(words[11]) + int(words[12])) / TICKS,
        disk=disk,
        of_rows=of_rows,
    )


def _disk(workdir: Path) -> tuple[int, int]:
    """Returns the bytes of all files but those of rows, and of these."""
    others = rows = 0
    for folder, _, names in os.walk(workdir):
        for name in names:
            try:
                size = os.stat(os.path.join(folder, name)).st_size
            except OSError:  # it was removed meanwhile
                continue
            if name in OF_ROWS or Path(folder).name == "tensorboard":
                rows += size
            else:
                others += size
    return others, rows


def row(what: str, samples: Sequence[Sample], unit: str, tried: int = 0) -> Row:
    """Compares the second tenth of a training with its last one.

    The first tenth is left out, in which programs are compiled and libraries imported.
    """
    total = samples[-1].done
    early = [its for its in samples if 0.1 * total <= its.done <= 0.2 * total]
    late = [its for its in samples if 0.9 * total <= its.done < total]
    if min(len(early), len(late)) < 2:
        raise RuntimeError(f"{what}: too few samples, {len(early)} and {len(late)}")
    memory = [statistics.median(its.memory for its in part) for part in (early, late)]
    handles = [min(its.handles for its in part) for part in (early, late)]
    threads = [min(its.threads for its in part) for part in (early, late)]
    disk = [statistics.median(its.disk for its in part) for part in (early, late)]
    times = [_time(part) for part in (early, late)]
    of_rows = (samples[-1].of_rows - early[0].of_rows) / (total - early[0].done)
    wrong = {
        "memory": memory[1] > MEMORY * memory[0] + MEMORY_BYTES,
        "open files": handles[1] > handles[0],
        "threads": threads[1] > threads[0] + THREADS,
        "CPU time": times[1] > TIME * times[0] and late[-1].cpu - late[0].cpu > LEAST_TIME,
        "disk": disk[1] > DISK * disk[0] + DISK_BYTES,
    }
    found = (
        f"from the second tenth to the last: memory {memory[0] / 1e6:.0f} to "
        f"{memory[1] / 1e6:.0f} MB, open files {handles[0]} to {handles[1]}, threads "
        f"{threads[0]} to {threads[1]}, CPU time per {unit} {1e3 * times[0]:.0f} to "
        f"{1e3 * times[1]:.0f} ms, disk {disk[0] / 1e6:.2f} to {disk[1] / 1e6:.2f} MB without "
        f"the rows, which take {of_rows:,.0f} bytes per {unit}"
    )
    lost = [f"{what}: {name} grows: {found}" for name, grows in wrong.items() if grows]
    return Row(what, tried or total, found, lost)


def _time(part: Sequence[Sample]) -> float:
    """Returns the CPU seconds per epoch."""
    return (part[-1].cpu - part[0].cpu) / max(1, part[-1].done - part[0].done)


def _keep(found: dict[str, list[Sample]]) -> None:
    """Saves some samples of each curve, and draws them."""
    kept = {
        what: [astuple(its) for its in samples[:: max(1, -(-len(samples) // MOST_POINTS))]]
        for what, samples in found.items()
    }
    names = list(asdict(next(iter(found.values()))[0]))
    content = {"conditions": measured.conditions(), "columns": names, "samples": kept}
    measured.save(content, measured.FOLDER / "endurance.json")
    curves.draw(content, measured.FOLDER / "endurance.png")
