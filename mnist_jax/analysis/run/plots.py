"""Plots of a run: curves, confusion, calibration, examples, mistakes, and looks into the network.

A plot is an entry of `PLOTS`: it is then drawn into `plots/` and shown in the report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import log_axis
from mnist_jax.analysis.canvas import BLUE, GREY, INK, PALE, VERMILLION
from mnist_jax.analysis.gallery import Gallery, evenly_spaced, shades
from mnist_jax.analysis.run import activations, captions, first_layer, map, saliency
from mnist_jax.analysis.run.evaluation import Predictions
from mnist_jax.analysis.run.insight import Insight, Layer, Map
from mnist_jax.files import make_folder
from mnist_jax.metrics import SPLITS, Metric

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = 0.22  # inches: least side of a cell in which a count is legible
LARGEST, BARE = 24.0, 12.0  # inches: side of a confusion matrix at most; of one without counts
LONGEST = 2.0  # inches: longer names of classes are shortened beside the confusion matrix
EXAMPLES, MISTAKES = (5, 10), (4, 8)  # rows and columns of the galleries
Z = 1.96  # of the normal distribution, for an interval of 95 %


@dataclass(frozen=True)
class View:
    """An evaluated run, as its plots and its report show it."""

    history: Sequence[dict]  # one row per epoch, as in `metrics.jsonl`
    predictions: Predictions
    evaluation: dict  # what `evaluate(predictions)` returned
    metrics: Sequence[Metric]  # in the order in which they are shown
    insight: Insight | None = None  # what the network looks at; None if that could not be found

    @property
    def mistakes(self) -> int:
        """Number of wrong predictions."""
        return int((~self.predictions.correct).sum())

    @property
    def calibration_error(self) -> float:
        """The expected calibration error, as a fraction."""
        return self.evaluation["calibration"]["expected_calibration_error"]


@dataclass(frozen=True)
class Plot:
    """A plot of a run: its file, its place in the report, and how it is drawn.

    The report shows plots of one part side by side if all of them are narrow enough. Where a plot
    has nothing to show, the report says why.
    """

    name: str  # of the file, without `.png`; also in `metrics.TAKEN`
    part: Literal["curves", "mistakes", "classes", "examples", "network"]  # of the report
    heading: str
    help: str  # how to read it
    alt: Callable[[View], str]  # what it shows, in words
    draw: Callable[[View], Figure]
    shown: Callable[[Insight], object] | None = None  # what it shows of an insight, if it needs one
    nothing: str = ""  # why there may be nothing of that

    def missing(self, view: View) -> str:
        """Returns why there is nothing to show; empty if there is."""
        return "" if self.shown is None or self.shown(_insight(view)) else self.nothing


PLOTS = (
    Plot(
        name="mistakes",
        part="mistakes",
        heading="Worst mistakes",
        help="The wrongly predicted images to whose true class the model gave the lowest "
        "probability; some would puzzle a person, too.",
        alt=lambda view: f"Gallery of the mistakes with the highest loss; {_score(view)}.",
        draw=lambda view: draw_mistakes(view.predictions),
    ),
    Plot(
        name="confusion",
        part="classes",
        heading="Confusion matrix",
        help="Correct predictions lie on the grey diagonal; the darker any other cell, the more "
        "frequent that mistake.",
        alt=lambda view: f"Confusion matrix, true against predicted class; {_score(view)}.",
        draw=lambda view: draw_confusion(view.evaluation),
    ),
    Plot(
        name="calibration",
        part="classes",
        heading="Calibration",
        help="On the dashed line, predictions made with 80 % probability are right 8 times out of "
        "10; below it, the model is overconfident.",
        alt=lambda view: (
            "Reliability diagram; the expected calibration error is "
            f"{100 * view.calibration_error:.2f} %."
        ),
        draw=lambda view: draw_calibration(view.evaluation),
    ),
    Plot(
        name="examples",
        part="examples",
        heading="Examples",
        help="A fixed selection from the classes: the same images for every model evaluated on "
        "this split.",
        alt=lambda view: (
            f"Gallery of images of {captions.classes(EXAMPLES[1], view.predictions)} with "
            "predicted class and probability."
        ),
        draw=lambda view: draw_examples(view.predictions),
    ),
    Plot(
        name="saliency",
        part="network",
        heading="What it looks at in its worst mistakes",
        help="Blue: a higher value of this pixel would raise the network's output for its wrong "
        "answer; orange: lower it. This is a gradient (Simonyan et al., 2013), a linear "
        "approximation that is true of small changes of this image only.",
        alt=lambda view: saliency.describe(_insight(view)),
        draw=lambda view: saliency.draw_saliency(_insight(view), view.predictions),
        shown=lambda insight: len(insight.worst),
        nothing="There are no mistakes to explain.",
    ),
    Plot(
        name="first_layer",
        part="network",
        heading="First layer",
        help="The weights of a unit are the pattern to which it responds most. Smooth strokes and "
        "edges were learned; noise is what the random weights of the start have left.",
        alt=lambda view: first_layer.describe(_first_layer(view)),
        draw=lambda view: first_layer.draw_first_layer(_first_layer(view)),
        shown=lambda insight: insight.first,
        nothing="There are no weights of a layer that are like images.",
    ),
    Plot(
        name="activations",
        part="network",
        heading="From layer to layer",
        help="Follow an image from top to bottom. What differs between the columns of a row is "
        "what the classes can be told apart by; a unit that is white for all images is idle.",
        alt=lambda view: activations.describe(_insight(view), view.predictions),
        draw=lambda view: activations.draw_activations(_insight(view), view.predictions),
        shown=lambda insight: insight.layers,
        nothing="No layer of this network can be seen from outside.",
    ),
    Plot(
        name="map",
        part="network",
        heading="Map of the images",
        help="Images that lie far apart differ for the last layer. Those that are close may be "
        "alike, or differ in the components that are not shown. Mistakes gather where groups of "
        "images meet.",
        alt=lambda view: map.describe(_map(view)),
        draw=lambda view: map.draw_map(_map(view), view.predictions),
        shown=lambda insight: insight.map,
        nothing="No layer with weights can be seen from outside.",
    ),
)


def _insight(view: View) -> Insight:
    assert view.insight is not None  # `plots_of` leaves out the plots that need it
    return view.insight


def _first_layer(view: View) -> Layer:
    found = _insight(view).first
    assert found is not None  # the plot is missing otherwise
    return found


def _map(view: View) -> Map:
    found = _insight(view).map
    assert found is not None  # the plot is missing otherwise
    return found


CURVE_HELP = {  # what to know of a metric's curves, besides which direction is better
    "loss": "If the training loss keeps falling while the validation loss rises, the model "
    "overfits. The training loss includes label smoothing and augmentation of the images where "
    "they are configured.",
    "accuracy": "Training accuracy is averaged over each epoch, during which the model still "
    "improves, so it may begin below validation accuracy.",
}


def plots_of(view: View) -> list[Plot]:
    """Returns all plots of a run in reading order: its learning curves, if any, and `PLOTS`.

    Those of the part `network` are left out if the network could not be looked into.
    """
    curves = [_curve(metric) for metric in view.metrics if view.history]
    return [*curves, *(its for its in PLOTS if view.insight or its.part != "network")]


def write_plots(folder: Path, view: View) -> list[Path]:
    """Draws every plot of a run into `folder` as PNG and returns their paths, in reading order.

    The folder is created if it does not exist; plots of the same names are replaced. A plot that
    has nothing to show is left out, and one that cannot be drawn is left out with a warning.

    Raises:
      UserError: a file cannot be written.
    """
    make_folder(folder)
    written = []
    for plot in plots_of(view):
        path = folder / f"{plot.name}.png"
        with canvas.drawing(f"the plot {plot.name}"), canvas.styled():
            if not plot.missing(view):
                written.append(canvas.save(plot.draw(view), path))
    return written


def _score(view: View) -> str:
    images = canvas.count(view.evaluation["count"], "image")
    return f"{canvas.count(view.mistakes, 'mistake')} among {images}"


# Learning curves


def _curve(metric: Metric) -> Plot:
    """Returns the plot of a metric by epoch."""

    def alt(view: View) -> str:
        last = view.history[-1]
        train, val = (
            metric.text(last.get(f"{split}_{metric.name}"), "none") for split in ("train", "val")
        )
        return (
            f"Line plot of {metric.label} by epoch; at the end: training {train}, validation {val}."
        )

    direction = f"{'Higher' if metric.higher_is_better else 'Lower'} is better."
    return Plot(
        name=metric.name,
        part="curves",
        heading=canvas.capitalised(metric.label),
        help=f"{direction} {CURVE_HELP.get(metric.name, '')}".strip(),
        alt=alt,
        draw=lambda view: draw_curve(view.history, metric),
    )


def draw_curve(history: Sequence[dict], metric: Metric) -> Figure:
    """Draws the training and validation curves of a metric by epoch.

    Args:
      history: one row or more, with `epoch`, `train_NAME` and `val_NAME`; the values are None
        without a validation split.
      metric: the metric.
    """
    figure = canvas.new_figure(6.5, 4.7)
    axes = figure.add_axes((0.12, 0.12, 0.84, 0.68))
    axes.yaxis.set_label_coords(-0.105, 0.5)
    _scale(axes, _draw_series(axes, history, metric), metric)
    axes.legend(  # above the axes, where it covers no curve
        title=f"{canvas.capitalised(metric.label)} by epoch",
        alignment="left",
        title_fontproperties={"size": 12, "weight": "bold"},
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        borderaxespad=0.2,
    )
    return figure


def _draw_series(axes: Axes, history: Sequence[dict], metric: Metric) -> list[float]:
    """Draws a metric of training and validation; returns the finite values that are drawn."""
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    drawn = []
    for split, when, color, style, face in (
        ("train", "mean over each epoch", BLUE, "o--", "white"),
        ("val", "after each epoch", VERMILLION, "s-", VERMILLION),
    ):
        values = [_number(row.get(f"{split}_{metric.name}")) for row in history]
        finite = [value for value in values if math.isfinite(value)]
        if finite or split == "train":
            last = f"{metric.text(finite[-1])} at the end" if finite else "no finite value"
            label = f"{SPLITS[split]}, {when}: {last}"
            every = max(1, len(epochs) // 20)
            scaled = [metric.scale * value for value in values]
            axes.plot(epochs, scaled, style, c=color, label=label, markevery=every, mfc=face)
        drawn += [metric.scale * value for value in finite]
    margin = max(0.5, 0.02 * (max(epochs) - min(epochs)))
    axes.set(xlabel="epoch", xlim=(min(epochs) - margin, max(epochs) + margin))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return drawn or [1.0]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _scale(axes: Axes, values: list[float], metric: Metric) -> None:
    """Sets scale, limits and label of the y axis of learning curves."""
    low, high = min(values), max(values)
    label = f"mean {metric.label} per image"
    if metric.percent:
        label = f"{metric.label} (%)"
        margin = 0.08 * (high - low) or 2.0
        floor, top = (-0.5, 100.5) if 0 <= low <= high <= 100 else (-math.inf, math.inf)
        axes.set_ylim(max(low - margin, floor), min(high + margin, top))
    elif low > 0 and high > 20 * low:
        label += " (log scale)"
        log_axis(axes, fine=high < 1000 * low)
    elif low < 0:
        margin = 0.08 * (high - low) or 1
        axes.set_ylim(low - margin, high + margin)
    else:
        axes.set_ylim(0, high * 1.08 or 1)
    axes.set_ylabel(label)


# Confusion and calibration


def draw_confusion(evaluation: dict) -> Figure:
    """Draws counts by true and predicted class; cells with more mistakes are darker.

    Counts and names are left out where there are too many classes for them.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    counts = np.array(evaluation["confusion"])
    names = [canvas.fit(row["name"], LONGEST, 10.0) for row in evaluation["per_class"]]
    mistakes = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    tint = LinearSegmentedColormap.from_list("mistakes", ["#FFFFFF", "#F6B26B", VERMILLION])
    longest = max(canvas.text_width(name, 10.0) for name in names)
    left, right, top = 0.7 + longest, 0.13, 0.455  # inches
    cell = max((6.5 - left - right) / len(names), CELL)
    legible = left + cell * len(names) + right <= LARGEST
    if not legible:
        left = 0.9
        cell = (BARE - left - right) / len(names)
    side = left + cell * len(names) + right
    span = cell * len(names) / side
    figure = canvas.new_figure(side, side)
    axes = figure.add_axes((left / side, 1 - top / side - span, span, span))
    axes.imshow(mistakes, cmap=tint, vmin=0, vmax=max(mistakes.max(), 1))
    for label in range(len(counts)):
        corner = label - 0.5, label - 0.5
        axes.add_patch(Rectangle(corner, 1, 1, color=PALE, zorder=1.5))
    total, images = canvas.count(mistakes.sum(), "mistake"), canvas.count(counts.sum(), "image")
    axes.set_title(f"{total} among {images} ({evaluation['split']})")
    if legible:
        _name_cells(axes, names, upright=longest > 0.9 * cell)
        _write_counts(axes, counts, mistakes.max(), cell)
    else:
        note = f"{len(counts):,} classes are too many to write names and counts"
        axes.set(
            xlabel=f"number of the predicted class ({note})", ylabel="number of the true class"
        )
        axes.grid(False)
    return figure


