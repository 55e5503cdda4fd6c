"""The plots of a sweep's report: which there are, what the report says of each, and their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_jax.analysis import canvas
from mnist_jax.analysis.sweep.curves import draw_curves
from mnist_jax.analysis.sweep.fields import draw_field, find_numeric
from mnist_jax.analysis.sweep.heatmaps import draw_heatmap, find_grid
from mnist_jax.analysis.sweep.ranking import draw_ranking
from mnist_jax.analysis.sweep.settings import field_names, file_name
from mnist_jax.analysis.sweep.sizes import draw_parameters
from mnist_jax.analysis.sweep.table import Comparison, column_label
from mnist_jax.files import make_folder
from mnist_jax.metrics import Metric

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A plot of a sweep's report."""

    name: str  # the file's name, without its suffix
    heading: str
    help: str  # helps to read the plot, below it
    alt: str  # says what is drawn to readers who cannot see it
    draw: Callable[[Comparison], Figure | None]  # None: there is nothing to draw


def plots_of(comparison: Comparison) -> Iterator[Plot]:
    """Yields the plots of a sweep in reading order; a new kind of plot is added here alone."""
    loss, accuracy, *further = comparison.metrics
    name = column_label(*comparison.yardstick)
    names = field_names(comparison.varied)
    yield Plot(
        "ranking",
        "Ranking",
        f"Differences smaller than the error bars may be due to chance. {_order(comparison)}",
        "One row per architecture, with its results and their error bars",
        draw_ranking,
    )
    yield _curves(
        "curves",
        accuracy,
        "An architecture whose curve still rises at the end would gain from more epochs.",
    )
    yield _curves(
        "loss_curves",
        loss,
        "A validation loss that rises again while accuracy stays flat is a sign of overfitting.",
    )
    for metric in further:
        better = "Higher" if metric.higher_is_better else "Lower"
        yield _curves(f"{metric.name}_curves", metric, f"{better} is better.")
    up = comparison.metric.higher_is_better
    yield Plot(
        "parameters",
        "Size",
        f"Points further {'up' if up else 'down'} and to the left are better: "
        f"{'higher' if up else 'lower'} {name} with fewer parameters.",
        f"One point per architecture: {name} against the number of trained parameters",
        draw_parameters,
    )
    if grid := find_grid(comparison):
        rows, columns = (names[field] for field in grid)
        yield Plot(
            f"heatmap_{file_name(rows, columns)}",
            "Two fields at once",
            "If all rows look alike, only the field of the columns matters, and vice versa.",
            f"A table of mean {name}, with one row per value of {rows} and one column per value of "
            f"{columns}",
            partial(draw_heatmap, rows=grid[0], columns=grid[1]),
        )
    for field in find_numeric(comparison):
        yield Plot(
            f"field_{file_name(names[field])}",
            f"One field: {names[field]}",
            "A value in the middle of a plateau is a safer choice than the single "
            f"{'highest' if up else 'lowest'} point.",
            f"{canvas.capitalised(name)} against {names[field]}",
            partial(draw_field, field=field),
        )


def _order(comparison: Comparison) -> str:
    """Says in a sentence what the order of the ranking is."""
    if comparison.not_ranked:
        return f"Architectures are in the order given, because {comparison.not_ranked}."
    return (
        f"The order is by {column_label(comparison.column, comparison.metric)}; the test results "
        f"beside it have no influence on the order."
    )


def _curves(name: str, metric: Metric, help: str) -> Plot:
    return Plot(
        name,
        f"{canvas.capitalised(metric.label)} by epoch",
        help,
        f"One curve per architecture: {metric.label} after each epoch",
        partial(draw_curves, metric=metric),
    )


def write_plots(folder: Path, comparison: Comparison) -> list[tuple[Plot, Path]]:
    """Draws every plot that makes sense for a comparison into `folder`, as PNG.

    A plot that cannot be drawn is left out with a warning.

    Args:
      folder: created if it does not exist; plots of the same names are replaced.
      comparison: the networks to compare.

    Returns:
      Each plot with its file, in reading order.

    Raises:
      UserError: a file cannot be written.
    """
    make_folder(folder)
    written = []
    for plot in plots_of(comparison):
        with canvas.drawing(f"the plot {plot.name}"), canvas.styled():
            figure = plot.draw(comparison)
            if figure is not None:
                written.append((plot, canvas.save(figure, folder / f"{plot.name}.png")))
    return written
