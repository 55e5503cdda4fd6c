"""Exports networks as a page: one HTML file in which one draws, and in which they run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from mnist_jax import data
from mnist_jax.analysis import pad, page
from mnist_jax.data.spec import Ink
from mnist_jax.exporting.operations import operations
from mnist_jax.exporting.plain import classify
from mnist_jax.exporting.trained import Trained
from mnist_jax.models import Model, Tree
from mnist_jax.training.restored import Restored

INSIDE = 500_000  # parameters of the largest network that a report holds within itself


def network(
    name: str, model: Model, weights: Tree, class_names: Sequence[str], ink: Ink | None
) -> dict[str, Any]:
    """Returns a network as the page needs it: its name, its classes and its operations.

    Args:
      name: for the reader.
      model: the network.
      weights: its `params` and `variables`.
      class_names: the classes.
      ink: how handwriting lies in its images; None for other images.

    Raises:
      MissingOperationError: it needs an operation that the page does not have.
    """
    found = operations(classify(model, weights), (1, *model.image_shape))
    prepared = None if ink is None else dataclasses.asdict(ink)
    return {"name": name, "classes": list(class_names), "ink": prepared, **found.to_json()}


def write(path: Path, trained: Sequence[Trained]) -> None:
    """Writes a page with one or more networks of the same classes and images.

    Raises:
      UserError: the networks differ in these, one needs an operation that the page does not have,
        or the file cannot be written.
    """
    specs = [its.restored.spec for its in trained]
    pad.refuse_different(specs, [its.title for its in trained])
    networks = [_of(its.title, its.restored) for its in trained]
    page.render(
        path,
        "demo.html",
        title=f"Draw {pad.what(specs[0])}",
        pad=pad.context(networks),
        networks=[(its.title, _described(its.restored)) for its in trained],
    )


def _of(name: str, restored: Restored) -> dict[str, Any]:
    ink = data.ink(restored.config.data.name)
    return network(name, restored.model, restored.weights, restored.spec.class_names, ink)


def _described(restored: Restored) -> str:
    size = sum(leaf.size for leaf in jax.tree.leaves(restored.weights["params"]))
    return (
        f"{restored.config.model.name}, {size:,} parameters, trained on {restored.config.data.name}"
    )
