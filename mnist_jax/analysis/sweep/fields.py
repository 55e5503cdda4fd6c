"""Plots of accuracy against the fields that vary: numeric fields, depth and epochs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import (
    SOFT_LINE,
    accuracy_axis,
    cross,
    file_name,
    number_axis,
    ordered_styles,
    seeds_note,
    series_style,
)
from mnist_jax.analysis.canvas import BLUE, GREY
from mnist_jax.analysis.sweep.comparison import (
    Member,
    Statistic,
    architectures,
    by_depth,
    field_names,
    is_number,
    said,
    shown,
    statistic,
    value_of,
    varied,
    yardstick,
)

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 7


# One numeric field


@dataclass(frozen=True)
class Point:
    """Accuracy of the trainings that share one value of a numeric field."""

    value: float
    found: Statistic  # of accuracies, as fractions
    members: int  # number of trainings
    diverged: int  # number of them that diverged


def draw_fields(members: Sequence[Member]) -> Iterator[tuple[str, Figure]]:
    """Draws accuracy against each field with three or more values that `numeric` accepts.

    Yields:
      The stem of the file and the figure.
    """
    deep = len({depth for depth, _ in by_depth(members)}) > 1
    for field, values in varied(members).items():
        if field == "num_epochs" and deep:
            continue  # `draw_depth` shows them
        numbers = numeric(values)
        if len(values) >= 3 and numbers is not None:
            yield f"field_{file_name(field)}", _draw_field(members, field, numbers)


def numeric(values: Sequence[Any]) -> dict[Any, float] | None:
    """Maps each value of a field to a number: itself, or the width of equally wide hidden layers.

    Returns None if a value has no such number: (128, 64) has no single width. Widths are comparable
    only between networks with the same number of layers.
    """
    if all(is_number(value) for value in values):
        return {value: float(value) for value in values}
    layers_of = {len(value) if isinstance(value, tuple) else 0 for value in values}
    if layers_of != {0} and len(layers_of) == 1:
        widths = {value: set(value) for value in values}
        if all(len(w) == 1 and is_number(*w) for w in widths.values()):
            return {value: float(*width) for value, width in widths.items()}
    return None


def _draw_field(members: Sequence[Member], field: str, numbers: dict[Any, float]) -> Figure:
    fields = varied(members)
    names = field_names(fields)
    name = names[field] if is_number(next(iter(numbers))) else "width of hidden layers"
    others = [other for other in fields if other != field]
    groups: dict[tuple, list[Member]] = {}
    for member in members:
        key = tuple(value_of(member.config, other) for other in others)
        groups.setdefault(key, []).append(member)
    column, metric = yardstick(members)
    accuracy = said(column, metric)
    lines = {
        ", ".join(f"{names[o]} {shown(v)}" for o, v in zip(others, key, strict=True)): _points(
            group, field, numbers, column
        )
        for key, group in groups.items()
    }
    everywhere = _points(members, field, numbers, column)
    look = _look(lines)
    keyed = look == "lines" and len(lines) > 1
    note = _field_note(lines, look, [names[other] for other in others])
    figure = canvas.headed(9, 4.9, f"{canvas.capitalised(accuracy)} by {name}", note)
    axes = canvas.panel(figure, 0.75, 1.15 if keyed else 0.6, 0.45)
    number_axis(axes, sorted(numbers.values()), name)
    if look == "lines":
        for position, (label, line) in enumerate(lines.items()):
            _draw_points(axes, line, series_style(position) | {"label": label})
    else:
        _draw_softly(axes, lines.values(), "o" if look == "dots" else "-")
    if look == "mean":
        _draw_points(axes, everywhere, series_style(0))
    if keyed:
        _legend(axes)
    held = [everywhere] if look == "mean" else lines.values()
    lost = [point for point in everywhere if point.diverged]
    ends = [end for line in held for end in _ends(line)]
    accuracy_axis(axes, ends, accuracy, foot=0.12 if lost else 0.0)
    for point in lost:
        text = f"{point.diverged} of {point.members}" if point.members > 1 else ""
        cross(axes, point.value, text)
    return figure


def _look(lines: dict[str, list[Point]]) -> str:
    """Chooses how to draw the lines of a plot: as `lines`, by their `mean`, or as `dots`.

    Up to MOST_LINES are drawn with their names. More are drawn faintly with their mean, or as dots
    if they have too few points for a grid.
    """
    if len(lines) <= MOST_LINES:
        return "lines"
    return "mean" if sum(map(len, lines.values())) >= 2 * len(lines) else "dots"


def _draw_softly(axes: Axes, lines: Iterable[Sequence[Point]], form: str) -> None:
    style = SOFT_LINE if form == "-" else {"color": BLUE, "alpha": 0.6}
    for line in lines:
        known = [(point.value, 100 * point.found.mean) for point in line if point.found.mean]
        axes.plot(*zip(*known, strict=True), form, **style) if known else None


def _points(
    members: Sequence[Member], field: str, numbers: dict[Any, float], column: str
) -> list[Point]:
    groups: dict[float, list[Member]] = {}
    for member in members:
        groups.setdefault(numbers[value_of(member.config, field)], []).append(member)
    return [
        Point(
            value,
            statistic(member.figure(column) for member in group),
            len(group),
            sum(member.diverged for member in group),
        )
        for value, group in sorted(groups.items())
    ]


def _field_note(lines: dict[str, list[Point]], look: str, others: list[str]) -> str:
    counts = [point.found.count for line in lines.values() for point in line]
    note = {
        "lines": f"points: mean; {seeds_note(counts, 'bars')}",
        "mean": "in colour: mean over all seeds and all values of "
        f"{' and '.join(others)}; bars: ± one standard deviation; in grey: what is averaged",
        "dots": "one dot per architecture, mean over its seeds; "
        f"other fields that vary: {' and '.join(others)}",
    }[look]
    diverged = any(point.diverged for line in lines.values() for point in line)
    return note + ("; ✗: trainings that diverged" if diverged else "")


def _ends(line: Sequence[Point]) -> list[float]:
    return [
        100 * (point.found.mean + sign * (point.found.deviation or 0))
        for point in line
        if point.found.mean is not None
        for sign in (-1, 1)
    ]


def _draw_points(axes: Axes, line: Sequence[Point], style: dict[str, Any]) -> None:
    known = [point for point in line if point.found.mean is not None]
    reach = [100 * (point.found.deviation or 0) for point in known]
    means = [100 * (point.found.mean or 0) for point in known]
    axes.errorbar(
        [point.value for point in known], means, yerr=reach if any(reach) else None,
        elinewidth=1.1, capsize=3, **style,
    )  # fmt: skip


def _legend(axes: Axes) -> None:
    height = axes.get_position().height * axes.figure.bbox.height / canvas.DPI
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.03, -0.5 / height), ncols=4, fontsize=9,
        borderaxespad=0, columnspacing=1.4,
    )  # fmt: skip


# Depth


def draw_depth(members: Sequence[Member]) -> Figure | None:
    """Draws test accuracy against depth and against epochs; None if depth does not vary."""
    cells = by_depth(members)
    depths = sorted({depth for depth, _ in cells})
    budgets = sorted({budget for _, budget in cells})
    found = {place: statistic(cell.values()) for place, cell in cells.items()}
    if len(depths) < 2 or not any(one.count for one in found.values()):
        return None
    seeds = seeds_note([one.count for one in found.values()], "bars")
    note = f"dense networks; points: mean; {seeds}"
    if len(architectures(members)) > len(found):
        note += "; architectures of the same depth and epochs are averaged for each seed"
    title = "Test accuracy by number of hidden layers"
    if len(budgets) == 1:
        figure = canvas.headed(9, 4.5, f"{title}, {canvas.count(budgets[0], 'epoch')}", note)
        left = canvas.panel(figure, 0.75, 0.6, 0.45)
    else:
        figure = canvas.headed(9, 4.9, f"{title} and epochs", note)
        left, right = canvas.panel(figure, 0.75, 1.2, 4.65), canvas.panel(figure, 5.1, 1.2, 0.2)
        flipped = {(budget, depth): one for (depth, budget), one in found.items()}
        _draw_panel(right, flipped, budgets, depths)
        number_axis(right, budgets, "epochs")
        right.set_ylabel("")
        _panel_legend(right, "hidden layers")
    _draw_panel(left, found, depths, budgets)
    left.set_xticks(depths)
    left.set_xlabel("number of hidden layers")
    if len(budgets) > 1:
        _panel_legend(left, "epochs")
    return figure


def _draw_panel(
    axes: Axes, found: dict[tuple[int, int], Statistic], xs: list[int], lines: list[int]
) -> None:
    """Draws one line over `xs` for each of `lines`; `found` has the values at (x, line)."""
    for line, style in zip(lines, ordered_styles(len(lines)), strict=True):
        known = {x: found[x, line] for x in xs if (x, line) in found and found[x, line].count}
        points = [Point(x, one, one.count, 0) for x, one in known.items()]
        if points:
            _draw_points(axes, points, style | {"label": f"{line}"})
    ends = [Point(0, one, one.count, 0) for one in found.values()]
    accuracy_axis(axes, _ends(ends), "test accuracy")
    axes.tick_params(color=GREY)


def _panel_legend(axes: Axes, title: str) -> None:
    axes.legend(
        title=title, loc="upper left", bbox_to_anchor=(-0.06, -0.18), ncols=5, fontsize=9,
        title_fontsize=9, alignment="left", borderaxespad=0, columnspacing=1.2,
    )  # fmt: skip
