"""The report of a run: one HTML file with its pictures inside, that needs no network."""

import math
from html import escape
from pathlib import Path

from PIL import Image

from mnist_jax.analysis import page

HELP = {
    "loss": "Lower is better; training that goes on falling while validation rises is overfitting. "
    "Training includes label smoothing and distortion where they are configured.",
    "accuracy": "Higher is better; training is averaged over an epoch in which the model still "
    "improves, so that it may begin below validation.",
    "mistakes": "The images whose true class the model thought least likely; some would puzzle a "
    "person too.",
    "confusion": "Correct predictions lie on the grey diagonal; the darker a cell beside it, the "
    "more often that mistake.",
    "calibration": "On the dashed line, predictions made with 80 % probability are right 8 times "
    "in 10; below it, the model is too sure of itself.",
    "examples": "A fixed choice spread over the classes: the same images for every model evaluated "
    "on this split.",
    "network": 'From the images to the outputs. Layers with parameters are tinted; "others" are '
    "numbers that a layer keeps and does not train, such as running averages. Where values meet, "
    "there is a box for it; what happens to one value between layers, such as an activation or a "
    "change of shape, is part of its arrow.",
}
HALF = 800  # pixels: what is legible at half the width of the page


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
) -> None:
    """Write the report of a run to `path`; a reader sees the old file or the new one, never half.

    Args:
      path: the HTML file.
      title: heading of the page.
      config: resolved configuration, nested.
      summary: description of the model as preformatted text.
      history: a row an epoch, as in `metrics.jsonl`.
      evaluation: what `evaluate` returned; with `checkpoint` in it, that step is named.
      result: as in `result.json`, or None where there is none.
      plots: PNG files, put by their stems into the sections that speak of them; any other goes
        with the summary of the model.
    """
    pictures = {
        plot.stem: page.picture(
            plot,
            _alt(plot.stem, history, evaluation),
            wide=not _fits_half(plot),
        )
        for plot in plots
    }
    body = [
        f"<header><h1>{escape(title)}</h1>{_subtitle(evaluation)}</header>",
        page.figures(_headline(evaluation, result)),
        _facts(result) if result else "",
        page.pair(_section("Loss", pictures, "loss"), _section("Accuracy", pictures, "accuracy")),
        _section("Worst mistakes", pictures, "mistakes"),
        page.pair(
            _section("Confusion matrix", pictures, "confusion"),
            _section("Calibration", pictures, "calibration"),
        ),
        f"<section><h2>Per class</h2>{_per_class_table(evaluation)}</section>",
        _section("Examples", pictures, "examples"),
        _model(summary, pictures, beside=all(_fits_half(p) for p in plots if p.stem == "network")),
        _tables(history, config),
    ]
    page.write(path, title, "\n".join(filter(None, body)))


def flatten(tree: dict, prefix: str = "") -> list[tuple[str, str]]:
    """List the leaves of a nested dict as (dotted name, value as text), in its order."""
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


def _headline(evaluation: dict, result: dict | None) -> list[tuple[str, str, str]]:
    """List (name, value, remark) of the figures to be seen first."""
    count, accuracy, split = evaluation["count"], evaluation["accuracy"], evaluation["split"]
    error = math.sqrt(accuracy * (1 - accuracy) / count)
    bins = len(evaluation["calibration"]["bins"])
    figures = [
        (f"accuracy, {split}", page.percent(accuracy), f"± {100 * error:.2f} (standard error)"),
        (f"loss, {split}", f"{evaluation['loss']:.4f}", "mean of an image"),
        ("mistakes", f"{_mistakes(evaluation):,}", f"among {count:,} images"),
        (
            "calibration error",
            page.percent(_calibration_error(evaluation)),
            f"expected ({bins} bins)",
        ),
    ]
    if result:
        epochs = page.number(result.get("epochs"))
        figures += [
            (
                "accuracy, validation",
                page.percent(result.get("val_accuracy")),
                "after the last epoch",
            ),
            ("parameters", page.number(result.get("parameters")), "trained numbers"),
            ("training time", page.seconds(result.get("train_seconds")), f"epochs: {epochs}"),
            ("throughput", page.number(result.get("images_per_second")), "images a second"),
        ]
    return figures


