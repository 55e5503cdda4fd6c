"""Lists the layers of a network with their shapes and sizes, for any NNX module."""

from dataclasses import dataclass

from mnist_jax.analysis.network.graph import Graph, find_graph
from mnist_jax.models import Model


@dataclass(frozen=True)
class Layer:
    """One layer of a network, with the shape of its output and its number of parameters."""

    name: str
    kind: str  # class of the layer
    shape: tuple[int, ...]  # of the output, without the batch axis
    parameters: int


def layers(model: Model) -> list[Layer]:
    """Returns the outermost modules that the network calls, in the order of their first call.

    Nothing is computed: shapes come from tracing a call.
    """
    return _layers(find_graph(model))


def summary(model: Model) -> str:
    """Returns a text table of a network's layers, with totals."""
    graph = find_graph(model)
    rows = [("layer", "kind", "output", "parameters")]
    found = _layers(graph)
    rows += [
        (layer.name, layer.kind, " x ".join(map(str, layer.shape)), f"{layer.parameters:,}")
        for layer in found
    ]
    outside = graph.parameters - sum(layer.parameters for layer in found)
    if outside:
        rows.append(("(itself)", graph.name, "", f"{outside:,}"))
    note = f", {graph.variables:,} other variables" if graph.variables else ""
    return f"{_table(rows)}\n{graph.name}: {graph.parameters:,} parameters{note}"


def _layers(graph: Graph) -> list[Layer]:
    return [
        Layer(node.name, node.kind, node.shape, node.parameters)
        for node in graph.nodes
        if node.role == "layer" and node.call == 1
    ]


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=True))][:-1])
        + "  "
        + row[-1].rjust(widths[-1])
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:], rule])
