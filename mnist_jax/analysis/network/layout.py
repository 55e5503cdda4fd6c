"""Layout of a graph: places its boxes and arrows on a page, in rows from top to bottom.

A box stands in the row below all boxes that lead to it. Boxes of the same row stand side by side,
in vertical tracks: where it can, a box stands straight below one that leads to it. An arrow that
passes rows runs straight down through them in a track that is free there. Lengths are in inches;
y grows downwards.
"""

import itertools
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ROW_GAP, TRACK_GAP, COLUMN_GAP = 0.34, 0.3, 0.7
BEND = 0.2  # additional room above and below boxes that stand side by side, where arrows bend
OVER = 0.6  # room above a column for the arrow from the previous column
WIDTH, HEIGHT = 8.6, 8.5  # a column higher than this is split, as often as fits this width

Edge = tuple[int, int]
Item = int | Edge  # a node, or an edge that passes rows
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A box, by its centre and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """The places of a graph's nodes and edges: a box per node, a path per edge, and the total size.

    A path is a chain of cubic Bézier curves: a point, then two control points and an end for each.
    """

    boxes: tuple[Box, ...]
    paths: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def arrange(edges: Sequence[Edge], sizes: Sequence[tuple[float, float]]) -> Layout:
    """Places the nodes of a graph in one column, or in several if it is deep.

    No two boxes overlap, and no path runs through a box.

    Args:
      edges: pairs of nodes (source, target), source < target; the last node is the end.
      sizes: width and height of each node's box, in inches.
    """
    plan = _Plan(edges, sizes)
    paths = tuple(plan.path(edge) for edge in edges)
    bottom = max([*(row.floor for row in plan.rows), *(y for path in paths for _, y in path)])
    return Layout(tuple(plan.boxes), paths, max(row.right for row in plan.rows), bottom)


@dataclass(frozen=True)
class _Row:
    """A row on the page, and the middle and the right side of its column."""

    top: float
    floor: float
    middle: float
    right: float


