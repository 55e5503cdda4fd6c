import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from mnist_jax import models
from mnist_jax.analysis import canvas
from mnist_jax.analysis.network import drawing
from mnist_jax.analysis.network.graph import Graph, Node
from mnist_jax.config import Choice
from tests.analysis.run.test_report import write
from tests.datasets import MNIST

SVG = "{http://www.w3.org/2000/svg}"
CNN = Choice("cnn", {"features": (4, 8), "normalisation": "batch", "dropout": 0.1})
LONG = "a_layer_with_a_name_that_is_much_longer_than_anyone_would_write_it"
NAMES = """
from mnist_jax.models.layers import Dense, Flatten, Sequence

class Net(Sequence):
    def __init__(self, *, rngs):
        super().__init__({"$x_1$ & <b>": Flatten(), "output": Dense(784, 10, rngs=rngs)})
"""


def graph_of(*layers: Node) -> Graph:
    """A chain of these."""
    ends = Node("input", "input", "", (28, 28, 1)), Node("output", "logits", "", (10,))
    nodes = ends[0], *layers, ends[1]
    edges = tuple((i, i + 1) for i in range(len(nodes) - 1))
    return Graph("Net", nodes, edges, sum(node.parameters for node in nodes), 0)


def drawn(graph: Graph):
    """The figure, its boxes and the texts in them, all in pixels."""
    with canvas.styled():
        figure = drawing.draw(graph)
        figure.canvas.draw()  # pyright: ignore
        (axes,) = figure.axes
        boxes = [p for p in axes.get_children() if type(p).__name__ == "FancyBboxPatch"]
        return figure, boxes, axes.texts[1:]


def test_png_and_svg_say_what_the_network_has(tmp_path: Path):
    png, svg = drawing.draw_network(models.build(CNN, MNIST), tmp_path / "new" / "folder")
    assert (png.name, svg.name) == ("network.png", "network.svg")
    with Image.open(png) as image:
        assert image.format == "PNG"
        assert image.width >= 600
    root = ElementTree.parse(svg).getroot()
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"input", "28 x 28 x 1", "conv_1", "Conv", "14 x 14 x 4", "logits", "10"} <= set(texts)
    assert "48 parameters, 8 others" in texts
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert re.fullmatch(r"CNN: [\d,]+ parameters, [\d,]+ other variables", title.text or "")
    assert title.text in texts
    assert description is not None
    assert "input, 28 x 28 x 1 → conv_1; conv_1, Conv, 14 x 14 x 4" in (description.text or "")


def test_names_are_written_as_they_are(tmp_path, user_module):
    user_module("drawn_names", NAMES)
    _, svg = drawing.draw_network(models.build(Choice("drawn_names:Net"), MNIST), tmp_path)
    root = ElementTree.parse(svg).getroot()
    assert "$x_1$ & <b>" in [text.text for text in root.iter(f"{SVG}text")]
    assert "; $x_1$ & <b>, Flatten, 784" in (root.findtext(f"{SVG}desc") or "")


def test_the_same_network_gives_the_same_bytes(tmp_path: Path):
    once, again = (
        [
            path.read_bytes()
            for path in drawing.draw_network(models.build(CNN, MNIST), tmp_path / name)
        ]
        for name in "ab"
    )
    assert once == again
    assert b"<dc:date>" not in once[1]


def test_every_text_stays_in_its_box_and_beside_its_neighbour():
    figure, boxes, texts = drawn(
        graph_of(
            Node("layer", LONG, f"{LONG}_kind", (28, 28, 1024), 123_456_789, 1_000_000),
            Node("layer", LONG, "Dense", (10,), 123_456_789, 1_000_000, call=2),
            Node("layer", "$x_1$ & <b>", "Dropout", (10,)),
            Node("operation", "concatenate", "", (28, 28, 1024)),
        )
    )
    spans = [text.get_window_extent() for text in texts if text.get_text()]
    frames = [box.get_window_extent() for box in boxes]
    for span in spans:
        assert any(f.contains(span.x0, span.y0) and f.contains(span.x1, span.y1) for f in frames)
    assert not any(a.overlaps(b) for i, a in enumerate(spans) for b in spans[:i])
    width, height = figure.canvas.get_width_height()
    assert all(0 < f.x0 < f.x1 < width and 0 < f.y0 < f.y1 < height for f in frames)


def test_a_name_that_is_too_long_keeps_both_its_ends():
    _, _, texts = drawn(graph_of(Node("layer", LONG, "Dense", (10,), 1)))
    (name,) = (text.get_text() for text in texts if "…" in text.get_text())
    start, end = name.split("…")
    assert LONG.startswith(start)
    assert LONG.endswith(end)
    assert min(len(start), len(end)) > 8


def test_layers_without_parameters_are_lighter_and_shared_ones_say_so():
    _, boxes, texts = drawn(
        graph_of(
            Node("layer", "a", "Dense", (10,), 1),
            Node("layer", "a", "Dense", (10,), 1, call=2),
            Node("layer", "b", "Dropout", (10,)),
        )
    )
    tints = [sum(box.get_facecolor()) for box in boxes]
    assert tints[1] == tints[2] < tints[3]
    said = [text.get_text() for text in texts]
    assert "1 parameter" in said
    assert "the same 1 parameter" in said


@pytest.mark.parametrize("hidden", [(), (5,) * 30])
def test_every_layer_has_its_box_and_every_edge_its_arrow(hidden):
    layers = [Node("layer", f"dense_{i}", "Dense", (5,), 30) for i in range(len(hidden))]
    graph = graph_of(*layers)
    figure, boxes, _ = drawn(graph)
    arrows = [p for p in figure.axes[0].get_children() if type(p).__name__ == "FancyArrowPatch"]
    assert (len(boxes), len(arrows)) == (len(graph.nodes), len(graph.edges))
    width, height = figure.canvas.get_width_height()
    assert 600 <= width <= 1200
    assert height < 1600


@pytest.mark.parametrize(("width", "beside"), [(700, True), (1080, False)])
def test_report_shows_it_beside_the_summary_or_where_it_is_wide_below(tmp_path, width, beside):
    plot = tmp_path / "network.png"
    Image.new("L", (width, 8)).save(plot)
    model = write(tmp_path, [], plots=[plot]).split("<h2>Model</h2>")[1]
    assert model.startswith('<div class="pair"><div><pre') == beside
    assert ('<figure class="wide"' in model) != beside
    assert 'alt="The network as boxes and arrows' in model
    assert "tinted" in model.split("</figure>")[1]
