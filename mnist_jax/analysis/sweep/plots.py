"""Plots of a comparison: the choice of plots, the ranking, and accuracy against size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import (
    accuracy_axis,
    label_points,
    metric_axis,
    seeds_note,
    series_style,
    shorten,
)
from mnist_jax.analysis.canvas import BLUE, GREY, INK, PALE, VERMILLION
from mnist_jax.analysis.sweep.comparison import (
    Architecture,
    Member,
    architectures,
    field_names,
    heading,
    metrics_of,
    ordering,
    ranked,
    said,
    shown,
    validated,
    value_of,
    varied,
    yardstick,
)
from mnist_jax.analysis.sweep.curves import draw_curves
from mnist_jax.analysis.sweep.fields import draw_depth, draw_fields
from mnist_jax.analysis.sweep.heatmaps import draw_heatmaps
from mnist_jax.metrics import SPLITS, Metric

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 40
ROW = 0.26  # inches


def write_plots(folder: Path, members: Sequence[Member]) -> list[Path]:
    """Draws every plot that makes sense for the members of a comparison into `folder`, as PNG.

    Args:
      folder: created if it does not exist; plots of the same names are replaced.
      members: one or more.

    Returns:
      The paths in reading order. Their stems: `ranking`, `curves` (of accuracy), `loss_curves` and
      `NAME_curves` for each further metric, `depth`, `parameters`, `heatmap_*`, `field_*`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with canvas.styled():
        return [
            canvas.save(figure, folder / f"{stem}.png")
            for stem, figure in _figures(members)
            if figure is not None
        ]


def _figures(members: Sequence[Member]) -> Iterator[tuple[str, Figure | None]]:
    loss, accuracy, *further = metrics_of(members)
    yield "ranking", draw_ranking(members)
    yield "curves", draw_curves(members, accuracy)
    for metric in (loss, *further):
        yield f"{metric.name}_curves", draw_curves(members, metric)
    yield "depth", draw_depth(members)
    yield "parameters", draw_parameters(members)
    yield from draw_heatmaps(members)
    yield from draw_fields(members)


# Ranking


def draw_ranking(members: Sequence[Member]) -> Figure:
    """Draws validation and test results with one row per architecture, best validation first."""
    order = ranked(architectures(members))
    column, metric = ordering(members)
    has_order = validated(members, column)
    rows, left_out = _rows(order)
    height = canvas.HEAD + 0.2 + ROW * len(rows) + 0.65
    title = f"Architectures {f'by {said(column, metric)}' if has_order else 'in the order given'}"
    note = _ranking_note(order, has_order, left_out)
    figure = canvas.headed(9, height, title, note)
    names = [_row_name(row, left_out) for row in rows]
    step = 1.08 if metric.percent else 1.2  # inches from one column of numbers to the next
    left, right = 0.3 + 0.073 * max(map(len, names)), 0.09 + 2 * step
    axes = canvas.panel(figure, left, 0.6, right, canvas.HEAD + 0.2)
    _prepare_rows(axes, names)
    series = [(f"test_{metric.name}", VERMILLION, "D", 0.14)]
    if has_order:
        series.insert(0, (column, BLUE, "o", -0.14))
    values: list[float] = []
    for place, (shown_column, color, marker, offset) in enumerate(series):
        look = (color, marker, offset if has_order else 0.0)
        values += _draw_rows(axes, rows, shown_column, metric.scale, *look)
        x = 1.02 + step * place / _width(axes)
        _write_rows(axes, rows, shown_column, metric, color, x)
    metric_axis(axes, values, metric.label, metric, "x")
    return figure


def _width(axes: Axes) -> float:
    figure = axes.figure
    return axes.get_position().width * figure.bbox.width / canvas.DPI


def _rows(order: list[Architecture]) -> tuple[list[Architecture | None], int]:
    """Returns the rows to draw, with None for a middle that is left out, and its size."""
    if len(order) <= MOST_ROWS:
        return list(order), 0
    half = MOST_ROWS // 2
    return [*order[:half], None, *order[-half:]], len(order) - 2 * half


def _row_name(row: Architecture | None, left_out: int) -> str:
    if row is None:
        return f"… {left_out} more …"
    if not row.diverged:
        return shorten(row.name)
    return f"{shorten(row.name)} ({row.diverged} of {len(row.members)} diverged)"