class _Plan:
    """A graph, and where its items are: nodes, and edges that pass rows."""

    def __init__(self, edges: Sequence[Edge], sizes: Sequence[tuple[float, float]]) -> None:
        self.edges, self.sizes = edges, sizes
        self.spans = _spans(edges, len(sizes))
        crowd = Counter(itertools.chain.from_iterable(self.spans.values()))
        self.narrow = sorted(row for row, items in crowd.items() if items == 1)
        self.across: dict[Item, float] = {}  # x, where 0 is the middle of the column
        for _, items in itertools.groupby(sorted(self.spans, key=self._order), key=self._block):
            self.across |= self._place(self._tracks(items))
        self.rows = self._rows()
        self.boxes = [self._box(node) for node in range(len(sizes))]

    # Tracks

    def _block(self, item: Item) -> int:
        """Returns the number of an item's block: a row of a single item, or all rows between two.

        Blocks are placed independently of each other.
        """
        row = self.spans[item].start
        return bisect_left(self.narrow, row) + bisect_right(self.narrow, row)

    def _order(self, item: Item) -> tuple[int, ...]:
        """Returns a key that sorts items by block: nodes by row, then edges from short to long."""
        span = self.spans[item]
        return self._block(item), isinstance(item, tuple), len(span), span.start

    def _tracks(self, items: Iterable[Item]) -> list[list[Item]]:
        """Divides the items of a block into tracks, from left to right.

        An item joins the track of a node that it is connected to if it is free there; an edge may
        also join other edges. Else it gets a new track to the right of that node.
        """
        tracks: dict[tuple[int, ...], list[Item]] = {}  # from left to right, by their keys
        home: dict[Item, tuple[int, ...]] = {}
        for item in items:
            edge = isinstance(item, tuple)
            ends = item if edge else [source for source, target in self.edges if target == item]
            beside = [home[node] for node in ends if node in home]
            lanes = [key for key, others in tracks.items() if not any(map(self._width, others))]
            choices = [*beside, *lanes] if edge else beside
            free = (k for k in choices if all(self._apart(item, other) for other in tracks[k]))
            key = next(free, (*(beside[0] if beside else ()), len(tracks)))
            tracks.setdefault(key, []).append(item)
            home[item] = key
        return [tracks[key] for key in sorted(tracks)]

    def _apart(self, one: Item, other: Item) -> bool:
        """True if two items share no row; of two edges, none must begin where the other ends."""
        a, b = self.spans[one], self.spans[other]
        margin = isinstance(one, tuple) and isinstance(other, tuple)
        return a.stop + margin <= b.start or b.stop + margin <= a.start

    def _place(self, tracks: list[list[Item]]) -> dict[Item, float]:
        """Returns the x of each item of a block; the tracks with boxes are centred at 0.

        A node with nothing beside it in these tracks is centred, too.
        """
        across: dict[Item, float] = {}
        right = end = 0.0  # the right sides of all tracks, and of those with boxes
        for track in tracks:
            width = max(map(self._width, track))
            across |= dict.fromkeys(track, right + width / 2)
            end = right + width if width else end
            right += width + TRACK_GAP

        def alone(node: int) -> bool:
            row = self.spans[node].start
            others = [x for item, x in across.items() if item != node and row in self.spans[item]]
            return all(x > end for x in others)

        centred = [item for item in across if isinstance(item, int) and alone(item)]
        return {item: x - end / 2 for item, x in across.items()} | dict.fromkeys(centred, 0.0)

    def _width(self, item: Item) -> float:
        return self.sizes[item][0] if isinstance(item, int) else 0.0

    # Columns

    def _rows(self) -> list[_Row]:
        """Places the rows on the page, in one or several columns."""
        nodes: list[list[int]] = [[] for _ in range(self.spans[len(self.sizes) - 1].stop)]
        for node in range(len(self.sizes)):
            nodes[self.spans[node].start].append(node)
        heights = [max(self.sizes[node][1] for node in row) for row in nodes]
        gaps = [ROW_GAP + BEND * (max(map(len, nodes[i : i + 2])) > 1) for i in range(len(nodes))]
        columns = self._columns([h + gap for h, gap in zip(heights, gaps, strict=True)])
        rows: list[_Row] = []
        left = 0.0
        for column in columns:
            low, high = self._sides(column)
            top = OVER if len(columns) > 1 else 0.0
            for row in column:
                rows.append(_Row(top, top + heights[row], left - low, left - low + high))
                top += heights[row] + gaps[row]
            left += high - low + COLUMN_GAP
        return rows

    def _columns(self, heights: list[float]) -> list[range]:
        """Returns the rows of each column; columns are about equally high.

        A column ends with a row of a single node, at which all paths to the next column start.
        """
        low, high = self._sides(range(len(heights)))
        ends = list(itertools.accumulate(heights))
        fitting = int((WIDTH + COLUMN_GAP) / (high - low + COLUMN_GAP))
        count = max(1, min(fitting, math.ceil(ends[-1] / HEIGHT)))
        breaks = [row + 1 for row in self.narrow if row + 1 < len(ends)]
        wanted = [column * ends[-1] / count for column in range(1, count)] if breaks else []
        starts = {min(breaks, key=lambda row: abs(ends[row - 1] - y)) for y in wanted}
        return [range(*pair) for pair in itertools.pairwise([0, *sorted(starts), len(ends)])]

    def _sides(self, rows: range) -> tuple[float, float]:
        """Returns the least and the greatest x of the items in these rows."""
        items = [item for item, span in self.spans.items() if span.start in rows]
        spread = [(self.across[item], self._width(item) / 2) for item in items]
        return min(x - half for x, half in spread), max(x + half for x, half in spread)

    def _box(self, node: int) -> Box:
        row = self.rows[self.spans[node].start]
        return Box(row.middle + self.across[node], (row.top + row.floor) / 2, *self.sizes[node])

    # Paths

    def path(self, edge: Edge) -> tuple[Point, ...]:
        """Returns the path of an edge: from bottom to top, or where there is room, side to side."""
        source, target = (self.boxes[node] for node in edge)
        above, below = (self.spans[node].start for node in edge)
        start, first, last, end = (self.rows[i] for i in (above, above + 1, below - 1, below))
        x = first.middle + self.across[edge] if edge in self.across else target.x
        if self._beside(edge, edge[0]):
            y = source.y + source.height / 4
            points = [(_flank(source, x), y), (x, y), (x, y), (x, first.top)]
        else:
            points = [(source.x, source.y + source.height / 2)]
            points += _down(points[-1], (source.x, start.floor))
            if start.middle != first.middle:
                points += self._over(points[-1], start, first)
            points += _down(points[-1], (x, first.top))
        if edge in self.across:
            points += _down(points[-1], (x, last.floor))
        if self._beside(edge, edge[1]):
            y = target.y - target.height / 4
            points += [(x, y), (x, y), (_flank(target, x), y)]
        else:
            points += _down(points[-1], (target.x, end.top))
            points += _down(points[-1], (target.x, target.y - target.height / 2))
        return tuple(points)

    def _beside(self, edge: Edge, node: int) -> bool:
        """True if an edge passes rows beside `node`, one of its ends, with nothing in between."""
        if edge not in self.across:
            return False
        row, passed = self.spans[node].start, self.spans[edge].start
        low, high = sorted((self.across[node], self.across[edge]))
        others = [item for item in self.across if item not in (edge, node)]
        return (
            self.rows[row].middle == self.rows[passed].middle  # in the same column
            and high - low > self.boxes[node].width / 2
            and not any(row in self.spans[i] and low <= self.across[i] <= high for i in others)
        )

    def _over(self, start: Point, end: _Row, next_: _Row) -> list[Point]:
        """Returns a path from the end of a column to the top of the next one."""
        x, y = start
        between, high = end.right + COLUMN_GAP / 2, next_.top - ROW_GAP
        points = [(x, y + ROW_GAP), (between, y + ROW_GAP), (between, y)]
        points += _down(points[-1], (between, high))
        peak = next_.top - OVER
        return [*points, (between, peak), (next_.middle, peak), (next_.middle, high)]


def _spans(edges: Sequence[Edge], count: int) -> dict[Item, range]:
    """Returns the row of each node, and the rows that each longer edge passes."""
    rows = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        rows[target] = max(rows[target], rows[source] + 1)
    for node in set(range(1, count)) - {target for _, target in edges}:
        uses = [rows[target] for source, target in edges if source == node]
        rows[node] = min(uses, default=1) - 1  # nothing leads to it: just above its use
    rows[-1] = max(rows)
    passing = {(s, t): range(rows[s] + 1, rows[t]) for s, t in edges if rows[t] > rows[s] + 1}
    return {node: range(row, row + 1) for node, row in enumerate(rows)} | passing


def _flank(box: Box, x: float) -> float:
    """Returns the x of the side of a box that faces `x`."""
    return box.x + math.copysign(box.width / 2, x - box.x)


def _down(start: Point, end: Point) -> list[Point]:
    """Returns a curve that begins and ends vertically, without its start; empty if it is short."""
    if math.dist(start, end) < 1e-6:
        return []
    quarter = (end[1] - start[1]) / 4
    return [(start[0], end[1] - quarter), (end[0], start[1] + quarter), end]
