"""Layout of a graph: places its boxes and arrows on a page, in rows from top to bottom.

Follows Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system
structures" (IEEE Transactions on Systems, Man, and Cybernetics, 1981), with one simplification,
which keeps lines straight: boxes stand in vertical tracks, and an arrow that passes other boxes
does so in a track that is free there. Lengths are in inches; y grows downwards.
"""

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

ROW_GAP, TRACK_GAP, COLUMN_GAP = 0.34, 0.3, 0.7
BEND = 0.2  # additional room between rows where a path changes its track
OVER = 0.5  # room above a column for the arrow from the previous column
LANE = 0.1  # width of a track that holds only arrows
WIDTH, HEIGHT = 8.6, 8.5  # a column higher than this is split, as often as fits this width

Edge = tuple[int, int]
Item = int | Edge  # a node, or an edge that passes other nodes
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

    A path is a sequence of points. Two points above or beside one another are joined by a straight
    line, others by a curve that begins and ends vertically.
    """

    boxes: tuple[Box, ...]
    paths: tuple[tuple[Point, ...], ...]
    width: float
    height: float


@dataclass(frozen=True)
class _Stay:
    """An item in a track, and the first and last row that it takes."""

    item: Item
    first: int
    last: int


_Track = list[_Stay]


def arrange(edges: Sequence[Edge], sizes: Sequence[tuple[float, float]]) -> Layout:
    """Places the nodes of a graph in one column, or in several if it is deep.

    No two boxes overlap, and no path runs through a box.

    Args:
      edges: pairs of nodes (source, target), source < target; the last node is the end.
      sizes: width and height of each node's box, in inches.
    """
    plan = _Plan(tuple(edges), tuple(sizes))
    across: dict[Item, float] = {}
    for first, last in itertools.pairwise(plan.narrows):
        across |= _section(plan, first, last)
    columns = _columns(plan, across)
    page = {item: x + columns[plan.row(item)].middle for item, x in across.items()}
    boxes = tuple(_box(plan, columns, page, node) for node in range(len(sizes)))
    router = _Router(plan, boxes, page, columns)
    paths = tuple(router.path(edge) for edge in plan.edges)
    return Layout(
        boxes,
        paths,
        max(x + plan.width(item) / 2 for item, x in page.items()),
        max([*(column.bottom for column in columns), *(y for path in paths for _, y in path)]),
    )


@dataclass(frozen=True)
class _Plan:
    """A graph and the rows of its nodes."""

    edges: tuple[Edge, ...]
    sizes: tuple[tuple[float, float], ...]

    @functools.cached_property
    def rows(self) -> list[int]:
        """The row of each node: below all nodes that lead to it."""
        rows = [0] * len(self.sizes)
        sources, targets = self.sources, self.targets
        for node, above in enumerate(sources):
            rows[node] = max((rows[source] + 1 for source in above), default=0)
        for node, above in enumerate(sources):
            if node and not above and targets[node]:  # has no source: just above its use
                rows[node] = min(rows[target] for target in targets[node]) - 1
        rows[-1] = max(rows)
        return rows

    @functools.cached_property
    def sources(self) -> list[list[int]]:
        """The nodes that lead to each node."""
        return [[s for s, t in self.edges if t == node] for node in range(len(self.sizes))]

    @functools.cached_property
    def targets(self) -> list[list[int]]:
        """The nodes that each node leads to."""
        return [[t for s, t in self.edges if s == node] for node in range(len(self.sizes))]

    @functools.cached_property
    def members(self) -> list[list[int]]:
        """The nodes of each row."""
        found: list[list[int]] = [[] for _ in range(max(self.rows) + 1)]
        for node, row in enumerate(self.rows):
            found[row].append(node)
        return found

    @functools.cached_property
    def heights(self) -> list[float]:
        """The height of each row."""
        return [max(self.sizes[node][1] for node in nodes) for nodes in self.members]

    @functools.cached_property
    def narrows(self) -> list[int]:
        """The rows of a single node that no edge passes, with -1 before and the row count after."""
        passed = {row for s, t in self.edges for row in range(self.rows[s] + 1, self.rows[t])}
        rows = range(len(self.members))
        return [-1, *(r for r in rows if len(self.members[r]) == 1 and r not in passed), len(rows)]

    def row(self, item: Item) -> int:
        """Returns the row of a node, or the first row that an edge passes."""
        return self.rows[item] if isinstance(item, int) else self.rows[item[0]] + 1

    def width(self, item: Item) -> float:
        """Returns the width of a node's box, or that of an edge that passes other nodes."""
        return self.sizes[item][0] if isinstance(item, int) else LANE


# Tracks


