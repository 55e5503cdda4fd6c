"""What a person gets to see of an evaluated run: figures, pictures, a report."""

from pathlib import Path
from typing import Any

from mnist_jax.analysis.drawing import draw_network
from mnist_jax.analysis.evaluation import Predictions, evaluate
from mnist_jax.analysis.plots import write_plots
from mnist_jax.analysis.report import write_report
from mnist_jax.analysis.summary import summary
from mnist_jax.files import write_json
from mnist_jax.models import Model


def publish(
    workdir: Path,
    predictions: Predictions,
    *,
    config: dict[str, Any],
    model: Model,
    history: list[dict[str, Any]],
    result: dict[str, Any] | None,
    checkpoint: int,
) -> dict[str, Any]:
    """Writes `evaluation.json`, `plots/` and `report.html`; returns the evaluation."""
    evaluation = evaluate(predictions) | {"checkpoint": checkpoint}
    write_json(workdir / "evaluation.json", evaluation)
    plots = write_plots(workdir / "plots", history, predictions, evaluation)
    network, _ = draw_network(model, workdir / "plots")
    write_report(
        workdir / "report.html",
        title=workdir.resolve().name,
        config=config,
        summary=summary(model),
        history=history,
        evaluation=evaluation,
        result=result,
        plots=[*plots, network],
    )
    return evaluation
