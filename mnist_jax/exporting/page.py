"""Exports networks as a page: one HTML file in which one draws, and in which they run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_jax import data
from mnist_jax.analysis import pad, page
from mnist_jax.analysis.pad import Drawing
from mnist_jax.data.spec import Ink
from mnist_jax.errors import UserError
from mnist_jax.exporting import interpreter
from mnist_jax.exporting.formats import Prepared
from mnist_jax.exporting.operations import operations
from mnist_jax.exporting.plain import classify
from mnist_jax.exporting.trained import Trained
from mnist_jax.failures import describe
from mnist_jax.models import Model, Tree
from mnist_jax.training.restored import Restored
from mnist_jax.training.state import count_parameters

PAGE = "drawing.html"  # beside a report
INSIDE = 500_000  # parameters of the largest network that a report holds within itself
MOST = 20_000_000  # parameters of the largest network in a page, which is then of 110 MB
CHECKED = 100  # test images: the interpreter takes one at a time


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
      UserError: it is too large, needs an operation that the page does not have, or cannot be
        traced.
    """
    count = count_parameters(weights["params"])
    if count > MOST:
        raise UserError(
            f"{name}, with {count:,} parameters, is too large for a page; python -m "
            "mnist_jax.export --format=onnx takes it elsewhere"
        )
    try:
        found = operations(classify(model, weights), (1, *model.image_shape))
    except UserError:
        raise
    except Exception as error:  # whatever the user's own code makes of a single image
        raise UserError(f"{name} cannot run in a page: {describe(error)}") from error
    prepared = None if ink is None else dataclasses.asdict(ink)
    return {"name": name, "classes": list(class_names), "ink": prepared, **found.to_json()}


def drawing(
    folder: Path,
    title: str,
    model: Model,
    weights: Tree,
    class_names: Sequence[str],
    ink: Ink | None,
) -> Drawing:
    """Returns the pad of a report's network; a large network gets a page of its own in `folder`.

    Args:
      folder: of the report.
      title: of the network.
      model: the network.
      weights: its `params` and `variables`.
      class_names: the classes.
      ink: as for `network`.

    Raises:
      UserError: the page cannot be written.
    """
    try:
        its = network(title, model, weights, class_names, ink)
    except UserError as error:
        return Drawing(note=f"There is no pad to draw on: {error}.")
    if count_parameters(weights["params"]) <= INSIDE:
        return Drawing(pad=pad.context([its]))
    _render(folder / PAGE, [its], [(title, f"{count_parameters(weights['params']):,} parameters")])
    return Drawing(link=PAGE)


def drawing_of(folder: Path, title: str, restored: Restored) -> Drawing:
    """Returns the pad of a restored network, as `drawing` does."""
    ink = data.ink(restored.config.data.name)
    names = restored.spec.class_names
    return drawing(folder, title, restored.model, restored.weights, names, ink)


def prepared(trained: Trained) -> Prepared:
    """Returns a network as a page of its own.

    What is compared with the network is its list of operations, by an interpreter in NumPy: there
    is no browser here to run the page's own.

    Raises:
      UserError: it is too large, needs an operation that the page does not have, or cannot be
        traced.
    """
    its = _of(trained.title, trained.restored)
    run = interpreter.load(its)
    described = [(trained.title, _described(trained))]
    return Prepared(run, lambda path: _render(path, [its], described), trained.widened, CHECKED)


def write(path: Path, trained: Sequence[Trained]) -> None:
    """Writes a page with one or more networks of the same classes and images.

    Raises:
      UserError: the networks differ in these, one is too large or needs an operation that the page
        does not have, or the file cannot be written.
    """
    specs = [its.restored.spec for its in trained]
    pad.refuse_different(specs, [its.title for its in trained])
    networks = [_of(its.title, its.restored) for its in trained]
    _render(path, networks, [(its.title, _described(its)) for its in trained])


def _render(path: Path, networks: list[dict[str, Any]], described: list[tuple[str, str]]) -> None:
    shown = pad.context(networks)
    page.render(path, "demo.html", title=f"Draw {shown['what']}", pad=shown, networks=described)


def _of(name: str, restored: Restored) -> dict[str, Any]:
    ink = data.ink(restored.config.data.name)
    return network(name, restored.model, restored.weights, restored.spec.class_names, ink)


def _described(trained: Trained) -> str:
    config = trained.restored.config
    parameters = count_parameters(trained.restored.weights["params"])
    text = f"{config.model.name}, {parameters:,} parameters, trained on {config.data.name}"
    return ", ".join(filter(None, [text, trained.widened]))