def _facts(result: dict) -> str:
    compiling = page.seconds(result.get("compile_seconds"))
    return page.pairs_table(
        [
            ("device", page.listing(result.get("device"))),
            ("versions", page.listing(result.get("versions"))),
            ("commit", page.listing(result.get("commit"))),
            ("whole run", f"{page.seconds(result.get('total_seconds'))}, compiling {compiling}"),
        ]
    )


# Sections


def _section(heading: str, pictures: dict[str, str], stem: str) -> str:
    """Show a picture under its heading, with the sentence that helps to read it."""
    if stem not in pictures:
        return ""
    help_text = f"<p>{escape(HELP[stem])}</p>"
    return f"<section><h2>{escape(heading)}</h2>{pictures[stem]}{help_text}</section>"


def _model(summary: str, pictures: dict[str, str], beside: bool) -> str:
    """The summary, the drawing beside it or below it, and pictures that no section speaks of."""
    text = f'<pre tabindex="0">{escape(summary)}</pre>'
    others = "".join(picture for stem, picture in pictures.items() if stem not in HELP)
    drawing = pictures.get("network", "")
    if drawing:
        drawing += f"<p>{escape(HELP['network'])}</p>"
    if drawing and beside:
        text, drawing = page.pair(f"<div>{text}</div>", f"<div>{drawing}</div>"), ""
    return f"<section><h2>Model</h2>{text}{drawing}{others}</section>"


def _fits_half(plot: Path) -> bool:
    """Whether a picture is legible at half the width of the page."""
    with Image.open(plot) as image:
        return image.width <= HALF


def _tables(history: list[dict], config: dict) -> str:
    epochs = page.details("Every epoch", _history_table(history)) if history else ""
    return epochs + page.details("Configuration", page.pairs_table(flatten(config)))


def _alt(stem: str, history: list[dict], evaluation: dict) -> str:
    """Say in words what a picture shows."""
    mistakes = f"{_mistakes(evaluation):,} mistakes among {evaluation['count']:,} images"
    error = page.percent(_calibration_error(evaluation))
    last = history[-1] if history else {}
    ends = {
        "loss": f"training {page.number(last.get('train_loss'), '.4f')}, "
        f"validation {page.number(last.get('val_loss'), '.4f')}",
        "accuracy": f"training {page.percent(last.get('train_accuracy'))}, "
        f"validation {page.percent(last.get('val_accuracy'))}",
    }
    return {
        "loss": f"Line plot of the loss by epoch; at the end {ends['loss']}.",
        "accuracy": f"Line plot of the accuracy by epoch; at the end {ends['accuracy']}.",
        "mistakes": f"Gallery of the mistakes with the highest loss; {mistakes}.",
        "confusion": f"Confusion matrix, true against predicted class; {mistakes}.",
        "calibration": f"Reliability diagram; the expected calibration error is {error}.",
        "examples": "Gallery of images of each class with predicted class and probability.",
        "network": "The network as boxes and arrows; its layers are those of the summary.",
    }.get(stem, f"Picture {stem}.")


# Tables


def _per_class_table(evaluation: dict) -> str:
    header = ("class", "images", "precision", "recall", "F1", "most often taken for (times)")
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
    """Name the class that images of this class are most often taken for, and how often."""
    counts = [0 if i == label else n for i, n in enumerate(evaluation["confusion"][label])]
    most = max(counts)
    return (
        f"{evaluation['per_class'][counts.index(most)]['name']} ({most})" if most else page.MISSING
    )


def _history_table(history: list[dict]) -> str:
    columns = (
        ("epoch", "epoch", page.number),
        ("step", "step", page.number),
        ("train_loss", "train loss", lambda value: page.number(value, ".4f")),
        ("val_loss", "val loss", lambda value: page.number(value, ".4f")),
        ("train_accuracy", "train accuracy", page.percent),
        ("val_accuracy", "val accuracy", page.percent),
        ("learning_rate", "learning rate", lambda value: page.number(value, ".3g")),
        ("seconds", "seconds", lambda value: page.number(value, ".3f")),
        ("images_per_second", "images/s", page.number),
    )
    rows = [[form(row.get(key)) for key, _, form in columns] for row in history]
    return page.table([name for _, name, _ in columns], rows)


# Values as text


def _mistakes(evaluation: dict) -> int:
    right = sum(row[label] for label, row in enumerate(evaluation["confusion"]))
    return evaluation["count"] - right


def _calibration_error(evaluation: dict) -> float:
    return evaluation["calibration"]["expected_calibration_error"]


# The file
