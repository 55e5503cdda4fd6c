"""Drawing of a network: its layers as boxes, and the flow of data between them as arrows."""

from __future__ import annotations

import functools
import io
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import BLUE, GREY, INK
from mnist_jax.analysis.network.graph import Graph, Node, find_graph
from mnist_jax.analysis.network.layout import Box, Point, arrange
from mnist_jax.files import write_text
from mnist_jax.models import Model

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All lengths are in inches.
PAD, GAP, LINE = 0.14, 0.3, 0.21  # around texts; between two texts in a line; from line to line
LAYER, PILL = (2.3, 0.56), 0.3  # least size of a layer's box; height of other boxes
MARGIN, HEAD = 0.25, 0.6  # around the drawing; above it, for the title
LEAST = 5.2  # least width of the drawing: a report would enlarge a narrower one
LONGEST = 2.5  # longer texts are cut
CORNER = 0.1  # radius of rounded corners

TITLE, NAME, DETAIL = (
    {"size": 12.0, "weight": "bold"},
    {"size": 10.5, "weight": "bold"},
    {"size": 9.5, "weight": "normal"},
)
TINT = "#E1EEF6"  # a tint of BLUE, light enough for text on it


def draw_network(model: Model, folder: Path) -> list[Path]:
    """Draws a network as `network.png` and `network.svg` and returns their paths.

    The same network gives the same bytes.

    Args:
      model: a network of this project or of a user.
      folder: created if it does not exist; drawings in it are replaced.
    """
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    graph = find_graph(model)
    svg: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": graph.name}
    with canvas.styled(), matplotlib.rc_context(svg):
        figure = draw(graph)
        png = canvas.save(figure, folder / "network.png")
        return [png, _save_svg(figure, graph, folder / "network.svg")]


def draw(graph: Graph) -> Figure:
    """Returns the figure of a graph; must be called within `canvas.styled()`."""
    layout = arrange(graph.edges, _sizes(graph))
    title = _title(graph)
    width = max(LEAST, layout.width + 2 * MARGIN, _width(title, TITLE) + 2 * MARGIN)
    height = HEAD + layout.height + MARGIN
    left = (width - layout.width) / 2
    figure = canvas.new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-left, width - left), ylim=(height - HEAD, -HEAD))
    _write(axes, MARGIN - left, -HEAD / 2, title, TITLE)
    for path in layout.paths:
        _draw_arrow(axes, path)
    for node, box in zip(graph.nodes, layout.boxes, strict=True):
        _draw_node(axes, node, box)
    return figure


# Words


def _title(graph: Graph) -> str:
    others = f", {graph.variables:,} other variables" if graph.variables else ""
    return f"{graph.name}: {canvas.count(graph.parameters, 'parameter')}{others}"


def _lines(node: Node) -> list[tuple[str, str]]:
    """Returns the left and the right text of each line in a node's box."""
    shape = " x ".join(map(str, node.shape)) or "1"
    if not _is_tall(node):
        return [(node.name, shape)]
    return [(_cut(node.name, NAME), _cut(node.kind, DETAIL)), (shape, _weights(node))]


def _is_tall(node: Node) -> bool:
    return node.role == "layer" or node.parameters > 0


def _weights(node: Node) -> str:
    parameters = canvas.count(node.parameters, "parameter") if node.parameters else ""
    others = f"{node.variables:,} others" if node.variables else ""
    both = ", ".join(filter(None, (parameters, others)))
    return f"the same {both}" if both and node.call > 1 else both


def _cut(text: str, font: dict[str, Any]) -> str:
    """Shortens a text that is too long by cutting out its middle: ends tell names apart."""
    keep = len(text)
    while keep > 2 and _width(_middle_out(text, keep), font) > LONGEST:
        keep -= 1
    return _middle_out(text, keep)


def _middle_out(text: str, keep: int) -> str:
    return text if keep >= len(text) else f"{text[: keep - keep // 2]}…{text[-(keep // 2) :]}"


def _description(graph: Graph) -> str:
    """Describes the graph in words: each node, and the nodes that it feeds."""
    parts = []
    for i, node in enumerate(graph.nodes):
        lines = [text for line in _lines(node) for text in line if text]
        users = [graph.nodes[target].name for source, target in graph.edges if source == i]
        parts.append(f"{', '.join(lines)}{' → ' if users else ''}{' and '.join(users)}")
    return "; ".join(parts) + "."


# Sizes


def _sizes(graph: Graph) -> list[tuple[float, float]]:
    """Returns width and height of each node's box; the boxes of layers are all the same."""
    widths = [_least_width(node) for node in graph.nodes]
    tall = [width for node, width in zip(graph.nodes, widths, strict=True) if _is_tall(node)]
    layer = max([LAYER[0], *tall]), LAYER[1]
    return [
        layer if _is_tall(node) else (width, PILL)
        for node, width in zip(graph.nodes, widths, strict=True)
    ]


