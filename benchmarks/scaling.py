"""Times a step against batch size, width, population and devices, each doubled again and again.

  python -m benchmarks.scaling --write             all of it, into benchmarks/: some 6 minutes
  python -m benchmarks.scaling --quick             fewer points: under a minute
  python -m benchmarks.scaling --only=population   one of batch, width, population, devices

The points of a picture are timed in turn, A B C A B C, so that a machine that slows down meanwhile
does not look like scaling. Devices are virtual ones of a CPU, a process each.
"""

import argparse
import contextlib
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measured, readme
from mnist_jax.analysis import canvas
from mnist_jax.compilation import keep_programs
from mnist_jax.config import Config, parse
from mnist_jax.training import population, run

REPEATS = 5
TIMES = "\N{MULTIPLICATION SIGN}"
SECONDS, QUICK_SECONDS = 0.25, 0.08  # that a repeat takes at the least
IMAGES = {"mlp": 8192, "mlp_tiny": 8192, "cnn": 2048}  # in one compiled call of one network
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": (128, 32)},
    "mlp_tiny": {"name": "mlp", "hidden": (5,)},
    "cnn": {"name": "cnn", "features": (16, 32), "kernel": (5, 3), "dense": (128,)},
}


def _config(network: str, batch_size: int = 128, **model: Any) -> Config:
    """The network, in chunks of always as many images, at least two steps: else it is no loop."""
    return parse(
        {
            "batch_size": batch_size,
            "chunk_steps": max(2, IMAGES[network] // batch_size),
            "data": {"val_split": ""},
            "model": MODELS[network] | model,
        }
    )


def _wider(network: str, size: int) -> Config:
    wide: dict[str, Any] = (
        {"hidden": (size,)} if network == "mlp" else {"features": (16, size), "dense": ()}
    )
    return _config(network, **wide)


# Timing


class Network:
    """One network, trained a chunk of steps a call."""

    def __init__(self, config: Config) -> None:
        self._run = run.prepare(config)
        self._chunk = next(iter(self._run.feed.chunks(epoch=0)))
        self._state = self._run.place(jax.tree.map(jnp.copy, self._run.initial))
        self.steps = self._chunk.stop - self._chunk.start
        self.images = config.batch_size

    def advance(self) -> None:
        """A chunk of steps; returns when they are done."""
        self._state = self._run.advance(self._state, self._chunk)


class Members:
    """Networks that differ in their seed alone, trained together as `sweep` does."""

    def __init__(self, config: Config, count: int) -> None:
        configs = [parse(config.to_dict() | {"seed": seed}) for seed in range(count)]
        self._population = population.prepare(configs)
        self._chunk = next(self._population.chunks(0, 0))
        self._states = jax.tree.map(jnp.copy, self._population.initial)
        self._active = np.ones(count, np.bool_)
        self.steps = self._chunk.stop - self._chunk.start
        self.images = config.batch_size * count

    def advance(self) -> None:
        """A chunk of steps of all members."""
        self._states = self._population.advance(self._states, self._chunk, self._active)


class Stopwatch:
    """Seconds a step of what `advance` trains, over as many calls as make a repeat long enough."""

    def __init__(self, trained: Network | Members, at_least: float) -> None:
        trained.advance()  # the first call pays for what later ones do not
        started = time.perf_counter()
        trained.advance()
        self._calls = math.ceil(at_least / (time.perf_counter() - started))
        self._trained = trained
        self.images = trained.images

    def seconds(self) -> float:
        """Of a step, in one more repeat."""
        started = time.perf_counter()
        for _ in range(self._calls):
            self._trained.advance()
        return (time.perf_counter() - started) / (self._calls * self._trained.steps)


class Process:
    """A stopwatch in a process of its own, with virtual devices."""

    def __init__(self, network: str, devices: int, batch_size: int, at_least: float) -> None:
        code = f"from benchmarks.scaling import serve; serve({network!r}, {batch_size}, {at_least})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=readme.ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.images = batch_size
        self._answer()  # made ready

    def seconds(self) -> float:
        """Of a step, in one more repeat."""
        assert self._process.stdin is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process ended with status {self._process.wait()}; see above")
        return float(line)


def serve(network: str, batch_size: int, at_least: float) -> None:
    """The other side of `Process`: a number for a line, the first when it is ready."""
    keep_programs()
    watch = Stopwatch(Network(_config(network, batch_size)), at_least)
    print(0.0, flush=True)
    for _ in sys.stdin:
        print(watch.seconds(), flush=True)


# What is measured


@dataclass(frozen=True)
class Series:
    """A network at several sizes."""

    network: str
    label: str
    make: Callable[[str, int, float], Stopwatch | Process]
    sizes: tuple[int, ...]
    quick: tuple[int, ...] = ()  # sizes of the quick run; none: left out


@dataclass(frozen=True)
class Dimension:
    """What is doubled."""

    title: str
    axis: str
    series: tuple[Series, ...]
    shared: bool = False  # the same work, by more: in proportion is half the time


def _batch(network: str, size: int, at_least: float) -> Stopwatch:
    return Stopwatch(Network(_config(network, size)), at_least)


def _width(network: str, size: int, at_least: float) -> Stopwatch:
    return Stopwatch(Network(_wider(network, size)), at_least)


def _population(network: str, size: int, at_least: float) -> Stopwatch:
    return Stopwatch(Members(_config(network), size), at_least)


def _devices(network: str, size: int, at_least: float) -> Process:
    return Process(network, size, 1024 if network == "mlp" else 256, at_least)


def _doubled(first: int, last: int) -> tuple[int, ...]:
    return tuple(first << i for i in range((last // first).bit_length()))


MLP, TINY, CNN = "784-128-32-10", "784-5-10", "CNN 16, 32; 128"
DIMENSIONS = {
    "batch": Dimension(
        "Batch size",
        "images a step",
        (
            Series("mlp", MLP, _batch, _doubled(16, 4096), quick=(32, 128, 512)),
            Series("cnn", CNN, _batch, _doubled(16, 1024)),
        ),
    ),
    "width": Dimension(
        "Width, batches of 128",
        "width w",
        (
            Series("mlp", "784-w-10", _width, _doubled(16, 2048), quick=(64, 256, 1024)),
            Series("cnn", "CNN 16, w", _width, _doubled(8, 128)),
        ),
    ),
    "population": Dimension(
        "Population, batches of 128 each",
        "networks in one program",
        (
            Series("mlp", MLP, _population, _doubled(1, 32)),
            Series("mlp_tiny", TINY, _population, _doubled(1, 32), quick=(1, 4)),
        ),
    ),
    "devices": Dimension(
        "Virtual CPU devices, one batch over all",
        "devices",
        (
            Series("mlp", f"{MLP}, batch 1024", _devices, _doubled(1, 4), quick=(1, 2)),
            Series("cnn", f"{CNN}, batch 256", _devices, _doubled(1, 4)),
        ),
        shared=True,
    ),
}


def measure(name: str, quick: bool) -> list[dict[str, Any]]:
    """The points of a dimension: `dimension network size images seconds`.

    `images` are those of a step, of all networks; `seconds` a step, one a repeat.
    """
    points, watches = [], []
    with contextlib.ExitStack() as stack:
        for series in DIMENSIONS[name].series:
            for size in series.quick if quick else series.sizes:
                watch = series.make(series.network, size, QUICK_SECONDS if quick else SECONDS)
                if isinstance(watch, Process):
                    stack.callback(watch.close)
                watches.append(watch)
                point = {"dimension": name, "network": series.network, "size": size}
                points.append(point | {"images": watch.images, "seconds": []})
        for _ in range(REPEATS):
            for point, watch in zip(points, watches, strict=True):
                point["seconds"].append(watch.seconds())
    return points


# What is shown


@dataclass(frozen=True)
class Curve:
    """The points of a series, in the order of their sizes."""

    label: str
    sizes: list[int]
    seconds: list[float]  # a step, medians
    deviations: list[float]  # half the distance between the quartiles
    images: list[int]  # a step

    @property
    def growth(self) -> list[float]:
        """By how much time is multiplied where the size doubles, from each point to the next."""
        pairs = itertools.pairwise(zip(self.sizes, self.seconds, strict=True))
        return [(t / s) ** (1 / math.log2(m / n)) for (n, s), (m, t) in pairs]


def curves(points: Sequence[dict[str, Any]], name: str) -> list[Curve]:
    """Those of a dimension that were measured."""
    found = []
    for series in DIMENSIONS[name].series:
        its = [p for p in points if (p["dimension"], p["network"]) == (name, series.network)]
        if its:
            quartiles = [statistics.quantiles(p["seconds"], n=4, method="inclusive") for p in its]
            curve = Curve(
                series.label,
                [p["size"] for p in its],
                [q[1] for q in quartiles],
                [(q[2] - q[0]) / 2 for q in quartiles],
                [p["images"] for p in its],
            )
            found.append(curve)
    return found


def dimensions(points: Sequence[dict[str, Any]]) -> list[str]:
    """Names of those that were measured."""
    return [name for name in DIMENSIONS if any(p["dimension"] == name for p in points)]


def table(found: dict[str, Any]) -> str:
    """Tables in Markdown, one a dimension, and what they were measured on."""
    parts = [_table(name, curves(found["points"], name)) for name in dimensions(found["points"])]
    return "\n\n".join([*parts, f"{_note()} {measured.sentence(found['conditions'])}"])


def _note() -> str:
    return (
        f"Medians of {REPEATS} repeats in turn, ± half the distance between the quartiles; {TIMES} "
        f"is by how much a step takes longer where the size doubles."
    )


def _table(name: str, its: list[Curve]) -> str:
    dimension = DIMENSIONS[name]
    heads = [cell for c in its for cell in (f"{c.label}: ms a step", "images/s", TIMES)]
    sizes = sorted({size for curve in its for size in curve.sizes})
    rows = [[f"{size:,}", *itertools.chain(*(_cells(c, size) for c in its))] for size in sizes]
    lines = [[dimension.axis, *heads], ["---:"] * (1 + len(heads)), *rows]
    return "\n".join([f"{dimension.title}:", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _cells(curve: Curve, size: int) -> list[str]:
    if size not in curve.sizes:
        return ["", "", ""]
    i = curve.sizes.index(size)
    seconds = curve.seconds[i]
    grown = f"{curve.growth[i - 1]:.2f}" if i else ""
    time_of_step = f"{_digits(1e3 * seconds)} ± {_digits(1e3 * curve.deviations[i])}"
    return [time_of_step, f"{curve.images[i] / seconds:,.0f}", grown]


def _digits(value: float) -> str:
    """Three figures of a number below a thousand."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def draw(found: dict[str, Any], path: Path) -> Path:
    """A panel a dimension: time of a step against size, both axes logarithmic."""
    names = dimensions(found["points"])
    rows = math.ceil(len(names) / 2)
    with canvas.styled():
        width, height = 11.0, canvas.HEAD + 4.1 * rows
        note = (
            f"{TIMES}: by how much longer where the size doubles. Dashed: in proportion. "
            f"{measured.sentence(found['conditions'])}"
        )
        figure = canvas.headed(width, height, "How the time of a step grows", note)
        for i, name in enumerate(names):
            row, column = divmod(i, 2)
            left, right = (0.75, 5.75) if column == 0 else (6.15, 0.35)
            bottom = 0.6 + 4.1 * (rows - 1 - row)
            top = canvas.HEAD + 0.45 + 4.1 * row
            axes = canvas.panel(figure, left, bottom, right, top)
            _draw_panel(axes, DIMENSIONS[name], curves(found["points"], name))
        path.parent.mkdir(parents=True, exist_ok=True)
        return canvas.save(figure, path)


def _draw_panel(axes: Any, dimension: Dimension, its: list[Curve]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for curve, color, marker in zip(its, canvas.SERIES, canvas.MARKERS, strict=False):
        milliseconds = [1e3 * t for t in curve.seconds]
        axes.plot(curve.sizes, milliseconds, marker=marker, color=color, label=curve.label)
        _draw_proportion(axes, curve.sizes, milliseconds[0], color, -1 if dimension.shared else 1)
        _write_growth(axes, curve, milliseconds, color, above=dimension.shared)
    _label_axes(axes, dimension, its)


def _draw_proportion(axes: Any, sizes: list[int], start: float, color: str, slope: int) -> None:
    ideal = [start * (size / sizes[0]) ** slope for size in sizes]
    axes.plot(sizes, ideal, "--", color=color, lw=1.0, alpha=0.5, zorder=1)


def _write_growth(
    axes: Any, curve: Curve, milliseconds: list[float], color: str, above: bool
) -> None:
    """At the middle of each segment, on the side where the dashed line is not."""
    points = zip(curve.sizes, milliseconds, strict=True)
    for ((n, s), (m, t)), grown in zip(itertools.pairwise(points), curve.growth, strict=True):
        axes.annotate(
            f"{TIMES}{grown:.2f}",
            (math.sqrt(n * m), math.sqrt(s * t)),
            xytext=(3, 9 if above else -9),
            textcoords="offset points",
            ha="left",
            va="center",
            size=7.5,
            color=color,
        )


def _label_axes(axes: Any, dimension: Dimension, its: list[Curve]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    sizes = sorted({size for curve in its for size in curve.sizes})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], size=9)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08, y=0.12)
    axes.set_xlabel(dimension.axis)
    axes.set_ylabel("ms a step")
    axes.set_title(dimension.title)
    axes.legend(loc="best", fontsize=9)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer points")
    parser.add_argument("--only", nargs="*", default=DIMENSIONS, choices=DIMENSIONS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as PNG")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing")
    parser.add_argument("--write", action="store_true", help="into benchmarks/: full runs only")
    arguments = parser.parse_args()
    if arguments.source:
        found = json.loads(arguments.source.read_text())
    else:
        found = {"conditions": measured.conditions(), "quick": arguments.quick, "points": []}
        keep_programs()
        for name in arguments.only:
            found["points"] += measure(name, arguments.quick)
    print(table(found))
    if arguments.json:
        measured.save(found, arguments.json)
    if arguments.plot:
        print(draw(found, arguments.plot))
    if arguments.write:
        write(found)


def write(found: dict[str, Any]) -> None:
    """Keeps all of it in benchmarks/measured/, and the table in benchmarks/README.md."""
    if found["quick"] or dimensions(found["points"]) != list(DIMENSIONS):
        raise SystemExit("--write is for full runs: without --quick and --only")
    measured.save(found, measured.FOLDER / "scaling.json")
    draw(found, measured.FOLDER / "scaling.png")
    picture = "![Time of a step against size](measured/scaling.png)"
    readme.replace("scaling", f"{picture}\n\n{table(found)}", file="benchmarks/README.md")


if __name__ == "__main__":
    main()