def _ranking_note(order: list[Architecture], has_order: bool, left_out: int) -> str:
    bars = seeds_note([len(architecture.finished) for architecture in order], "bars")
    if has_order:
        note = f"● validation, ◆ test; {bars}; ranked by validation only"
    else:
        note = f"◆ test; {bars}; not ranked, because there is no validation split"
    if any(one.diverged for one in order) and not all(one.diverged for one in order):
        note += "; architectures with a diverged training come last"
    if left_out:
        note += f"; the middle {left_out} of {len(order)} are left out"
    return note


def _prepare_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names, size=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    for row in range(0, len(names), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=PALE, alpha=0.35, lw=0, zorder=0)


def _draw_rows(
    axes: Axes,
    rows: Sequence[Architecture | None],
    column: str,
    scale: float,
    color: str,
    marker: str,
    offset: float,
) -> list[float]:
    """Draws mean and error bar of each row; returns the values that the axis has to cover."""
    drawn = []
    for place, row in enumerate(rows):
        found = row.statistic(column) if row else None
        if found and found.mean is not None:
            mean, away = scale * found.mean, scale * (found.deviation or 0.0)
            axes.errorbar(
                mean, place + offset, xerr=away or None, fmt=marker, color=color,
                ms=5, elinewidth=1.1, capsize=2,
            )  # fmt: skip
            drawn += [mean - away, mean + away]
    return drawn


def _write_rows(
    axes: Axes,
    rows: Sequence[Architecture | None],
    column: str,
    metric: Metric,
    color: str,
    x: float,
) -> None:
    """Writes the mean and deviation of each row as a column of text at the right."""
    transform = axes.get_yaxis_transform()
    head = heading(SPLITS[column.partition("_")[0]], metric)
    style = {"size": 8.5, "va": "center", "transform": transform}
    axes.text(x, -0.9, head, color=color, weight="bold", **style)
    for place, row in enumerate(rows):
        if row is not None:
            lost = row.diverged and not row.finished
            text = "diverged" if lost else row.statistic(column).text(metric)
            axes.text(x, place, text, color=VERMILLION if lost else INK, **style)


# Size


def draw_parameters(members: Sequence[Member]) -> Figure | None:
    """Draws accuracy against the number of parameters; None if all have the same number."""
    order = [one for one in ranked(architectures(members)) if one.finished]
    if len({one.parameters for one in order}) < 2:
        return None
    column, metric = yardstick(members)
    name = said(column, metric)
    note = f"points: mean; {seeds_note([len(one.finished) for one in order], 'bars')}"
    note += "; names only where there is room"
    figure = canvas.headed(9, 5.4, f"{canvas.capitalised(name)} by number of parameters", note)
    groups = _groups(members)
    axes = canvas.panel(figure, 0.75, 0.95 if groups[0] else 0.6, 0.45)
    axes.set_xscale("log")
    axes.margins(x=0.1)
    points, values = [], []
    for one in order:
        found = one.statistic(column)
        if found.mean is None:
            continue
        mean, away = 100 * found.mean, 100 * (found.deviation or 0.0)
        points.append((one.parameters, mean, one.name))
        values += [mean - away, mean + away]
        style = _group_style(groups, one)
        axes.errorbar(
            one.parameters, mean, yerr=away or None, ms=6, ls="", elinewidth=1.1, capsize=2,
            **style,
        )  # fmt: skip
    accuracy_axis(axes, values, name)
    axes.set_xlabel("trained parameters (log scale)")
    _plain_ticks(axes, [one.parameters for one in order])
    _key(axes, groups)
    label_points(axes, [point[:2] for point in points], [shorten(p[2], 30) for p in points])
    return figure


def _groups(members: Sequence[Member]) -> tuple[str, list]:
    """Returns a field with few values, to be shown by colour and marker, or an empty name."""
    for field, values in varied(members).items():
        if field != "model.hidden" and len(values) <= len(canvas.SERIES):
            return field, values
    return "", []


def _group_style(groups: tuple[str, list], one: Architecture) -> dict[str, Any]:
    field, values = groups
    position = values.index(value_of(one.config, field)) if field else 0
    style = series_style(position)
    return {"color": style["color"], "marker": style["marker"]}


def _key(axes: Axes, groups: tuple[str, list]) -> None:
    field, values = groups
    if not field:
        return
    name = field_names([field])[field]
    for position, value in enumerate(values):
        style: dict[str, Any] = series_style(position) | {
            "ls": "",
            "label": f"{name} {shown(value)}",
        }
        del style["dashes"]
        axes.plot([], [], **style)
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=4, fontsize=9, handletextpad=0.2
    )


def _plain_ticks(axes: Axes, numbers: Sequence[int]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    narrow = max(numbers) < 30 * min(numbers)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.minorticks_off()
    axes.tick_params(axis="x", color=GREY)
