"""Reports the accuracy of a network on corrupted images: a table and a plot."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import accuracy_axis, keep_apart, series_style
from mnist_jax.files import make_folder, write_json, write_text

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.figure import Figure

LINE = 12  # points from one name to the next


@dataclass(frozen=True)
class Cell:
    """The accuracy at one strength of one kind of corruption."""

    corruption: str
    unit: str
    level: int  # 1 (weak) to 5 (strong)
    strength: float
    accuracy: float


def publish(folder: Path, cells: Sequence[Cell], facts: dict[str, Any]) -> dict[str, Any]:
    """Writes `robustness.json`, `robustness.csv` and `plots/robustness.png`; returns the figures.

    A plot that cannot be drawn is left out with a warning.

    Args:
      folder: created if it does not exist.
      cells: the accuracies.
      facts: `split`, `count`, `checkpoint` and `clean`, the accuracy without corruption.

    Raises:
      UserError: a file cannot be written.
    """
    make_folder(folder / "plots")
    mean = sum(cell.accuracy for cell in cells) / len(cells)
    figures = facts | {"accuracy": mean, "cells": [vars(cell) for cell in cells]}
    table = io.StringIO()
    writer = csv.DictWriter(table, [*vars(cells[0])], lineterminator="\n")
    writer.writeheader()
    writer.writerows(vars(cell) for cell in cells)
    write_json(folder / "robustness.json", figures)
    write_text(folder / "robustness.csv", table.getvalue())
    with canvas.drawing("the plot robustness"), canvas.styled():
        canvas.save(draw(cells, facts), folder / "plots" / "robustness.png")
    return figures


def draw(cells: Sequence[Cell], facts: dict[str, Any]) -> Figure:
    """Draws accuracy by strength, with one line per kind of corruption."""
    note = (
        f"{canvas.count(facts['count'], 'image')} of {facts['split']}; dashed: without corruption, "
        f"{100 * facts['clean']:.2f} %"
    )
    figure = canvas.headed(8, 4.8, "Accuracy on corrupted images", note)
    axes = canvas.panel(figure, 0.75, 0.6, 1.2)
    clean = 100 * facts["clean"]
    axes.axhline(clean, ls="--", color=canvas.GREY, lw=1)
    lines = {
        name: [100 * its.accuracy for its in cells if its.corruption == name]
        for name in _names(cells)
    }
    accuracy_axis(axes, [clean, *itertools.chain(*lines.values())], "accuracy")
    ends = axes.transData.transform([(0, values[-1]) for values in lines.values()])[:, 1]
    low, high = axes.transData.transform([(0, end) for end in axes.get_ylim()])[:, 1]
    places = keep_apart(list(ends), LINE * canvas.DPI / 72, low, high)
    for position, ((name, values), place) in enumerate(zip(lines.items(), places, strict=True)):
        style = series_style(position)
        axes.plot(range(1, len(values) + 1), values, **style)
        right = axes.transAxes.transform((1.02, 0))[0]
        axes.annotate(
            name,
            (right, place),
            xycoords="figure pixels",
            color=style["color"],
            va="center",
            size=9,
            annotation_clip=False,
        )
    axes.set_xticks(_levels(cells))
    axes.set_xlabel("strength of the corruption, from weak to strong")
    return figure


def tell(cells: Sequence[Cell]) -> str:
    """Returns the table as lines of text: one per kind of corruption, in percent."""
    names = _names(cells)
    width = max(map(len, names))
    lines = [" " * width + "".join(f"{level:8d}" for level in _levels(cells)) + "  (strength)"]
    for name in names:
        values = [f"{100 * cell.accuracy:8.2f}" for cell in cells if cell.corruption == name]
        lines.append(f"{name:{width}}{''.join(values)}")
    return "\n".join(lines)


def _levels(cells: Sequence[Cell]) -> list[int]:
    return sorted({cell.level for cell in cells})


def _names(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.corruption for cell in cells))
