import itertools
import math
import random

import pytest

from mnist_jax.analysis.network.layout import WIDTH, Box, Layout, arrange

BOX, PILL = (2.3, 0.56), (1.0, 0.3)


def chain(count: int) -> list[tuple[int, int]]:
    return list(itertools.pairwise(range(count)))


def blocks(count: int) -> tuple[list[tuple[int, int]], int]:
    """Residual blocks of two layers and a sum each; the number of their nodes."""
    edges = [(0, 1)]
    for start in range(1, 1 + 3 * count, 3):
        edges += [(start, start + 1), (start + 1, start + 2), (start + 2, start + 3)]
        edges += [(start, start + 3)]
    return [*edges, (3 * count + 1, 3 * count + 2)], 3 * count + 3


def arbitrary(seed: int) -> tuple[list[tuple[int, int]], list[tuple[float, float]]]:
    """Nodes fed by some of those before them, the next one mostly; some by none."""
    draw = random.Random(seed)
    count = draw.randint(2, 24)
    edges = set()
    for node in range(1, count):
        sources = draw.sample(range(node), min(node, draw.choice([0, 1, 1, 1, 2, 3])))
        edges |= {(source, node) for source in sources}
        if draw.random() < 0.7:
            edges.add((node - 1, node))
    return sorted(edges), [draw.choice([BOX, PILL]) for _ in range(count)]


def inside(layout: Layout) -> list[tuple[int, int]]:
    """Pairs of a path and a box that it enters; a curve stays between its four points."""
    found = []
    for i, path in enumerate(layout.paths):
        for start in range(0, len(path) - 1, 3):
            xs, ys = zip(*path[start : start + 4], strict=True)
            for j, box in enumerate(layout.boxes):
                wide = min(xs) < box.x + box.width / 2 - 1e-4
                wide &= max(xs) > box.x - box.width / 2 + 1e-4
                high = min(ys) < box.y + box.height / 2 - 1e-4
                high &= max(ys) > box.y - box.height / 2 + 1e-4
                if wide and high:
                    found.append((i, j))
    return found


def ends(box: Box, side: int) -> list:
    """Where a path may begin (1) or end (-1): the bottom or the top, or lower or higher flanks."""
    flanks = [(box.x + s * box.width / 2, box.y + side * box.height / 4) for s in (-1, 1)]
    points = [(box.x, box.y + side * box.height / 2), *flanks]
    return [pytest.approx(point, abs=1e-5) for point in points]


def overlapping(layout: Layout) -> list[tuple[int, int]]:
    return [
        (i, j)
        for (i, a), (j, b) in itertools.combinations(enumerate(layout.boxes), 2)
        if abs(a.x - b.x) < (a.width + b.width) / 2 and abs(a.y - b.y) < (a.height + b.height) / 2
    ]


@pytest.mark.parametrize("seed", [*range(40), 442])
def test_nothing_runs_into_a_box_or_off_the_page(seed):
    edges, sizes = arbitrary(seed)
    layout = arrange(edges, sizes)
    assert overlapping(layout) == []
    assert inside(layout) == []
    points = [point for path in layout.paths for point in path]
    points += [(b.x - b.width / 2, b.y - b.height / 2) for b in layout.boxes]
    points += [(b.x + b.width / 2, b.y + b.height / 2) for b in layout.boxes]
    assert all(-1e-5 <= x <= layout.width + 1e-5 for x, _ in points)
    assert all(-1e-5 <= y <= layout.height + 1e-5 for _, y in points)


@pytest.mark.parametrize("seed", range(40))
def test_a_path_leads_from_its_box_to_the_other(seed):
    edges, sizes = arbitrary(seed)
    layout = arrange(edges, sizes)
    for (source, target), path in zip(edges, layout.paths, strict=True):
        a, b = layout.boxes[source], layout.boxes[target]
        assert path[0] in ends(a, 1)
        assert path[-1] in ends(b, -1)
        assert len(path) % 3 == 1
        assert math.dist(path[-2], path[-1]) > 1e-3  # else an arrow's head has no direction


def test_a_chain_is_one_straight_line_downwards():
    layout = arrange(chain(5), [BOX] * 5)
    assert len({box.x for box in layout.boxes}) == 1
    assert [box.y for box in layout.boxes] == sorted(box.y for box in layout.boxes)
    assert all(len({x for x, _ in path}) == 1 for path in layout.paths)


def test_a_way_past_a_layer_leaves_the_others_in_line_and_runs_from_side_to_side():
    edges = [(0, 1), (1, 2), (1, 3), (2, 3), (3, 4)]
    layout = arrange(edges, [PILL, BOX, BOX, PILL, PILL])
    assert len({round(box.x, 6) for box in layout.boxes}) == 1
    past = layout.paths[edges.index((1, 3))]
    assert max(x for x, _ in past) > layout.boxes[2].x + BOX[0] / 2
    assert past[0][0] == pytest.approx(layout.boxes[1].x + BOX[0] / 2)
    assert past[-1][0] == pytest.approx(layout.boxes[3].x + PILL[0] / 2)


def test_a_way_ends_where_no_other_begins_in_its_track():
    edges = [*chain(6), (1, 3), (2, 4)]
    layout = arrange(edges, [BOX, BOX, BOX, PILL, PILL, BOX])
    first, second = (max(x for x, _ in path) for path in layout.paths[-2:])
    assert abs(first - second) > 0.2


def test_the_end_is_below_all_else():
    layout = arrange([(0, 1), (1, 2), (2, 3), (0, 4)], [BOX] * 5)
    assert layout.boxes[-1].y == max(box.y for box in layout.boxes)


def test_branches_stand_side_by_side_below_the_middle_of_their_source():
    layout = arrange([(0, 1), (0, 2), (1, 3), (2, 3)], [PILL, BOX, BOX, PILL])
    start, left, right, end = layout.boxes
    assert left.y == right.y
    assert left.x < start.x == pytest.approx((left.x + right.x) / 2) == pytest.approx(end.x)


def test_branches_keep_their_order_and_their_paths_have_room_to_bend():
    edges = [(0, 1), (0, 5), (1, 2), (1, 3), (1, 4), (2, 5), (3, 5), (4, 5)]
    boxes = arrange(edges, [BOX] * 6).boxes
    assert boxes[2].x < boxes[3].x < boxes[4].x
    assert boxes[1].x == pytest.approx(boxes[3].x) == pytest.approx(boxes[5].x)
    straight = arrange(chain(2), [BOX] * 2).boxes
    assert boxes[2].y - boxes[1].y > straight[1].y - straight[0].y + 0.1


def test_a_deep_network_is_laid_in_columns_that_fit_the_page():
    low, deep = arrange(chain(8), [BOX] * 8), arrange(chain(30), [BOX] * 30)
    columns = sorted({round(box.x, 6) for box in deep.boxes})
    assert len({box.x for box in low.boxes}) == 1
    assert len(columns) == 3
    assert deep.width <= WIDTH
    heights = [max(b.y for b in deep.boxes if round(b.x, 6) == x) for x in columns]
    assert max(heights) < 1.4 * min(heights)
    assert inside(deep) == []


def test_columns_are_broken_where_nothing_but_one_node_leads_on():
    edges, count = blocks(12)
    layout = arrange(edges, [BOX] * count)
    assert len({round(box.x, 6) for box in layout.boxes}) == 2
    assert inside(layout) == []
    over = [e for e, path in zip(edges, layout.paths, strict=True) if path[-1][1] < path[0][1]]
    assert len({source for source, _ in over}) == 1
