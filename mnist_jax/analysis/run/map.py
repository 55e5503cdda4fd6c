"""Draws the images of a split as points, by what enters the last layer of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import GREY, INK, MARKERS
from mnist_jax.analysis.gallery import evenly_spaced
from mnist_jax.analysis.run.evaluation import Predictions
from mnist_jax.analysis.run.insight import Map

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

# Paul Tol, "Colour Schemes", 2021: "muted", for ten classes; and a grey for the tenth.
COLOURS = ("#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE")
COLOURS += ("#882255", "#44AA99", "#999933", "#AA4499", GREY)
NAMES = 60  # classes at most for whose names there may be room
LONGEST = 1.2  # inches: longer names are shortened


def draw_map(its: Map, predictions: Predictions) -> Figure:
    """Draws a point per image, in the colour of its true class, and outlines mistakes."""
    correct = predictions.correct[its.examples]
    labels = predictions.labels[its.examples]
    mistakes = canvas.count(int((~correct).sum()), "mistake")
    figure = canvas.headed(
        8,
        6.2,
        f"Map of {canvas.count(len(labels), 'image')} ({predictions.split})",
        f"the {its.width:,} values that enter {its.layer}, on their first two principal components;"
        " a colour and a sign per true class, its name at the median; with a black edge: "
        f"{mistakes}",
    )
    axes = canvas.panel(figure, 0.85, 0.6, 0.2)
    axes.set_aspect("equal", adjustable="datalim")  # else distances could not be compared
    for label in range(len(predictions.class_names)):
        right, wrong = (its.points[(labels == label) & mask] for mask in (correct, ~correct))
        color, marker = COLOURS[label % len(COLOURS)], MARKERS[label % len(MARKERS)]
        axes.plot(*right.T, marker, color=color, ms=2.6, mew=0, zorder=2)
        axes.plot(*wrong.T, marker, color=color, ms=4.2, mec=INK, mew=0.8, zorder=3)
    axes.set(
        xlabel=f"first component: {100 * its.shares[0]:.1f} % of the variance",
        ylabel=f"second component: {100 * its.shares[1]:.1f} % of the variance",
    )
    _write_names(axes, its.points, labels, predictions.class_names)
    return figure


def describe(its: Map) -> str:
    """Describes the picture in words."""
    return (
        f"Scatter plot of {canvas.count(len(its.examples), 'image')} on two principal components "
        f"of what enters the layer {its.layer}, which have {100 * its.shares.sum():.1f} % of the "
        "variance."
    )


def _write_names(
    axes: Axes, points: np.ndarray, labels: np.ndarray, names: tuple[str, ...]
) -> None:
    """Writes the names of classes at the medians of their points, where there is room."""
    from matplotlib.patheffects import withStroke

    axes.apply_aspect()  # as drawing does later: the names have their places now
    there = np.unique(labels)
    taken: list[Bbox] = []
    for label in there[evenly_spaced(len(there), NAMES)]:
        x, y = np.median(points[labels == label], axis=0)
        name = canvas.fit(names[label], LONGEST, 12, "bold")
        text = axes.text(x, y, name, size=12, weight="bold", ha="center", va="center", zorder=4)
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
        box = text.get_window_extent()
        if box.count_overlaps(taken):
            text.remove()
        else:
            taken.append(box)
