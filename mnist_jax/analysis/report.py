"""The report of a run: one HTML file with its pictures inside, that needs no network."""

import base64
import math
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #57606a; --line: #d8dee4;
  --page: #ffffff; --card: #f6f8fa; --link: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a0a9b2; --line: #363d45;
  --page: #14181c; --card: #1d2329; --link: #6cb8e6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; }
p { margin: .25rem 0 .9rem; color: var(--soft); }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; margin: 1.5rem 0; }
.figures div { background: var(--card); border-radius: .5rem; padding: .7rem .9rem; }
.figures dt, .figures small { color: var(--soft); font-size: .8rem; line-height: 1.35; }
.figures dd { margin: 0; font-size: 1.45rem; font-weight: 650; line-height: 1.3; }
.figures small { display: block; font-weight: 400; }
.pair { display: grid; gap: 0 1.25rem; grid-template-columns: 1fr; }
@media (min-width: 52rem) { .pair { grid-template-columns: 1fr 1fr; }
  .figures { grid-template-columns: repeat(4, 1fr); } }
.pair > * { min-width: 0; }
figure { margin: .75rem 0 .5rem; background: #ffffff; border: 1px solid var(--line);
  border-radius: .5rem; padding: .5rem; overflow-x: auto; }
figure img { display: block; width: 100%; height: auto; }
figure.wide img { min-width: 44rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .pairs td { text-align: left; }
.pairs { width: 100%; }
.pairs th { width: 1%; vertical-align: top; }
.pairs td { white-space: normal; overflow-wrap: anywhere; }
pre { background: var(--card); border-radius: .5rem; padding: .9rem; overflow-x: auto;
  font-size: .82rem; line-height: 1.45; }
summary { cursor: pointer; font-weight: 650; font-size: 1.05rem; margin: 1.25rem 0 .5rem; }
"""

MISSING = "—"
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
}


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
        beside the summary of the model.
    """
    pictures = {plot.stem: _picture(plot, _alt(plot.stem, history, evaluation)) for plot in plots}
    body = [
        f"<header><h1>{escape(title)}</h1>{_subtitle(evaluation)}</header>",
        _figures(_headline(evaluation, result)),
        _facts(result) if result else "",
        _pair(_section("Loss", pictures, "loss"), _section("Accuracy", pictures, "accuracy")),
        _section("Worst mistakes", pictures, "mistakes"),
        _pair(
            _section("Confusion matrix", pictures, "confusion"),
            _section("Calibration", pictures, "calibration"),
        ),
        f"<section><h2>Per class</h2>{_per_class_table(evaluation)}</section>",
        _section("Examples", pictures, "examples"),
        _model(summary, [picture for stem, picture in pictures.items() if stem not in HELP]),
        _tables(history, config),
    ]
    _write_atomically(path, _page(title, "\n".join(filter(None, body))))


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
        (f"accuracy, {split}", _percent(accuracy), f"± {100 * error:.2f} (standard error)"),
        (f"loss, {split}", f"{evaluation['loss']:.4f}", "mean of an image"),
        ("mistakes", f"{_mistakes(evaluation):,}", f"among {count:,} images"),
        ("calibration error", _percent(_calibration_error(evaluation)), f"expected ({bins} bins)"),
    ]
    if result:
        epochs = _number(result.get("epochs"))
        figures += [
            ("accuracy, validation", _percent(result.get("val_accuracy")), "after the last epoch"),
            ("parameters", _number(result.get("parameters")), "trained numbers"),
            ("training time", _seconds(result.get("train_seconds")), f"epochs: {epochs}"),
            ("throughput", _number(result.get("images_per_second")), "images a second"),
        ]
    return figures


def _figures(figures: Iterable[tuple[str, str, str]]) -> str:
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(remark)}</small></dd></div>"
        for name, value, remark in figures
    )
    return f'<dl class="figures">{"".join(cells)}</dl>'


def _facts(result: dict) -> str:
    compiling = _seconds(result.get("compile_seconds"))
    return _pairs_table(
        [
            ("device", _listing(result.get("device"))),
            ("versions", _listing(result.get("versions"))),
            ("commit", _listing(result.get("commit"))),
            ("whole run", f"{_seconds(result.get('total_seconds'))}, compiling {compiling}"),
        ]
    )


# Sections


def _section(heading: str, pictures: dict[str, str], stem: str) -> str:
    """Show a picture under its heading, with the sentence that helps to read it."""
    if stem not in pictures:
        return ""
    help_text = f"<p>{escape(HELP[stem])}</p>"
    return f"<section><h2>{escape(heading)}</h2>{pictures[stem]}{help_text}</section>"


