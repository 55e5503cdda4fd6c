"""Lists the layers of a network with their shapes and sizes, for any NNX module."""

from mnist_jax.analysis.network.graph import find_graph
from mnist_jax.models import Model


def summary(model: Model) -> str:
    """Returns a text table of a network's layers, with totals.

    Layers are the outermost modules that the network calls, in the order of their first call, with
    the shapes of their outputs. Nothing is computed: shapes come from tracing a call.
    """
    graph = find_graph(model)
    layers = [node for node in graph.nodes if node.role == "layer" and node.call == 1]
    rows = [("layer", "kind", "output", "parameters")]
    rows += [
        (layer.name, layer.kind, " x ".join(map(str, layer.shape)), f"{layer.parameters:,}")
        for layer in layers
    ]
    outside = graph.parameters - sum(layer.parameters for layer in layers)
    if outside:
        rows.append(("(itself)", graph.name, "", f"{outside:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([*map(str.ljust, texts, widths), number.rjust(widths[-1])])
        for *texts, number in rows
    ]
    rule = "-" * len(lines[0])
    note = f", {graph.variables:,} other variables" if graph.variables else ""
    total = f"{graph.name}: {graph.parameters:,} parameters{note}"
    return "\n".join([lines[0], rule, *lines[1:], rule, total])
