"""Drawing of a network: its layers as boxes, and the flow of data between them as arrows."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import BLUE, GREY, INK
from mnist_jax.analysis.network.graph import Graph, Node, find_graph
from mnist_jax.analysis.network.layout import Box, Point, arrange
from mnist_jax.files import make_folder, write_text
from mnist_jax.models import Model

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Font(NamedTuple):
    """Size and weight of a text."""

    size: float  # points
    weight: str


TITLE, NAME, DETAIL = Font(12.0, "bold"), Font(10.5, "bold"), Font(9.5, "normal")
TINT = "#E1EEF6"  # a tint of BLUE, light enough for text on it

# All lengths are in inches.
PAD, GAP, LINE = 0.14, 0.3, 0.21  # around texts; between two texts in a line; from line to line
LAYER, PILL = (2.3, 0.56), 0.3  # least size of a layer's box; height of other boxes
MARGIN, HEAD = 0.25, 0.6  # around the drawing; above it, for the title
LEAST = 5.2  # least width of the drawing: a report would enlarge a narrower one
LONGEST = 2.5  # longer texts are cut


def draw_network(model: Model, folder: Path) -> list[Path]:
    """Draws a network as `network.png` and `network.svg` and returns their paths.

    The same network gives the same bytes.

    Args:
      model: a network of this project or of a user.
      folder: created if it does not exist; drawings in it are replaced.
    """
    import matplotlib

    make_folder(folder)
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
    width = max(LEAST, layout.width + 2 * MARGIN, canvas.text_width(title, *TITLE) + 2 * MARGIN)
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
    weights = canvas.count(node.parameters, "parameter") if node.parameters else ""
    others = f"{node.variables:,} others" if node.variables else ""
    both = ", ".join(filter(None, (weights, others)))
    said = f"the same {both}" if both and node.call > 1 else both
    name, kind = (canvas.fit(node.name, LONGEST, *NAME), canvas.fit(node.kind, LONGEST, *DETAIL))
    return [(name, kind), (shape, said)]


def _is_tall(node: Node) -> bool:
    return node.role == "layer" or node.parameters > 0


def _description(graph: Graph) -> str:
    """Describes the graph in words: each node, and the nodes that it feeds."""
    parts = []
    for i, node in enumerate(graph.nodes):
        lines = [text for line in _lines(node) for text in line if text]
        users = [graph.nodes[target].name for source, target in graph.edges if source == i]
        parts.append(f"{', '.join(lines)}{' → ' if users else ''}{canvas.listed(users)}")
    return "; ".join(parts) + "."


# Sizes


def _sizes(graph: Graph) -> list[tuple[float, float]]:
    """Returns width and height of each node's box; the boxes of layers are all the same."""
    widths = [
        max(
            canvas.text_width(left, *font) + canvas.text_width(right, *DETAIL)
            for (left, right), font in zip(_lines(node), (NAME, DETAIL), strict=False)
        )
        for node in graph.nodes
    ]
    tall = [w for node, w in zip(graph.nodes, widths, strict=True) if _is_tall(node)]
    layer = max([LAYER[0], *(width + 2 * PAD + GAP for width in tall)]), LAYER[1]
    return [
        layer if _is_tall(node) else (width + 3 * PAD, PILL)
        for node, width in zip(graph.nodes, widths, strict=True)
    ]


# Boxes and arrows


def _draw_node(axes: Axes, node: Node, box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, right = box.x - box.width / 2, box.x + box.width / 2
    radius = 0.1 if _is_tall(node) else box.height / 2
    fill, edge, line = (TINT, BLUE, 1.3) if node.parameters else ("white", GREY, 0.9)
    axes.add_artist(
        FancyBboxPatch(
            (left, box.y - box.height / 2),
            box.width,
            box.height,
            boxstyle=f"round,pad=0,rounding_size={radius}",
            facecolor=fill,
            edgecolor=edge,
            linewidth=line,
        )
    )
    lines = _lines(node)
    for i, (first, second) in enumerate(lines):
        y = box.y + (i - (len(lines) - 1) / 2) * LINE
        _write(axes, left + PAD, y, first, DETAIL if i else NAME)
        color = GREY if _is_tall(node) and i == 0 else INK
        _write(axes, right - PAD, y, second, DETAIL, color=color, ha="right")


def _write(axes: Axes, x: float, y: float, text: str, font: Font, **style: Any) -> None:
    axes.text(x, y, text, va="center_baseline", parse_math=False, **font._asdict(), **style)


def _draw_arrow(axes: Axes, points: tuple[Point, ...]) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    curve = Curve(points, [Curve.MOVETO, *[Curve.CURVE4] * (len(points) - 1)])
    head = "-|>,head_length=5,head_width=2.4"
    arrow = FancyArrowPatch(
        path=curve, arrowstyle=head, color=GREY, linewidth=1.2, capstyle="butt", joinstyle="round"
    )
    axes.add_artist(arrow)


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