def _pair(*sections: str) -> str:
    shown = "".join(sections)
    return f'<div class="pair">{shown}</div>' if shown else ""


def _model(summary: str, drawings: Sequence[str]) -> str:
    text = f'<pre tabindex="0">{escape(summary)}</pre>'
    return f"<section><h2>Model</h2>{text}{''.join(drawings)}</section>"


def _details(heading: str, content: str) -> str:
    return f"<details><summary>{escape(heading)}</summary>{content}</details>"


def _tables(history: list[dict], config: dict) -> str:
    epochs = _details("Every epoch", _history_table(history)) if history else ""
    return epochs + _details("Configuration", _pairs_table(flatten(config)))


def _picture(path: Path, alt: str) -> str:
    kind = ' class="wide"' if path.stem in ("mistakes", "examples") else ""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    image = f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'
    return f'<figure{kind} tabindex="0">{image}</figure>'


def _alt(stem: str, history: list[dict], evaluation: dict) -> str:
    """Say in words what a picture shows."""
    mistakes = f"{_mistakes(evaluation):,} mistakes among {evaluation['count']:,} images"
    error = _percent(_calibration_error(evaluation))
    last = history[-1] if history else {}
    ends = {
        "loss": f"training {_number(last.get('train_loss'), '.4f')}, "
        f"validation {_number(last.get('val_loss'), '.4f')}",
        "accuracy": f"training {_percent(last.get('train_accuracy'))}, "
        f"validation {_percent(last.get('val_accuracy'))}",
    }
    return {
        "loss": f"Line plot of the loss by epoch; at the end {ends['loss']}.",
        "accuracy": f"Line plot of the accuracy by epoch; at the end {ends['accuracy']}.",
        "mistakes": f"Gallery of the mistakes with the highest loss; {mistakes}.",
        "confusion": f"Confusion matrix, true against predicted class; {mistakes}.",
        "calibration": f"Reliability diagram; the expected calibration error is {error}.",
        "examples": "Gallery of images of each class with predicted class and probability.",
    }.get(stem, f"Picture {stem}.")


# Tables


def _per_class_table(evaluation: dict) -> str:
    header = ("class", "images", "precision", "recall", "F1", "most often taken for (times)")
    rows = [
        (
            row["name"],
            f"{row['count']:,}",
            _percent(row["precision"]),
            _percent(row["recall"]),
            _percent(row["f1"]),
            _rival(evaluation, row["label"]),
        )
        for row in evaluation["per_class"]
    ]
    return _table(header, rows)


def _rival(evaluation: dict, label: int) -> str:
    """Name the class that images of this class are most often taken for, and how often."""
    counts = [0 if i == label else n for i, n in enumerate(evaluation["confusion"][label])]
    most = max(counts)
    return f"{evaluation['per_class'][counts.index(most)]['name']} ({most})" if most else MISSING


def _history_table(history: list[dict]) -> str:
    columns = (
        ("epoch", "epoch", _number),
        ("step", "step", _number),
        ("train_loss", "train loss", lambda value: _number(value, ".4f")),
        ("val_loss", "val loss", lambda value: _number(value, ".4f")),
        ("train_accuracy", "train accuracy", _percent),
        ("val_accuracy", "val accuracy", _percent),
        ("learning_rate", "learning rate", lambda value: _number(value, ".3g")),
        ("seconds", "seconds", lambda value: _number(value, ".3f")),
        ("images_per_second", "images/s", _number),
    )
    rows = [[form(row.get(key)) for key, _, form in columns] for row in history]
    return _table([name for _, name, _ in columns], rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _pairs_table(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in pairs
    )
    table = f'<table class="pairs"><tbody>{rows}</tbody></table>'
    return f'<div class="scroll" tabindex="0">{table}</div>'


# Values as text


def _mistakes(evaluation: dict) -> int:
    right = sum(row[label] for label, row in enumerate(evaluation["confusion"]))
    return evaluation["count"] - right


def _calibration_error(evaluation: dict) -> float:
    return evaluation["calibration"]["expected_calibration_error"]


def _percent(fraction: float | None) -> str:
    return MISSING if fraction is None else f"{100 * fraction:.2f}\u00a0%"


def _number(value: float | None, form: str = ",.0f") -> str:
    return MISSING if value is None else f"{value:{form}}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return MISSING
    if seconds < 100:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}\u00a0min {rest}\u00a0s"


def _listing(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return MISSING if value is None else str(value)


# The file


def _page(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