def _section(plan: _Plan, first: int, last: int) -> dict[Item, float]:
    """Returns the x of all items from row `first`, whose only node is at 0, to above row `last`.

    Items are the nodes there and the edges that pass them.
    """
    tracks: list[_Track] = []
    for row in range(first + 1, last):
        for node in plan.members[row]:
            _put(plan, tracks, _Stay(node, row, row))
    rows = plan.rows
    spans = {(s, t): (rows[s], rows[t]) for s, t in plan.edges if rows[t] > rows[s] + 1}
    here = [edge for edge, (top, end) in spans.items() if first <= top and end <= last]
    for edge in sorted(here, key=lambda edge: (spans[edge][1] - spans[edge][0], edge)):
        _pass(tracks, _Stay(edge, spans[edge][0] + 1, spans[edge][1] - 1), edge)
    alone = dict.fromkeys(plan.members[first] if first >= 0 else [], 0.0)
    return alone | _centred(plan, tracks)


def _put(plan: _Plan, tracks: list[_Track], stay: _Stay) -> None:
    """Puts a node below one that leads to it, else in a track that is free from here on."""
    assert isinstance(stay.item, int)
    above = sorted(plan.sources[stay.item], key=lambda source: -plan.rows[source])
    beside = [track for track in (_track_of(tracks, s) for s in above) if track is not None]
    below = [track for track in beside if _free(track, stay)]
    over = [track for track in tracks if all(_over(plan, old, stay.first) for old in track)]
    if below or over:
        (below or over)[0].append(stay)
    else:
        _insert(tracks, stay, beside[0] if beside else None)


def _over(plan: _Plan, old: _Stay, row: int) -> bool:
    """True if a node is above the row and no edge from it passes the row."""
    assert isinstance(old.item, int)
    return old.last < row and all(plan.rows[target] <= row for target in plan.targets[old.item])


def _pass(tracks: list[_Track], stay: _Stay, edge: Edge) -> None:
    """Puts an edge in the track of one of its ends if that is free, else in a track for edges."""
    ends = [track for track in (_track_of(tracks, node) for node in edge) if track is not None]
    whole = replace(stay, last=stay.last + 1)  # the edge may reach its target from the side
    choices = [(track, stay) for track in ends]
    choices += [(track, whole) for track in tracks if _is_lane(track)]
    for track, wanted in choices:
        if _free(track, wanted):
            track.append(wanted)
            return
    _insert(tracks, whole, ends[0] if ends else None)


def _insert(tracks: list[_Track], new: _Stay, beside: _Track | None) -> None:
    """Inserts a new track to the right of the track `beside`, or at the end.

    It goes also to the right of the tracks there that hold edges or begin in the same row.
    """
    at = len(tracks)
    if beside is not None:
        at = next(i for i, track in enumerate(tracks) if track is beside) + 1
        while at < len(tracks) and (_is_lane(tracks[at]) or tracks[at][0].first == new.first):
            at += 1
    tracks.insert(at, [new])


def _is_lane(track: _Track) -> bool:
    return all(isinstance(stay.item, tuple) for stay in track)


def _track_of(tracks: list[_Track], node: int) -> _Track | None:
    return next((track for track in tracks if any(stay.item == node for stay in track)), None)


def _free(track: _Track, stay: _Stay) -> bool:
    return all(old.last < stay.first or stay.last < old.first for old in track)


def _centred(plan: _Plan, tracks: list[_Track]) -> dict[Item, float]:
    """Returns the x of all items in these tracks; the tracks with boxes are centred at 0."""
    across: dict[Item, float] = {}
    ends, right = [0.0], 0.0
    for track in tracks:
        width = max(plan.width(stay.item) for stay in track)
        across |= {stay.item: right + width / 2 for stay in track}
        right += width + TRACK_GAP
        if not _is_lane(track):
            ends.append(right - TRACK_GAP)
    across = {item: x - ends[-1] / 2 for item, x in across.items()}
    return across | dict.fromkeys(_middle(plan, tracks, across), 0.0)


def _middle(plan: _Plan, tracks: list[_Track], across: dict[Item, float]) -> list[int]:
    """Returns nodes that are alone in their rows and leave room for passing edges if centred."""
    found = []
    for node in (item for item in across if isinstance(item, int)):
        row = plan.rows[node]
        passing = [
            (abs(across[stay.item]) if _is_lane(track) else 0.0)
            for track in tracks
            for stay in track
            if stay.item != node and stay.first <= row <= stay.last
        ]
        room = plan.width(node) / 2 + TRACK_GAP / 2
        if len(plan.members[row]) == 1 and all(x > room for x in passing):
            found.append(node)
    return found


# Columns


@dataclass(frozen=True)
class _Column:
    """Consecutive rows that form a column of the page."""

    first: int
    tops: list[float]
    heights: list[float]
    left: float
    middle: float  # where x is 0 in its sections

    def top(self, row: int) -> float:
        return self.tops[row - self.first]

    def floor(self, row: int) -> float:
        return self.top(row) + self.heights[row - self.first]

    @property
    def bottom(self) -> float:
        return self.tops[-1] + self.heights[-1]


