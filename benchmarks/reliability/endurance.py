"""Watches long trainings from outside, and compares their beginning with their end.

One network is trained for 10,000 epochs, and a sweep trains 1,000 networks. The long form also
saves benchmarks/measured/endurance.json, and draws endurance.png beside it.
"""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple
from pathlib import Path

from benchmarks import measured
from benchmarks.reliability import curves
from benchmarks.reliability.row import Row
from benchmarks.reliability.watching import leak
from benchmarks.reliability.watching.samples import Sample, row_size, watch
from benchmarks.reliability.watching.verdict import Bound, row

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
MEMORY_OF_SWEEP = 10_000  # bytes per epoch: a program is compiled for every architecture
LEAST_MEMORY_AT_FIRST = 20e6  # bytes that do not count while a training grows to its size


def measure(*, quick: bool) -> list[Row]:
    """Watches a training and a sweep; if `quick`, a short training alone."""
    with tempfile.TemporaryDirectory() as folder:
        run, sweep, many = (Path(folder, name) for name in ("run", "sweep", "many.py"))
        if quick:
            its = watch(main_words(run, QUICK_EPOCHS, *SMALL), run, every=0.02)
            return [_of_run(run, its, QUICK_EPOCHS, least=LEAST_MEMORY_AT_FIRST)]
        many.write_text(SWEEP)
        of_sweep = ["-m", "mnist_jax.sweep", f"--config={many}", f"--workdir={sweep}"]
        found: dict[str, list[Sample]] = {}
        rows = [
            _watched("10,000 epochs of one network", main_words(run, EPOCHS), run, _of_run, found),
            _watched("1,000 networks of a sweep", of_sweep, sweep, _of_sweep, found),
        ]
    if found:
        _keep(found)
    return rows


def _watched(
    what: str,
    words: Sequence[str],
    workdir: Path,
    judged: Callable[[Path, Sequence[Sample]], Row],
    found: dict[str, list[Sample]],
) -> Row:
    """Watches a command, adds the samples to `found`, and judges them; what fails is lost."""
    try:
        found[what] = watch(words, workdir)
        return judged(workdir, found[what])
    except Exception as error:  # the other one is still of use
        return Row(what, 0, "not measured", [f"{what}: {type(error).__name__}: {error}"])


def _of_run(workdir: Path, samples: Sequence[Sample], epochs: int = EPOCHS, **bound: float) -> Row:
    its = Bound(row_size(workdir), leak.of_tensorstore(workdir), **bound)
    found = row(f"{epochs:,} epochs of `configs/mlp_tiny.py`", samples, "epoch", its)
    missing = _missing(workdir / "metrics.jsonl", epochs)
    return dataclasses.replace(found, tried=epochs, lost=found.lost + missing)


def _of_sweep(workdir: Path, samples: Sequence[Sample]) -> Row:
    networks = ARCHITECTURES * SEEDS
    what = f"a sweep of {networks:,} networks, {ARCHITECTURES} architectures with {SEEDS} seeds"
    its = Bound(row_size(workdir), more=MEMORY_OF_SWEEP)
    found = row(what, samples, "epoch of a network", its)
    missing = _missing(workdir / "sweep.jsonl", networks * SWEEP_EPOCHS)
    result = json.loads((workdir / "result.json").read_text())
    if (result["members"], result["diverged"]) != (networks, 0):
        missing.append(f"{result['members']} networks ended, {result['diverged']} as diverged")
    return dataclasses.replace(found, tried=networks, lost=found.lost + missing)


def _missing(path: Path, lines: int) -> list[str]:
    """Returns a line about a file that has another number of lines."""
    found = len(path.read_text().splitlines())
    return [] if found == lines else [f"{path.name} has {found:,} lines instead of {lines:,}"]


def main_words(workdir: Path, epochs: int, *options: str) -> list[str]:
    """Returns the arguments of Python that train `configs/mlp_tiny.py`."""
    words = ["-m", "mnist_jax.main", "--config=configs/mlp_tiny.py", f"--workdir={workdir}"]
    return [*words, f"--config.num_epochs={epochs}", *options]


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
