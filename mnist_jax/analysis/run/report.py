"""The report of a run: a single HTML file that contains its plots and needs no network."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from mnist_jax.analysis import page
from mnist_jax.analysis.canvas import capitalised
from mnist_jax.metrics import Metric, of_column

HELP = {  # by metric or plot; any other metric only says whether higher or lower is better
    "loss": "Lower is better. If the training loss keeps falling while the validation loss rises, "
    "the model overfits. The training loss includes label smoothing and distortion of the images "
    "where they are configured.",
    "accuracy": "Higher is better. Training accuracy is averaged over each epoch, during which the "
    "model still improves, so it may begin below validation accuracy.",
    "mistakes": "The wrongly predicted images to whose true class the model gave the lowest "
    "probability; some would puzzle a person, too.",
    "confusion": "Correct predictions lie on the grey diagonal; the darker any other cell, the "
    "more frequent that mistake.",
    "calibration": "On the dashed line, predictions made with 80 % probability are right 8 times "
    "out of 10; below it, the model is overconfident.",
    "examples": "A fixed selection from the classes: the same images for every model evaluated on "
    "this split.",
    "network": 'Data flows from the images to the outputs. Layers with parameters are tinted; "N '
    'others" counts numbers that a layer keeps but does not train, such as running averages. An '
    "operation that combines values has a box of its own; what happens to a single value between "
    "layers, such as an activation or a change of shape, is part of its arrow.",
}
HALF = 800  # pixels: the widest plot that is legible at half the width of the page


def write_report(
    path: Path,
    *,
    title: str,
    config: dict,
    summary: str,
    history: list[dict],
    evaluation: dict,
    result: dict | None,
    plots: list[Path],
    metrics: Sequence[Metric],
) -> None:
    """Writes the report of a run as an HTML page.

    A reader sees the old file or the new one, never half of it.

    Args:
      path: the HTML file.
      title: heading of the page.
      config: resolved configuration, nested.
      summary: description of the model as preformatted text.
      history: one row per epoch, as in `metrics.jsonl`.
      evaluation: what `evaluate` returned; if it has `checkpoint`, the page names that step.
      result: as in `result.json`, or None if there is none.
      plots: PNG files; the stem of each decides the section that shows it. Other stems are shown
        with the summary of the model.
      metrics: metrics of the run, in the order in which they are shown.

    Raises:
      UserError: the page cannot be written.
    """
    wide = {plot.stem for plot in plots if not _fits_half(plot)}
    alt = _alt(history, evaluation, metrics)
    pictures = {
        plot.stem: page.picture(
            plot, alt.get(plot.stem, f"Picture {plot.stem}."), wide=plot.stem in wide
        )
        for plot in plots
    }
    details = [
        _section("Confusion matrix", pictures, "confusion"),
        _section("Calibration", pictures, "calibration"),
    ]
    others = [picture for stem, picture in pictures.items() if stem not in alt]
    body = [
        f"<header><h1>{escape(title)}</h1>{_subtitle(evaluation)}</header>",
        page.figures(_headline(config, evaluation, result, metrics)),
        _facts(result) if result else "",
        page.pair(*(_curve(metric, pictures) for metric in metrics)),
        _section("Worst mistakes", pictures, "mistakes"),
        *(details if "confusion" in wide else [page.pair(*details)]),
        f"<section><h2>Per class</h2>{_per_class_table(evaluation)}</section>",
        _section("Examples", pictures, "examples"),
        _model(summary, pictures.get("network", ""), others, beside="network" not in wide),
        _tables(history, config, metrics),
    ]
    page.write(path, title, "\n".join(filter(None, body)))


def flatten(tree: dict, prefix: str = "") -> list[tuple[str, str]]:
    """Lists the leaves of a nested dict as (dotted name, value as text), in order."""
    pairs = []
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            pairs += flatten(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", str(value)))
    return pairs


# Figures at the top


def _subtitle(evaluation: dict) -> str:
    checkpoint = evaluation.get("checkpoint")
    at = "" if checkpoint is None else f", checkpoint {escape(str(checkpoint))}"
    return f"<p>Evaluated on <code>{escape(evaluation['split'])}</code>{at}.</p>"


def _headline(
    config: dict, evaluation: dict, result: dict | None, metrics: Sequence[Metric]
) -> list[tuple[str, str, str]]:
    """Returns (name, value, remark) of each key figure at the top of the page."""
    count, accuracy, split = evaluation["count"], evaluation["accuracy"], evaluation["split"]
    error = math.sqrt(accuracy * (1 - accuracy) / count)
    bins = len(evaluation["calibration"]["bins"])
    means = [
        (
            f"{metric.label}, {split}",
            page.figure(metric, evaluation[metric.name]),
            "mean per image",
        )
        for metric in metrics
        if metric.name != "accuracy"
    ]
    figures = [
        (f"accuracy, {split}", page.percent(accuracy), f"± {100 * error:.2f} (standard error)"),
        *means,
        ("mistakes", f"{_mistakes(evaluation):,}", f"among {count:,} images"),
        (
            "expected calibration error",
            page.percent(_calibration_error(evaluation)),
            f"over {bins} bins",
        ),
    ]
    if result:
        epochs = page.number(result.get("epochs"))
        best = config.get("best", "val_accuracy")
        metric = of_column(metrics, best)
        figures += [
            (
                f"{metric.label}, validation",
                page.figure(metric, result.get(best)),
                "after the last epoch",
            ),
            ("parameters", page.number(result.get("parameters")), "trained numbers"),
            ("training time", page.seconds(result.get("train_seconds")), f"epochs: {epochs}"),
            ("throughput", page.number(result.get("images_per_second")), "images per second"),
        ]
    return figures


def _facts(result: dict) -> str:
    compiling = page.seconds(result.get("compile_seconds"))
    return page.pairs_table(
        [
            ("device", page.listing(result.get("device"))),
            ("versions", page.listing(result.get("versions"))),
            ("commit", page.listing(result.get("commit"))),
            ("whole run", f"{page.seconds(result.get('total_seconds'))}, compilation {compiling}"),
        ]
    )


# Sections


def _curve(metric: Metric, pictures: dict[str, str]) -> str:
    direction = f"{'Higher' if metric.higher_is_better else 'Lower'} is better."
    return _section(capitalised(metric.label), pictures, metric.name, direction)


def _section(heading: str, pictures: dict[str, str], stem: str, otherwise: str = "") -> str:
    """Returns a plot under its heading, with a sentence that helps to read it.

    Empty if there is no such plot.
    """
    if stem not in pictures:
        return ""
    help_text = f"<p>{escape(HELP.get(stem, otherwise))}</p>"
    return f"<section><h2>{escape(heading)}</h2>{pictures[stem]}{help_text}</section>"


def _model(summary: str, drawing: str, others: Sequence[str], beside: bool) -> str:
    """Returns the section of the model: summary, drawing beside or below it, and other plots."""
    text = f'<pre tabindex="0">{escape(summary)}</pre>'
    if drawing:
        drawing += f"<p>{escape(HELP['network'])}</p>"
    if drawing and beside:
        text, drawing = page.pair(f"<div>{text}</div>", f"<div>{drawing}</div>"), ""
    return f"<section><h2>Model</h2>{text}{drawing}{''.join(others)}</section>"


def _fits_half(plot: Path) -> bool:
    """True if a plot is legible at half the width of the page."""
    with Image.open(plot) as image:
        return image.width <= HALF


def _tables(history: list[dict], config: dict, metrics: Sequence[Metric]) -> str:
    epochs = page.details("Every epoch", _history_table(history, metrics)) if history else ""
    return epochs + page.details("Configuration", page.pairs_table(flatten(config)))


def _alt(history: list[dict], evaluation: dict, metrics: Sequence[Metric]) -> dict[str, str]:
    """Returns what each plot shows, in words, by its stem."""
    mistakes = f"{_mistakes(evaluation):,} mistakes among {evaluation['count']:,} images"
    error = page.percent(_calibration_error(evaluation))
    last = history[-1] if history else {}
    curves = {
        metric.name: f"Line plot of {metric.label} by epoch; at the end: "
        f"training {page.figure(metric, last.get(f'train_{metric.name}'))}, "
        f"validation {page.figure(metric, last.get(f'val_{metric.name}'))}."
        for metric in metrics
    }
    return curves | {
        "mistakes": f"Gallery of the mistakes with the highest loss; {mistakes}.",
        "confusion": f"Confusion matrix, true against predicted class; {mistakes}.",
        "calibration": f"Reliability diagram; the expected calibration error is {error}.",
        "examples": "Gallery of images of each class with predicted class and probability.",
        "network": "The network as boxes and arrows; the layers are those in the summary.",
    }


# Tables


def _per_class_table(evaluation: dict) -> str:
    header = ("class", "images", "precision", "recall", "F1", "most often mistaken for (times)")
    rows = [
        (
            row["name"],
            f"{row['count']:,}",
            page.percent(row["precision"]),
            page.percent(row["recall"]),
            page.percent(row["f1"]),
            _rival(evaluation, row["label"]),
        )
        for row in evaluation["per_class"]
    ]
    return page.table(header, rows)


def _rival(evaluation: dict, label: int) -> str:
    """Returns the class that images of this class are most often mistaken for, and how often."""
    counts = [0 if i == label else n for i, n in enumerate(evaluation["confusion"][label])]
    most = max(counts)
    return (
        f"{evaluation['per_class'][counts.index(most)]['name']} ({most})" if most else page.MISSING
    )


def _history_table(history: list[dict], metrics: Sequence[Metric]) -> str:
    header = ["epoch", "step"]
    header += [f"{split} {metric.label}" for metric in metrics for split in ("train", "val")]
    header += ["learning rate", "seconds", "images/s"]
    rows = [
        [
            page.number(row.get("epoch")),
            page.number(row.get("step")),
            *(
                page.figure(metric, row.get(f"{split}_{metric.name}"))
                for metric in metrics
                for split in ("train", "val")
            ),
            page.number(row.get("learning_rate"), ".3g"),
            page.number(row.get("seconds"), ".3f"),
            page.number(row.get("images_per_second")),
        ]
        for row in history
    ]
    return page.table(header, rows)


# Values as text


def _mistakes(evaluation: dict) -> int:
    right = sum(row[label] for label, row in enumerate(evaluation["confusion"]))
    return evaluation["count"] - right


def _calibration_error(evaluation: dict) -> float:
    return evaluation["calibration"]["expected_calibration_error"]
