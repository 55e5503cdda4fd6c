"""Writes what is known of an evaluated run: `evaluation.json`, `plots/` and `report.html`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_jax import metrics
from mnist_jax.analysis import canvas, page
from mnist_jax.analysis.pad import Drawing
from mnist_jax.analysis.run.evaluation import Predictions, evaluate
from mnist_jax.analysis.run.plots import Plot, View, plots_of, write_plots
from mnist_jax.files import make_folder, write_json
from mnist_jax.nested import leaves

if TYPE_CHECKING:  # importing models imports JAX
    from mnist_jax.models import Model, Tree

HALF = 800  # pixels: the widest plot that is legible at half the width of the page


def publish(
    folder: Path,
    predictions: Predictions,
    *,
    config: dict[str, Any],
    model: Model,
    weights: Tree,
    history: list[dict[str, Any]],
    result: dict[str, Any] | None,
    checkpoint: int,
    title: str,
    drawing: Drawing | None = None,
) -> dict[str, Any]:
    """Writes `evaluation.json`, `plots/` and `report.html`; returns the evaluation.

    What cannot be drawn is left out with a warning.

    Args:
      folder: created if it does not exist; files of the same names are replaced.
      predictions: predictions of the network, with the values of every metric of `config`.
      config: resolved configuration, as `Config.to_dict()` returns it.
      model: the network.
      weights: its `params` and `variables`.
      history: one row per epoch, as in `metrics.jsonl`.
      result: as in `result.json`, or None where there is none.
      checkpoint: step of the checkpoint that holds the weights.
      title: heading of the report.
      drawing: the pad on which one draws for the network.

    Raises:
      ValueError: `predictions` are not consistent, as in `evaluate`.
      UserError: a file cannot be written.
    """
    from mnist_jax.analysis.network.drawing import draw_network  # these import JAX
    from mnist_jax.analysis.network.summary import summary
    from mnist_jax.analysis.run.probe import probe

    make_folder(folder)
    evaluation = evaluate(predictions) | {"checkpoint": checkpoint}
    write_json(folder / "evaluation.json", evaluation)
    insight = None
    with canvas.drawing("what the network looks at"):
        insight = probe(model, weights, predictions)
    view = View(history, predictions, evaluation, metrics.of(config), insight)
    plots = write_plots(folder / "plots", view)
    with canvas.drawing("the network"):
        plots += draw_network(model, folder / "plots")[:1]
    write_report(
        folder / "report.html",
        view,
        title=title,
        config=config,
        summary=summary(model),
        result=result,
        plots=plots,
        drawing=drawing,
    )
    return evaluation


def write_report(
    path: Path,
    view: View,
    *,
    title: str,
    config: dict[str, Any],
    summary: str,
    result: dict[str, Any] | None,
    plots: Sequence[Path],
    drawing: Drawing | None = None,
) -> None:
    """Writes the report of a run: one HTML file that contains its plots and needs no network.

    Args:
      path: the HTML file.
      view: the evaluated run; its evaluation has `checkpoint`.
      title: heading of the page.
      config: resolved configuration, nested.
      summary: description of the model as preformatted text.
      result: as in `result.json`, or None if there is none.
      plots: PNG files, each with the name of its plot; `network.png` shows the model. The page
        leaves out plots without a file.
      drawing: as for `publish`.

    Raises:
      UserError: the page cannot be written.
    """
    files = {file.stem: file for file in plots}
    network = "The network as boxes and arrows; the layers are those in the summary."
    page.render(
        path,
        "run.html",
        title=title,
        evaluation=view.evaluation,
        figures=_headline(view, config, result),
        result=result,
        pictures=[
            _shown(plot, view, files)
            for plot in plots_of(view)
            if plot.name in files or plot.missing(view)
        ],
        per_class=_per_class(view.evaluation),
        summary=summary,
        network=_picture(files["network"], network) if "network" in files else None,
        epochs=_epochs(view),
        config=leaves(config).items(),
        drawing=drawing,
    )


def _shown(plot: Plot, view: View, files: Mapping[str, Path]) -> dict[str, Any]:
    """Returns a plot with its picture, or with the reason why there is none."""
    if reason := plot.missing(view):
        return {"plot": plot, "missing": reason, "wide": False}
    return {"plot": plot, "missing": "", **_picture(files[plot.name], plot.alt(view))}


def _picture(path: Path, alt: str) -> dict[str, Any]:
    return page.picture(path, alt, wide=page.width(path) > HALF)


def _headline(
    view: View, config: dict[str, Any], result: dict[str, Any] | None
) -> list[tuple[str, str, str]]:
    """Returns (name, value, remark) of each key figure at the top of the page."""
    its = view.evaluation
    count, accuracy, split = its["count"], its["accuracy"], its["split"]
    error = math.sqrt(accuracy * (1 - accuracy) / count)
    bins = len(its["calibration"]["bins"])
    figures = [
        (f"accuracy, {split}", page.percent(accuracy), f"± {100 * error:.2f} (standard error)"),
        *(
            (f"{metric.label}, {split}", page.figure(metric, its[metric.name]), "mean per image")
            for metric in view.metrics
            if metric.name != "accuracy"
        ),
        ("mistakes", f"{view.mistakes:,}", f"among {count:,} images"),
        ("expected calibration error", page.percent(view.calibration_error), f"over {bins} bins"),
    ]
    if result:
        best = config.get("best", "val_accuracy")
        metric = metrics.of_column(view.metrics, best)
        value = page.figure(metric, result.get(best))
        epochs = f"epochs: {page.number(result.get('epochs'))}"
        figures += [
            (f"{metric.label}, validation", value, "after the last epoch"),
            ("parameters", page.number(result.get("parameters")), "trained numbers"),
            ("training time", page.seconds(result.get("train_seconds")), epochs),
            ("throughput", page.number(result.get("images_per_second")), "images per second"),
        ]
    return figures


def _per_class(evaluation: dict[str, Any]) -> list[tuple[str, ...]]:
    """Returns the rows of the table of classes."""
    return [
        (
            row["name"],
            f"{row['count']:,}",
            *(page.percent(row[name]) for name in ("precision", "recall", "f1")),
            _rival(evaluation, row["label"]),
        )
        for row in evaluation["per_class"]
    ]


def _rival(evaluation: dict[str, Any], label: int) -> str:
    """Returns the class that images of this class are most often mistaken for, and how often."""
    counts = [0 if i == label else n for i, n in enumerate(evaluation["confusion"][label])]
    most = max(counts)
    rival = evaluation["per_class"][counts.index(most)]
    return f"{rival['name']} ({most})" if most else page.MISSING


def _epochs(view: View) -> list[list[str]]:
    """Returns the table of epochs: its header, and one row per epoch."""
    columns = [(split, metric) for metric in view.metrics for split in ("train", "val")]
    names = [f"{split} {metric.label}" for split, metric in columns]
    rows = [
        [
            page.number(row.get("epoch")),
            page.number(row.get("step")),
            *(page.figure(metric, row.get(f"{split}_{metric.name}")) for split, metric in columns),
            page.number(row.get("learning_rate"), ".3g"),
            page.number(row.get("seconds"), ".3f"),
            page.number(row.get("images_per_second")),
        ]
        for row in view.history
    ]
    return [["epoch", "step", *names, "learning rate", "seconds", "images/s"], *rows]