def _name_cells(axes: Axes, names: list[str], upright: bool) -> None:
    cells = range(len(names))
    axes.set_xticks(cells, names, rotation=90 if upright else 0)
    axes.set_yticks(cells, names)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(False)
    axes.grid(True, which="minor", linewidth=0.8)
    axes.tick_params(which="minor", length=0)


def _write_counts(axes: Axes, counts: np.ndarray, most: int, cell: float) -> None:
    """Writes the counts into their cells, and nothing for 0."""
    digits = len(str(counts.max()))
    size = min(10.0, 72 * cell * min(0.5, 1.3 / digits))  # a digit's width is 0.64 of the size
    for row, column in np.argwhere(counts):
        count, diagonal = counts[row, column], row == column
        color = "white" if not diagonal and count > 0.7 * most else INK
        axes.text(
            column, row, str(count), ha="center", va="center",
            color=color, size=size, weight="normal" if diagonal else "bold",
        )  # fmt: skip


def draw_calibration(evaluation: dict) -> Figure:
    """Draws a reliability diagram: accuracy against confidence per bin, above the bins' counts."""
    bins = evaluation["calibration"]["bins"]
    figure = canvas.new_figure(6.5, 6.5)
    top = figure.add_axes((0.13, 0.34, 0.83, 0.59))
    bottom = figure.add_axes((0.13, 0.09, 0.83, 0.20), sharex=top)
    _draw_reliability(top, [row for row in bins if row["count"]])
    error = evaluation["calibration"]["expected_calibration_error"]
    top.set_title(f"Expected calibration error {100 * error:.2f} % ({evaluation['split']})")
    top.tick_params(labelbottom=False)
    top.set_ylabel("accuracy (%)")
    middles = [50 * (row["low"] + row["high"]) for row in bins]
    counts = [row["count"] for row in bins]
    bottom.bar(middles, counts, width=90 / len(bins), color=BLUE)
    log_axis(bottom, fine=False, form=",g")
    bottom.set(ylim=(0.7, 2 * max(counts)), ylabel="images (log)")
    bottom.set(xlim=(0, 100), xlabel="confidence: probability of the predicted class (%)")
    figure.align_ylabels()
    return figure


