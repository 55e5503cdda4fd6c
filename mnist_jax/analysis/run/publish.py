"""Writes the results of an evaluated run for people to see: numbers, plots and a report."""

from pathlib import Path
from typing import Any

from mnist_jax import metrics
from mnist_jax.analysis.network.drawing import draw_network
from mnist_jax.analysis.network.summary import summary
from mnist_jax.analysis.run.evaluation import Predictions, evaluate
from mnist_jax.analysis.run.plots import write_plots
from mnist_jax.analysis.run.report import write_report
from mnist_jax.files import write_json
from mnist_jax.models import Model


def publish(
    folder: Path,
    predictions: Predictions,
    *,
    config: dict[str, Any],
    model: Model,
    history: list[dict[str, Any]],
    result: dict[str, Any] | None,
    checkpoint: int,
    title: str,
) -> dict[str, Any]:
    """Writes `evaluation.json`, `plots/` and `report.html`; returns the evaluation.

    Args:
      folder: created if it does not exist; files of the same names are replaced.
      predictions: predictions of the network, with the values of every metric of `config`.
      config: resolved configuration, as `Config.to_dict()` returns it.
      model: the network.
      history: one row per epoch, as in `metrics.jsonl`.
      result: as in `result.json`, or None where there is none.
      checkpoint: step of the checkpoint that holds the weights.
      title: heading of the report.

    Raises:
      ValueError: `predictions` are not consistent, as in `evaluate`.
      UserError: `evaluation.json` or `report.html` cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = metrics.of(config)
    evaluation = evaluate(predictions) | {"checkpoint": checkpoint}
    write_json(folder / "evaluation.json", evaluation)
    plots = write_plots(folder / "plots", history, predictions, evaluation, shown)
    network, _ = draw_network(model, folder / "plots")
    write_report(
        folder / "report.html",
        title=title,
        config=config,
        summary=summary(model),
        history=history,
        evaluation=evaluation,
        result=result,
        plots=[*plots, network],
        metrics=shown,
    )
    return evaluation