def _least_width(node: Node) -> float:
    fonts = [NAME, DETAIL]
    lines = zip(_lines(node), fonts, strict=False)
    widest = max(_width(left, font) + _width(right, DETAIL) for (left, right), font in lines)
    return widest + 2 * PAD + (GAP if _is_tall(node) else PAD)


def _width(text: str, font: dict[str, Any]) -> float:
    """Returns the width of a text in the drawing, in inches."""
    return _points(text, font["size"], font["weight"]) / 72


@functools.lru_cache(maxsize=1024)
def _points(text: str, size: float, weight: str) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=canvas.STYLE["font.family"], size=size, weight=weight)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


# Boxes and arrows


def _draw_node(axes: Axes, node: Node, box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    trained = node.parameters > 0
    round_ = CORNER if _is_tall(node) else box.height / 2
    corner = box.x - box.width / 2, box.y - box.height / 2
    axes.add_artist(
        FancyBboxPatch(
            corner,
            box.width,
            box.height,
            boxstyle=f"round,pad=0,rounding_size={round_}",
            facecolor=TINT if trained else "white",
            edgecolor=BLUE if trained else GREY,
            linewidth=1.3 if trained else 0.9,
        )
    )
    lines = _lines(node)
    for i, (left, right) in enumerate(lines):
        y = box.y + (i - (len(lines) - 1) / 2) * LINE
        font, color = (NAME, INK) if i == 0 else (DETAIL, INK)
        _write(axes, corner[0] + PAD, y, left, font, color=color)
        color = GREY if i == 0 and _is_tall(node) else INK
        _write(axes, corner[0] + box.width - PAD, y, right, DETAIL, color=color, ha="right")


def _write(axes: Axes, x: float, y: float, text: str, font: dict[str, Any], **style: Any) -> None:
    axes.text(x, y, text, va="center_baseline", parse_math=False, **font, **style)


def _draw_arrow(axes: Axes, points: tuple[Point, ...]) -> None:
    from matplotlib.patches import FancyArrowPatch

    axes.add_artist(
        FancyArrowPatch(
            path=_curve(points),
            arrowstyle="-|>,head_length=5,head_width=2.4",
            color=GREY,
            linewidth=1.2,
            shrinkA=0,
            shrinkB=0,
            capstyle="butt",
            joinstyle="round",
        )
    )


def _curve(points: tuple[Point, ...]) -> Any:
    """Returns the path through these points, with rounded corners and slopes as smooth bends.

    A bend begins and ends vertically.
    """
    from matplotlib.path import Path as Curve

    vertices, codes = [points[0]], [Curve.MOVETO]
    for i, (x, y) in enumerate(points[1:], start=1):
        x0, y0 = points[i - 1]
        after = points[i + 1] if i + 1 < len(points) else None
        if x0 != x and y0 != y:
            middle = (y0 + y) / 2
            vertices += [(x0, middle), (x, middle), (x, y)]
            codes += [Curve.CURVE4] * 3
        elif after is not None and _turns(points[i - 1], (x, y), after):
            vertices += [_toward((x, y), points[i - 1]), (x, y), _toward((x, y), after)]
            codes += [Curve.LINETO, Curve.CURVE3, Curve.CURVE3]
        else:
            vertices.append((x, y))
            codes.append(Curve.LINETO)
    return Curve(vertices, codes)


def _turns(before: Point, at: Point, after: Point) -> bool:
    """True if the path turns from vertical to horizontal, or the other way, at a point."""
    return (before[0] == at[0] and at[1] == after[1]) or (before[1] == at[1] and at[0] == after[0])


def _toward(at: Point, other: Point) -> Point:
    """Returns the point one corner radius from `at` towards `other`, at most half of the way."""
    distance = math.dist(at, other)
    part = min(0.5, CORNER / distance)
    return at[0] + part * (other[0] - at[0]), at[1] + part * (other[1] - at[1])


# SVG


def _save_svg(figure: Figure, graph: Graph, path: Path) -> Path:
    """Saves the figure as SVG; keeps text as text, adds a description for screen readers."""
    buffer = io.StringIO()
    title = _title(graph)
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    head = f"<title>{escape(title, quote=False)}</title>"
    said = f"{head}\n <desc>{escape(_description(graph), quote=False)}</desc>"
    text = buffer.getvalue().replace(head, said, 1)
    # On a machine without this font, the others are as wide.
    write_text(path, text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif"))
    return path
