"""Fits the model to the measurements, and formats predictions as tables in Markdown."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from benchmarks import measured
from benchmarks.processes.model import Line, Link, fitted, step, strong, weak
from benchmarks.processes.points import HELD_OUT, POPULATIONS, Point
from mnist_jax import data, models

DEVICES = (8, 64, 1024)
TITLES = {"mlp": "784-128-32-10", "cnn": "CNN 16-32, dense 128"}
BATCH = 128  # examples per device, where they grow with the devices
WHOLE = 8192  # examples per step of all devices, where they do not
NETWORKS = 10_000
# Not measured: a network card and an interconnect of accelerators, by the order of magnitude.
ASSUMED = (Link("100 Gbit/s, 20 µs", 40e-6, 1 / 12.5e9), Link("400 GB/s, 2 µs", 4e-6, 1 / 400e9))
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Fit:
    """The model, fitted to the measurements that are not held out."""

    compute: dict[str, Line]  # seconds per step by network, against the batch per device
    widths: Line  # seconds per step of 784-W-10 against W, with `BATCH` examples
    link: Link  # between two processes of this machine
    population: Line  # seconds per step against the members
    compiling: float  # seconds, of the largest population
    read: float  # seconds per image


def gradient(point: Point) -> int:
    """Returns the bytes of the gradient of a network."""
    config = point.config(1)
    model = models.build(config.model, data.spec(config.data.name))
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    return 4 * sum(leaf.size for leaf in jax.tree.leaves(params))


def fit(found: dict[str, Any]) -> Fit:
    """Fits the model."""
    alone, pair = _times(found["alone"]), _times(found["pair"])
    known = [point for point in alone if not point.held_out and point.reduction == "mean"]
    compute = {
        network: fitted(
            [(p.batch, alone[p]) for p in known if p.network == network and not p.width]
        )
        for network in TITLES
    }
    line = fitted([(gradient(p), pair[p] - alone[p]) for p in known])
    widths = fitted([(p.width, alone[p]) for p in known if p.width])
    rows = found["alone"]
    members = {row["members"]: _median(row) for row in rows if "members" in row}
    (reading,) = [row for row in rows if "read" in row]
    return Fit(
        compute,
        widths,
        Link("this machine's loopback, measured", line.start, line.slope),
        fitted([(m, members[m]) for m in POPULATIONS if m not in HELD_OUT]),
        max(row["compiling"] for row in rows if "members" in row),
        _median(reading) / reading["read"],
    )


def sections(found: dict[str, Any]) -> dict[str, str]:
    """Returns the parts of launch/SCALING.md that are written from measurements, by name."""
    its = fit(found)
    sentence = measured.sentence(found["conditions"])
    return {
        "held-out": f"{_held_out(found, its)}\n\n{sentence}",
        "one-network": f"{_constants(its)}\n\n{_one_network(its)}",
        "population": _population(its),
        "elastic": _elastic(found),
    }


def everything(found: dict[str, Any]) -> str:
    """Returns all tables."""
    return "\n\n".join(sections(found).values())


def _held_out(found: dict[str, Any], its: Fit) -> str:
    """Compares measurements that the model has not seen with what it says."""
    head = "network", "examples per process", "processes", "measured, ms", "predicted, ms", "error"
    return _table(head, _rows(found, its))


def _rows(found: dict[str, Any], its: Fit) -> list[list[str]]:
    alone, pair = _times(found["alone"]), _times(found["pair"])
    lines = []
    for p in alone:
        if not p.held_out:
            continue
        title = f"784-{p.width}-10" if p.width else TITLES[p.network]
        own = its.widths(p.width) if p.width else its.compute[p.network](p.batch)
        lines.append(_compared(title, p.batch, 1, alone[p], own))
        together = own + its.link.reduce(2, gradient(p))
        lines.append(_compared(title, p.batch, 2, pair[p], together))
    members = {row["members"]: _median(row) for row in found["alone"] if "members" in row}
    for m in HELD_OUT:
        title = f"{m} networks {TITLES['mlp']}"
        lines.append(_compared(title, BATCH, 1, members[m], its.population(m)))
    return lines


def _compared(title: str, batch: int, count: int, seconds: float, predicted: float) -> list[str]:
    error = f"{predicted / seconds - 1:+.0%}"
    return [title, str(batch), str(count), _ms(seconds), _ms(predicted), error]


def _constants(its: Fit) -> str:
    lines = [
        f"{TITLES[name]}: {1e6 * line.start:.0f} µs + {1e6 * line.slope:.2f} µs per example"
        for name, line in its.compute.items()
    ]
    lines.append(
        f"two processes: {1e6 * its.link.latency:.0f} µs + "
        f"{1e9 * its.link.seconds_per_byte:.2f} ns per byte of the gradient"
    )
    lines.append(
        f"reading from the host (`data.placement=host`): {1e6 * its.read:.2f} µs per image"
    )
    return "\n".join(f"- {line}" for line in lines)


def _one_network(its: Fit) -> str:
    """Predicts the efficiency of one network over many devices, for each link."""
    lines = []
    for name, title in TITLES.items():
        compute, size = its.compute[name], gradient(Point(name, BATCH))
        for link in (its.link, *ASSUMED):
            facts = compute, link, size
            shares = [
                *(weak(*facts, devices, BATCH) for devices in DEVICES),
                *(strong(*facts, devices, WHOLE) for devices in DEVICES),
            ]
            lines.append([title, link.name, *(f"{share:.0%}" for share in shares)])
    heads = [f"{n:,}" for n in DEVICES]
    head = (
        "network",
        "link",
        *(f"{n} devices, {BATCH} each" for n in heads),
        *(f"{n} devices, {WHOLE:,} in all" for n in heads),
    )
    return f"{_table(head, lines)}\n\n{_from_host(its)}"


def _from_host(its: Fit) -> str:
    """Says what reading from the host does to a step, whose images each process reads itself."""
    parts = []
    for name, title in TITLES.items():
        compute, size = its.compute[name], gradient(Point(name, BATCH))
        held = step(compute, its.link, size, 1, BATCH)
        read = step(compute, its.link, size, 1, BATCH, its.read)
        parts.append(f"{_ms(read)} ms instead of {_ms(held)} ms for {title}")
    return (
        "Each process reads its own share of a batch, so that reading costs the same on any number "
        f"of processes: with {BATCH} images from the host, a step takes {' and '.join(parts)}."
    )


def worst(found: dict[str, Any]) -> float:
    """Returns the largest relative error of a prediction; infinite if a constant is negative."""
    its = fit(found)
    lines = *its.compute.values(), its.widths, its.population
    constants = [its.link.latency, its.link.seconds_per_byte, *(line.slope for line in lines)]
    if min(constants) < 0:
        return math.inf
    errors = [line[-1] for line in _rows(found, its)]
    return max(abs(float(error.strip("%"))) / 100 for error in errors)


def _population(its: Fit) -> str:
    """Predicts the time of a population over many devices."""
    steps = 25 * (55_000 // BATCH)
    alone = its.population(NETWORKS) * steps
    lines = []
    for devices in (1, *DEVICES):
        each = math.ceil(NETWORKS / devices)
        seconds = its.population(each) * steps
        whole = seconds + its.compiling
        lines.append(
            [
                f"{devices:,}",
                f"{each:,}",
                f"{seconds / 60:,.1f}",
                f"{alone / devices / seconds:.0%}",
                f"{(alone + its.compiling) / devices / whole:.0%}",
            ]
        )
    head = "devices", "networks each", "minutes of training", "efficiency", "with compilation"
    return _table(head, lines)


def _elastic(found: dict[str, Any]) -> str:
    lines = []
    for name, title in TITLES.items():
        batch = {"mlp": 128, "cnn": 64}[name]
        for count, rows in ((1, found["alone"]), (2, found["pair"])):
            times = _times(rows)
            plain = [t for p, t in times.items() if p == Point(name, batch, held_out=p.held_out)]
            elastic = times[Point(name, batch, reduction="elastic")]
            cells = [title, str(batch), str(count), _ms(plain[0]), _ms(elastic)]
            lines.append([*cells, f"{elastic / plain[0]:.2f}"])
    head = "network", "examples per process", "processes", "mean, ms", "elastic, ms", "ratio"
    return _table(head, lines)


def _times(rows: Rows) -> dict[Point, float]:
    """Returns the median seconds of a step by point."""
    return {
        Point(**{k: v for k, v in row.items() if k != "seconds"}): _median(row)
        for row in rows
        if "network" in row
    }


def _median(row: dict[str, Any]) -> float:
    return statistics.median(row["seconds"])


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, marks, *lines))
