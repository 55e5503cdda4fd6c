"""Plots what a long training has and uses against the epochs that are done."""

import itertools
from pathlib import Path
from typing import Any

from benchmarks import measured
from mnist_jax.analysis import canvas

HEIGHT = 2.2  # height of a row of panels, in inches
SMOOTHED = 10  # differences over which the CPU time is averaged


def draw(found: dict[str, Any], path: Path) -> Path:
    """Saves the plot as PNG, a column of panels per training; returns its path."""
    trainings = list(found["samples"].items())
    curves = [_curves([dict(zip(found["columns"], its, strict=True)) for its in samples])
              for _, samples in trainings]  # fmt: skip
    rows = len(curves[0])
    note = f"Sampled from outside the process. {measured.sentence(found['conditions'])}"
    with canvas.styled():
        height = canvas.HEAD + HEIGHT * rows + 0.35
        figure = canvas.headed(11.0, height, "What long trainings need", note)
        for column, ((title, _), its) in enumerate(zip(trainings, curves, strict=True)):
            left, right = (0.85, 5.75) if column == 0 else (6.35, 0.25)
            for row, (label, (xs, ys)) in enumerate(its.items()):
                bottom = 0.55 + HEIGHT * (rows - 1 - row)
                top = 0.3 + HEIGHT * row
                axes = canvas.panel(figure, left, bottom, right, top)
                axes.plot(xs, ys, color=canvas.SERIES[row % len(canvas.SERIES)], lw=1.4)
                axes.set_xlim(0, max(its["memory, MB"][0], default=1))
                axes.set_ylim(0, 1.15 * max(ys, default=1.0) or 1.0)
                axes.set_ylabel(label)
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
                axes.set_title(title if row == 0 else "")
                axes.set_xlabel("epochs, over all networks" if row == rows - 1 else "")
        path.parent.mkdir(parents=True, exist_ok=True)
        return canvas.save(figure, path)


def _curves(samples: list[dict[str, float]]) -> dict[str, tuple[list[float], list[float]]]:
    """Returns `(epochs, values)` of each panel by its label."""
    its = [sample for sample in samples if sample["done"]]
    done = [sample["done"] for sample in its]
    times = [
        ((a["done"] + b["done"]) / 2, 1e3 * (b["cpu"] - a["cpu"]) / (b["done"] - a["done"]))
        for a, b in zip(its, itertools.islice(its, SMOOTHED, None), strict=False)
        if b["done"] > a["done"]
    ]
    return {
        "memory, MB": (done, [sample["memory"] / 1e6 for sample in its]),
        "open files": (done, [sample["handles"] for sample in its]),
        "CPU ms per epoch": ([x for x, _ in times], [y for _, y in times]),
        "disk without rows, MB": (done, [sample["disk"] / 1e6 for sample in its]),
    }