def _columns(plan: _Plan, across: dict[Item, float]) -> list[_Column]:
    """Returns the column of each row."""
    found: list[_Column] = []
    left = 0.0
    gaps = _gaps(plan, across)
    parts = _parts(plan, gaps, _reach(plan, across, across))
    for rows in parts:
        low, high = _reach(plan, across, [i for i in across if plan.row(i) in rows])
        heights = [plan.heights[row] for row in rows]
        tops = [OVER if len(parts) > 1 else 0.0]  # for an arrow from the previous column
        for row in rows[1:]:
            tops.append(tops[-1] + plan.heights[row - 1] + gaps[row])
        found += [_Column(rows[0], tops, heights, left, left - low)] * len(rows)
        left += high - low + COLUMN_GAP
    return found


def _gaps(plan: _Plan, across: dict[Item, float]) -> list[float]:
    """Returns the room above each row."""
    bent = {
        plan.rows[source] + 1
        for source, target in plan.edges
        if across[source] != across.get((source, target), across[target])
    }
    return [ROW_GAP + BEND * (row in bent) for row in range(len(plan.members))]


def _parts(plan: _Plan, gaps: list[float], reach: tuple[float, float]) -> list[range]:
    """Returns the rows of each column; columns are about equally high.

    A column ends with a row of a single node, so that all paths to the next column start there.
    """
    ends = list(itertools.accumulate(map(operator.add, plan.heights, gaps)))
    fitting = int((WIDTH + COLUMN_GAP) / (reach[1] - reach[0] + COLUMN_GAP))
    count = max(1, min(fitting, math.ceil(ends[-1] / HEIGHT)))
    breaks = [row + 1 for row in plan.narrows if 0 <= row < len(plan.members) - 1]
    wanted = [column * ends[-1] / count for column in range(1, count)] if breaks else []
    starts = {min(breaks, key=lambda row: abs(ends[row - 1] - y)) for y in wanted}
    return [range(*pair) for pair in itertools.pairwise([0, *sorted(starts), len(plan.members)])]


def _reach(plan: _Plan, across: dict[Item, float], items: Iterable[Item]) -> tuple[float, float]:
    """Returns the leftmost and the rightmost x of these items."""
    spans = [(across[item], plan.width(item) / 2) for item in items]
    return min(x - half for x, half in spans), max(x + half for x, half in spans)


def _box(plan: _Plan, columns: list[_Column], page: dict[Item, float], node: int) -> Box:
    row = plan.rows[node]
    y = columns[row].top(row) + plan.heights[row] / 2
    return Box(page[node], y, *plan.sizes[node])


# Paths


@dataclass(frozen=True)
class _Router:
    """Finds the paths of edges between boxes that have been placed."""

    plan: _Plan
    boxes: tuple[Box, ...]
    across: dict[Item, float]
    columns: list[_Column]

    def path(self, edge: Edge) -> tuple[Point, ...]:
        """Returns the path from the bottom of one box to the top, or to the side, of another."""
        source, target = (self.boxes[node] for node in edge)
        above, below = (self.plan.rows[node] for node in edge)
        points = [(source.x, source.y + source.height / 2), (source.x, self._floor(above))]
        if self.columns[above] is not self.columns[above + 1]:
            points += self._over(source.x, above)
        end = [(target.x, self._top(below)), (target.x, target.y - target.height / 2)]
        if edge in self.across:
            x = self.across[edge]
            points += [(x, self._top(above + 1)), (x, self._floor(below - 1))]
            if self._open(edge):
                flank = target.x + math.copysign(target.width / 2, x - target.x)
                end = [(x, target.y), (flank, target.y)]
        return _joined([*points, *end])

    def _over(self, x: float, row: int) -> list[Point]:
        """Returns the points of a path from the end of a column to above the next one."""
        column = self.columns[row + 1]
        between, middle = column.left - COLUMN_GAP / 2, column.middle
        low, high = self._floor(row) + ROW_GAP / 2, self._top(row + 1) - OVER
        return [(x, low), (between, low), (between, high), (middle, high), (middle, high + 0.15)]

    def _open(self, edge: Edge) -> bool:
        """True if the target can be reached from the side, with no other box in between."""
        x, target = self.across[edge], self.boxes[edge[1]]
        if abs(x - target.x) < target.width / 2 + TRACK_GAP / 2:
            return False
        others = [self.boxes[n] for n in self.plan.members[self.plan.rows[edge[1]]] if n != edge[1]]
        low, high = min(x, target.x), max(x, target.x)
        return all(o.x + o.width / 2 < low or high < o.x - o.width / 2 for o in others)

    def _top(self, row: int) -> float:
        return self.columns[row].top(row)

    def _floor(self, row: int) -> float:
        return self.columns[row].floor(row)


def _joined(points: list[Point]) -> tuple[Point, ...]:
    """Returns the points rounded and without repetitions: an arrow needs a direction."""
    rounded = ((round(x, 6), round(y, 6)) for x, y in points)
    return tuple(point for point, _ in itertools.groupby(rounded))
