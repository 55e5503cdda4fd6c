"""Exports networks as a page: one HTML file in which one draws, and in which they run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_jax.analysis import pad, page
from mnist_jax.exporting.operations import operations
from mnist_jax.exporting.plain import classify
from mnist_jax.exporting.trained import Trained
from mnist_jax.models import Model, Tree

INSIDE = 500_000  # parameters of the largest network that a report holds within itself


def network(name: str, model: Model, weights: Tree, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns a network as the page needs it: its name, its classes and its operations.

    Raises:
      MissingOperationError: it needs an operation that the page does not have.
    """
    found = operations(classify(model, weights), (1, *model.image_shape))
    return {"name": name, "classes": list(class_names), **found.to_json()}


def write(path: Path, trained: Sequence[Trained]) -> None:
    """Writes a page with one or more networks of the same classes and images.

    Raises:
      UserError: the networks differ in these, one needs an operation that the page does not have,
        or the file cannot be written.
    """
    specs = [its.restored.spec for its in trained]
    pad.refuse_different(specs, [its.title for its in trained])
    networks = [
        network(its.title, its.restored.model, its.restored.weights, its.restored.spec.class_names)
        for its in trained
    ]
    page.render(
        path,
        "demo.html",
        title=f"Draw {pad.what(specs[0])}",
        subtitle="",
        pad=pad.context(networks, specs[0]),
        networks=[(its.title, its.restored.config.model.name) for its in trained],
    )
