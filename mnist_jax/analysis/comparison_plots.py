"""Pictures of a comparison: which of them make sense, the ranking, accuracy against size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import BLUE, GREY, INK, PALE, VERMILLION
from mnist_jax.analysis.comparison import (
    Architecture,
    Member,
    Statistic,
    architectures,
    field_names,
    ranked,
    shown,
    value_of,
    varied,
    yardstick,
)
from mnist_jax.analysis.comparison_axes import (
    accuracy_axis,
    label_points,
    said,
    seeds_note,
    series_style,
    shorten,
)
from mnist_jax.analysis.comparison_curves import draw_accuracy_curves, draw_loss_curves
from mnist_jax.analysis.comparison_fields import draw_depth, draw_fields
from mnist_jax.analysis.comparison_heatmaps import draw_heatmaps

if TYPE_CHECKING:  # matplotlib takes half a second to import: only who draws pays for it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 40
ROW = 0.26  # inches


def write_plots(folder: Path, members: Sequence[Member]) -> list[Path]:
    """Draw into `folder`, as PNG, every picture that makes sense for these members.

    Args:
      folder: made if it does not exist; pictures of the same names are replaced.
      members: one or more.

    Returns:
      The files in reading order, of these stems: `ranking`, `curves`, `loss_curves`, `depth`,
      `parameters`, `heatmap_*`, `field_*`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with canvas.styled():
        return [
            canvas.save(figure, folder / f"{stem}.png")
            for stem, figure in _figures(members)
            if figure is not None
        ]


def _figures(members: Sequence[Member]) -> Iterator[tuple[str, Figure | None]]:
    yield "ranking", draw_ranking(members)
    yield "curves", draw_accuracy_curves(members)
    yield "loss_curves", draw_loss_curves(members)
    yield "depth", draw_depth(members)
    yield "parameters", draw_parameters(members)
    yield from draw_heatmaps(members)
    yield from draw_fields(members)


# Ranking


def draw_ranking(members: Sequence[Member]) -> Figure:
    """A row an architecture, the highest validation accuracy on top, test accuracy beside it."""
    order = ranked(architectures(members))
    validated = yardstick(members) == "val_accuracy"
    rows, left_out = _rows(order)
    height = canvas.HEAD + 0.2 + ROW * len(rows) + 0.65
    title = "Architectures " + ("by validation accuracy" if validated else "as they were given")
    note = _ranking_note(order, validated, left_out)
    figure = canvas.headed(9, height, title, note)
    names = [_row_name(row, left_out) for row in rows]
    axes = canvas.panel(figure, 0.3 + 0.073 * max(map(len, names)), 0.6, 2.25, canvas.HEAD + 0.2)
    _prepare_rows(axes, names)
    series = [("test_accuracy", VERMILLION, "D", 0.14)]
    if validated:
        series.insert(0, ("val_accuracy", BLUE, "o", -0.14))
    values: list[float] = []
    for column, (metric, color, marker, offset) in enumerate(series):
        values += _draw_rows(axes, rows, metric, color, marker, offset if validated else 0.0)
        _write_rows(axes, rows, metric, color, 1.02 + 1.08 * column / _width(axes))
    accuracy_axis(axes, values, "accuracy", "x")
    return figure


def _width(axes: Axes) -> float:
    figure = axes.figure
    return axes.get_position().width * figure.bbox.width / canvas.DPI


def _rows(order: list[Architecture]) -> tuple[list[Architecture | None], int]:
    """What is drawn, None in place of the middle where it is too much, and how many that are."""
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


def _ranking_note(order: list[Architecture], validated: bool, left_out: int) -> str:
    counts = [len(architecture.finished) for architecture in order]
    note = f"● validation, ◆ test; {seeds_note(counts, 'bars')}" if validated else "◆ test; "
    note += "" if validated else f"{seeds_note(counts, 'bars')}; without a validation split "
    note += "; the order is by validation alone" if validated else "nothing ranks them"
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
    metric: str,
    color: str,
    marker: str,
    offset: float,
) -> list[float]:
    """Draw one accuracy of each row with its error bar; return what the axis has to hold."""
    drawn = []
    for place, row in enumerate(rows):
        found = row.statistic(metric) if row else None
        if found and found.mean is not None:
            mean, away = 100 * found.mean, 100 * (found.deviation or 0.0)
            axes.errorbar(
                mean, place + offset, xerr=away or None, fmt=marker, color=color,
                ms=5, elinewidth=1.1, capsize=2,
            )  # fmt: skip
            drawn += [mean - away, mean + away]
    return drawn


def _write_rows(
    axes: Axes, rows: Sequence[Architecture | None], metric: str, color: str, x: float
) -> None:
    """Write one accuracy of each row in a column at the right."""
    transform = axes.get_yaxis_transform()
    head = metric.replace("val_", "validation_").removesuffix("_accuracy")
    style = {"size": 8.5, "va": "center", "transform": transform}
    axes.text(x, -0.9, f"{head}, %", color=color, weight="bold", **style)
    for place, row in enumerate(rows):
        if row is not None:
            text = _figure(row.statistic(metric)) if row.finished else "diverged"
            axes.text(x, place, text, color=INK if row.finished else VERMILLION, **style)


def _figure(found: Statistic) -> str:
    if found.mean is None:
        return ""
    spread = "" if found.deviation is None else f" ± {100 * found.deviation:.2f}"
    return f"{100 * found.mean:.2f}{spread}"


# Size


def draw_parameters(members: Sequence[Member]) -> Figure | None:
    """Accuracy against the number of parameters; None where all have the same number."""
    order = [one for one in ranked(architectures(members)) if one.finished]
    if len({one.parameters for one in order}) < 2:
        return None
    metric = yardstick(members)
    note = f"mean; {seeds_note([len(one.finished) for one in order], 'bars')}"
    note += "; names where there is room"
    figure = canvas.headed(9, 5.4, f"{said(metric).capitalize()} by number of parameters", note)
    groups = _groups(members)
    axes = canvas.panel(figure, 0.75, 0.95 if groups[0] else 0.6, 0.45)
    axes.set_xscale("log")
    axes.margins(x=0.1)
    points, values = [], []
    for one in order:
        found = one.statistic(metric)
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
    accuracy_axis(axes, values, said(metric))
    axes.set_xlabel("trained parameters (log scale)")
    _plain_ticks(axes, [one.parameters for one in order])
    _key(axes, groups)
    label_points(axes, [point[:2] for point in points], [shorten(p[2], 30) for p in points])
    return figure


def _groups(members: Sequence[Member]) -> tuple[str, list]:
    """A field of few values, which colour and marker tell; without one, an empty name."""
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
