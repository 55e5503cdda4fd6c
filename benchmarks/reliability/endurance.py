"""Watches long trainings from outside, and compares their beginning with their end.

One network is trained for 10,000 epochs, and a sweep trains 1,000 networks. The long form also
saves benchmarks/measured/endurance.json, and draws endurance.png beside it.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple
from pathlib import Path

from benchmarks import measured
from benchmarks.reliability import curves
from benchmarks.reliability.row import Row
from benchmarks.reliability.watching import leak
from benchmarks.reliability.watching.samples import Sample, row_size, watch
from benchmarks.reliability.watching.trend import slope

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
MOST_POINTS = 200  # that are kept of a curve
# How much more per epoch the second half of a training may need, beyond its rows, in bytes: of one
# network, and of a sweep, which compiles a program for every architecture.
MEMORY, MEMORY_OF_SWEEP = 1_000, 10_000
# Rows and what is leaked lie between objects that are soon freed: the allocators keep the gaps, and
# so take this many times as much.
WITH_GAPS = 2
# Bytes that the allocator may take or give back at any time, and while it still grows to its size.
LEAST_MEMORY, LEAST_MEMORY_AT_FIRST = 4e6, 20e6
# How much more the last tenth may need than the second one.
THREADS = 4  # a pool starts them as they are needed
TIME = 1.15
LEAST_TIME = 5.0  # CPU seconds of a tenth, below which its time says nothing
DISK, DISK_BYTES = 1.05, 1e6
QUIET = 0.2  # cores that other processes use; above it, wall time says nothing


def measure(*, quick: bool) -> list[Row]:
    """Watches a training and a sweep; if `quick`, a short training alone."""
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            words = main_words(Path(folder, "run"), QUICK_EPOCHS, *SMALL)
            its = watch(words, Path(folder, "run"), every=0.02)
            what = f"{QUICK_EPOCHS} epochs of `configs/mlp_tiny.py`"
            size, leaked = row_size(Path(folder, "run")), leak.of_tensorstore(Path(folder, "run"))
            least = LEAST_MEMORY_AT_FIRST
            return [row(what, its, "epoch", size, leaked=leaked, least=least)]
        Path(folder, "many.py").write_text(SWEEP)
        run, sweep = Path(folder, "run"), Path(folder, "sweep")
        of_run = watch(main_words(run, EPOCHS), run)
        words = ["-m", "mnist_jax.sweep", f"--config={folder}/many.py", f"--workdir={sweep}"]
        of_sweep = watch(words, sweep)
        sizes, leaked = (row_size(run), row_size(sweep)), leak.of_tensorstore(run)
    networks = ARCHITECTURES * SEEDS
    _keep({"10,000 epochs of one network": of_run, "1,000 networks of a sweep": of_sweep})
    return [
        row(
            f"{EPOCHS:,} epochs of `configs/mlp_tiny.py`", of_run, "epoch", sizes[0], leaked=leaked
        ),
        row(
            f"a sweep of {networks:,} networks, {ARCHITECTURES} architectures with {SEEDS} seeds",
            of_sweep,
            "epoch of a network",
            sizes[1],
            tried=networks,
            most=MEMORY_OF_SWEEP,
        ),
    ]


def main_words(workdir: Path, epochs: int, *options: str) -> list[str]:
    """Returns the arguments of Python that train `configs/mlp_tiny.py`."""
    words = ["-m", "mnist_jax.main", "--config=configs/mlp_tiny.py", f"--workdir={workdir}"]
    return [*words, f"--config.num_epochs={epochs}", *options]


def row(
    what: str,
    samples: Sequence[Sample],
    unit: str,
    size: float,
    *,
    tried: int = 0,
    most: float = MEMORY,
    leaked: float = 0,
    least: float = LEAST_MEMORY,
) -> Row:
    """Judges what a training needs in the long run.

    Memory is judged by its slope in the second half, and the rest by comparing the second tenth
    with the last one. The first tenth is left out, in which programs are compiled and libraries
    imported.

    Args:
      what: was trained.
      samples: of the training.
      unit: one of what is counted in `samples`.
      size: bytes that a row takes in memory.
      tried: number of cases; 0: of epochs.
      most: bytes by which memory may grow per epoch, besides the rows and the leak.
      leaked: bytes per epoch that TensorStore leaks.
      least: bytes of growth that do not count yet.
    """
    total = samples[-1].done
    early = [its for its in samples if 0.1 * total <= its.done <= 0.2 * total]
    late = [its for its in samples if 0.9 * total <= its.done < total]
    if min(len(early), len(late)) < 2:
        raise RuntimeError(f"{what}: too few samples, {len(early)} and {len(late)}")
    growth = slope(samples, lambda its: its.memory)
    expected = WITH_GAPS * (size + leaked)
    handles = [min(its.handles for its in part) for part in (early, late)]
    threads = [min(its.threads for its in part) for part in (early, late)]
    disk = [statistics.median(its.disk for its in part) for part in (early, late)]
    times = [_per_epoch(part, lambda its: its.cpu) for part in (early, late)]
    walls = [_per_epoch(part, lambda its: its.seconds) for part in (early, late)]
    others = max(map(_others, (early, late)))
    slower = walls[1] > TIME * walls[0] and late[-1].seconds - late[0].seconds > LEAST_TIME
    wrong = {
        "memory": growth > expected + most and (growth - expected) * total / 2 > least,
        "open files": handles[1] > handles[0],
        "threads": threads[1] > threads[0] + THREADS,
        "CPU time": times[1] > TIME * times[0] and late[-1].cpu - late[0].cpu > LEAST_TIME,
        "wall time": others <= QUIET and slower,
        "disk": disk[1] > DISK * disk[0] + DISK_BYTES,
    }
    found = (
        f"{_of_memory(early, late, growth, unit)} ({_of_bound(size, leaked, most)}); from the "
        f"second tenth to the last: open files {handles[0]} to {handles[1]}, "
        f"threads {threads[0]} to {threads[1]}, per "
        f"{unit} {1e3 * times[0]:.1f} to {1e3 * times[1]:.1f} ms of CPU time and "
        f"{1e3 * walls[0]:.1f} to {1e3 * walls[1]:.1f} ms of wall time"
        f"{'' if others <= QUIET else f' (not judged: others used {others:.1f} cores)'}, disk "
        f"{disk[0] / 1e6:.2f} to {disk[1] / 1e6:.2f} MB; {_of_rows(samples, unit)}"
    )
    lost = [f"{what}: {name} grows: {found}" for name, grows in wrong.items() if grows]
    return Row(what, tried or total, found, lost)


def _of_memory(early: Sequence[Sample], late: Sequence[Sample], growth: float, unit: str) -> str:
    levels = [statistics.median(its.memory for its in part) / 1e6 for part in (early, late)]
    return (
        f"memory {levels[0]:.0f} MB in the second tenth and {levels[1]:.0f} MB in the last, a "
        f"slope of {growth:,.0f} bytes per {unit} in the second half"
    )


def _of_bound(size: float, leaked: float, most: float) -> str:
    by_library = f" and {leaked:,.0f} leaked by TensorStore" if round(leaked) else ""
    bound = WITH_GAPS * (size + leaked) + most
    return f"at most {bound:,.0f}: {WITH_GAPS} x ({size:,.0f} of the row{by_library}) + {most:,}"


def _of_rows(samples: Sequence[Sample], unit: str) -> str:
    """Returns how much the files of rows grow, which is not judged."""
    files = slope(samples, lambda its: its.of_rows)
    metadata = slope(samples, lambda its: its.metadata, statistics.median)
    return (
        f"the rows, which are to grow, take {files:,.0f} bytes per {unit} in their files and "
        f"{metadata:,.0f} in the metadata of the checkpoints, each of which holds all of them"
    )


def _per_epoch(part: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    """Returns by how much a number grows per epoch."""
    return (of(part[-1]) - of(part[0])) / max(1, part[-1].done - part[0].done)


def _others(part: Sequence[Sample]) -> float:
    """Returns the mean number of cores that other processes used."""
    return (part[-1].others - part[0].others) / max(1e-9, part[-1].seconds - part[0].seconds)


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