def _draw_reliability(axes: Axes, bins: list[dict]) -> None:
    confidence = np.array([100 * row["confidence"] for row in bins])
    accuracy = np.array([100 * row["accuracy"] for row in bins])
    spans = [wilson(row["accuracy"], row["count"]) for row in bins]
    reach = np.abs(100 * np.array(spans).T - accuracy)
    axes.plot([0, 100], [0, 100], "--", color=GREY, lw=1.2, label="perfectly calibrated")
    axes.errorbar(
        confidence, accuracy, yerr=reach, fmt="o", color=BLUE, elinewidth=1.2, capsize=3,
        clip_on=False, label="accuracy in a bin, with 95 % interval",
    )  # fmt: skip
    axes.set_ylim(-2, 102)
    axes.legend(loc="upper left")


def wilson(fraction: float, count: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a fraction in `count` trials.

    This is the score interval (Wilson, Probable Inference, JASA, 1927).
    """
    shrink = 1 + Z**2 / count
    middle = (fraction + Z**2 / (2 * count)) / shrink
    reach = Z * math.sqrt(fraction * (1 - fraction) / count + Z**2 / (4 * count**2)) / shrink
    return middle - reach, middle + reach


# Galleries


def draw_examples(predictions: Predictions) -> Figure:
    """Draws images of each class with their predictions, evenly spaced through the split.

    Every run shows the same images, in one column per true class.
    """
    rows, columns = EXAMPLES
    shown = evenly_spaced(len(predictions.class_names), columns)
    tiles = {}
    for column, label in enumerate(shown):
        members = np.flatnonzero(predictions.labels == label)
        picks = np.linspace(0, len(members) - 1, min(rows, len(members))).astype(int)
        tiles |= {(row, column): members[pick] for row, pick in enumerate(picks)}
    right = sum(bool(predictions.correct[example]) for example in tiles.values())
    short = captions.is_short(predictions, 1)
    gallery = Gallery(
        predictions.images.shape[1:],
        (rows, len(shown)),
        side=84,
        lines=1 if short else 2,
        title=f"Examples ({predictions.split}): {right} of {len(tiles)} right",
        note="one column per true class; below each image: ✓ right or ✗ wrong (framed), "
        f"the predicted class and its probability{shades(predictions.images)}",
    )
    for place, example in tiles.items():
        correct = predictions.correct[example]
        answer = f"{'✓' if correct else '✗'} {captions.predicted(predictions, example)}"
        sure = captions.probability(predictions, example)
        lines = [f"{answer}  {sure}"] if short else [answer, sure]
        gallery.add(place, predictions.images[example], lines, strong=not correct)
    return gallery.finish()


def draw_mistakes(predictions: Predictions) -> Figure:
    """Draws the wrongly predicted images, highest loss first, with true and predicted class."""
    rows, columns = MISTAKES
    worst = predictions.worst[: columns * rows]
    if not len(worst):
        return _no_mistakes(predictions)
    mistakes = canvas.count(len(predictions.worst), "mistake")
    gallery = Gallery(
        predictions.images.shape[1:],
        (math.ceil(len(worst) / columns), columns),
        side=112,
        lines=captions.mistake_lines(predictions),
        title=f"The {len(worst)} worst of {mistakes} ({predictions.split})",
        note="highest loss first; below each image: true → predicted class, the probability of "
        f"the predicted class, #index in the split{shades(predictions.images)}",
    )
    for position, example in enumerate(worst):
        lines = captions.of_mistake(predictions, example)
        gallery.add(divmod(position, columns), predictions.images[example], lines)
    return gallery.finish()


def _no_mistakes(predictions: Predictions) -> Figure:
    figure = canvas.new_figure(9, 1.2)
    count = canvas.count(len(predictions.labels), "image")
    text = f"No mistakes among {count} ({predictions.split})"
    figure.text(0.5, 0.5, text, ha="center", va="center", weight="bold", size=12)
    return figure
