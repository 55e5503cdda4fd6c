"""The report of a comparison: CSV tables, plots, and one HTML file that contains all of it."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mnist_jax.analysis import canvas, page
from mnist_jax.analysis.sweep.claims import UNANSWERED, Claim, examine
from mnist_jax.analysis.sweep.comparison import (
    Architecture,
    Member,
    architectures,
    columns_of,
    field_names,
    heading,
    metrics_of,
    ordering,
    ranked,
    said,
    shown,
    split_fields,
    statistic,
    validated,
    value_of,
    write_tables,
)
from mnist_jax.analysis.sweep.plots import write_plots
from mnist_jax.metrics import Metric

WHOLE = "whole sweep"
PICTURES = {  # by the start of the file name: heading, and a sentence that helps to read the plot
    "ranking": (
        "Ranking",
        "Differences smaller than the error bars may be due to chance. The order is by validation; "
        "the test results beside it have no influence on the order.",
    ),
    "curves": (
        "Accuracy by epoch",
        "An architecture whose curve still rises at the end would gain from more epochs.",
    ),
    "loss_curves": (
        "Loss by epoch",
        "A validation loss that rises again while accuracy stays flat is a sign of overfitting.",
    ),
    "depth": (
        "Depth and epochs",
        "If the lines for few and for many epochs move apart as depth grows, deeper networks need "
        "more epochs.",
    ),
    "parameters": (
        "Size",
        "Points further up and to the left are better: more accurate with fewer parameters.",
    ),
    "heatmap": (
        "Two fields at once",
        "If all rows look alike, only the field of the columns matters, and vice versa.",
    ),
    "field": (
        "One field",
        "A value in the middle of a plateau is a safer choice than the single highest point.",
    ),
}
CLAIMS_HELP = (
    "Each claim is tested by a contrast that was fixed in advance, on test accuracy, which was not "
    "used to choose anything. Contrasts are paired: each is computed separately for every seed, "
    "from the trainings that share the seed, and then averaged; ± is the standard error, sd / √n "
    "over n seeds. A claim or its opposite is accepted only if the 95 % confidence interval "
    "(Student's t) excludes zero."
)


def write_comparison(
    workdir: Path,
    members: Sequence[Member],
    *,
    title: str,
    facts: dict[str, Any],
    drawings: Mapping[str, Path],
) -> None:
    """Writes `sweep.csv`, `summary.csv`, `plots/*.png` and `report.html` into a folder.

    Args:
      workdir: created if it does not exist.
      members: one or more, in the order in which the tables show them.
      title: heading of the page.
      facts: where the results come from, by name: `device`, `versions`, `commit`. Numbers are times
        in seconds; `whole sweep` is shown among the key figures at the top.
      drawings: PNG file of each network by the label of its architecture; may be empty.

    Raises:
      UserError: a table or the page cannot be written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    write_tables(workdir, members)
    plots = write_plots(workdir / "plots", members)
    order = ranked(architectures(members))
    headings = PICTURES | {
        f"{metric.name}_curves": (
            f"{canvas.capitalised(metric.label)} by epoch",
            f"{'Higher' if metric.higher_is_better else 'Lower'} is better.",
        )
        for metric in metrics_of(members)
        if f"{metric.name}_curves" not in PICTURES
    }
    alt = _alt(order, members)
    summary = _summary_table(order, members) + _summary_help(order)
    body = [
        f"<header><h1>{escape(title)}</h1>{_subtitle(members)}</header>",
        page.figures(_headline(order, members, facts)),
        _facts(facts),
        _claims(examine(members)),
        *(_picture(plot, headings, alt) for plot in plots),
        f"<section><h2>Summary</h2>{summary}</section>",
        _diverged(members),
        page.details("Every training", _members_table(members)),
        _drawings(drawings),
        page.details("Configuration", _configuration(members)),
    ]
    page.write(workdir / "report.html", title, "\n".join(filter(None, body)))


# Figures at the top


def _subtitle(members: Sequence[Member]) -> str:
    column, metric = ordering(members)
    name = escape(said(column, metric))
    order = f"Ordered by {name}" if validated(members, column) else f"No {name}: in the order given"
    return f"<p>{order}; test results were not used to choose anything.</p>"


def _headline(
    order: list[Architecture], members: Sequence[Member], facts: dict[str, Any]
) -> list[tuple[str, str, str]]:
    """Returns (name, value, remark) of each key figure at the top of the page."""
    diverged = sum(member.diverged for member in members)
    unfinished = sum(not member.finished for member in members) - diverged
    counts = {"diverged": diverged, "training": unfinished}
    remarks = [f"{count} {status}" for status, count in counts.items() if count]
    seeds = sorted({len(architecture.members) for architecture in order})
    figures = [
        ("trainings", f"{len(members):,}", ", ".join(remarks) or "all finished"),
        ("architectures", f"{len(order):,}", f"{_between(seeds)} each"),
    ]
    best = order[0]
    column, metric = ordering(members)
    found = best.statistic(column)
    if found.mean is not None:
        test = f"test_{metric.name}"
        name = heading(said(test, metric), metric)
        remark = f"{best.name}, the best by {said(column, metric)} ({found.text(metric)})"
        figures.append((name, best.statistic(test).text(metric, page.MISSING), remark))
    if WHOLE in facts:
        figures.append((WHOLE, page.seconds(facts[WHOLE]), "from start to end"))
    else:
        seconds = sum(member.seconds for member in members)
        figures.append(("training time", page.seconds(seconds), "sum over all trainings"))
    return figures


def _between(seeds: list[int]) -> str:
    """Formats a range of numbers of seeds: `5 seeds`, `1 to 5 seeds`."""
    low, high = seeds[0], seeds[-1]
    return canvas.count(high, "seed") if low == high else f"{low} to {high} seeds"


def _facts(facts: Mapping[str, Any]) -> str:
    pairs = [(name, _fact(value)) for name, value in facts.items() if name != WHOLE]
    return page.pairs_table(pairs) if pairs else ""


def _fact(value: Any) -> str:
    return page.seconds(value) if isinstance(value, int | float) else page.listing(value)


# Claims


def _claims(claims: Sequence[Claim]) -> str:
    if all(claim.verdict == UNANSWERED for claim in claims):
        return ""
    parts = "".join(map(_claim, claims))
    return f"<section><h2>Claims</h2><p>{escape(CLAIMS_HELP)}</p>{parts}</section>"


def _claim(claim: Claim) -> str:
    """Returns a claim as HTML: its sentence and verdict, the contrast's value, and its parts."""
    verdict = claim.verdict + (f": {claim.reason}" if claim.reason else "")
    text = f"<h3>“{escape(claim.sentence)}” — {escape(verdict)}</h3>"
    contrast = claim.contrast[0].upper() + claim.contrast[1:]
    if claim.difference is None:
        return f"{text}<p>{escape(contrast)}.</p>"
    found = _points(claim.difference, claim.standard_error)
    text += f"<p>{escape(contrast)}: <strong>{escape(found)}</strong> percentage points, "
    text += f"{canvas.count(claim.n, 'seed')}.</p>"
    rows = [
        (
            name,
            page.MISSING if part.mean is None else _points(part.mean, part.error),
            str(part.count),
        )
        for name, part in claim.details
    ]
    header = ("part", "percentage points", "seeds")
    return text + page.table(header, rows)


def _points(difference: float, error: float | None) -> str:
    """Formats a difference of fractions in percentage points: `+0.250 ± 0.030`."""
    spread = "" if error is None else f" ± {100 * error:.3f}"
    return f"{100 * difference:+.3f}{spread}".replace("-", "\u2212")


# Pictures


def _picture(plot: Path, headings: Mapping[str, tuple[str, str]], alt: str) -> str:
    kind = plot.stem if plot.stem in headings else plot.stem.partition("_")[0]
    title, help_text = headings[kind]
    if kind == "field":
        title += f": {plot.stem.partition('_')[2].replace('_', ' ')}"
    image = page.picture(plot, f"Plot, {title}: {alt}", wide=True)
    return f"<section><h2>{escape(title)}</h2>{image}<p>{escape(help_text)}</p></section>"


def _alt(order: list[Architecture], members: Sequence[Member]) -> str:
    """Returns the main result in words, as alternative text for every plot of the page."""
    best = order[0]
    column, metric = ordering(members)
    found = best.statistic(column).text(metric, page.MISSING)
    number = canvas.count(len(order), "architecture")
    return f"{number}; best {said(column, metric)} {found}{metric.unit} ({best.name})."


def _drawings(drawings: Mapping[str, Path]) -> str:
    parts = "".join(
        f"<div><h3>{escape(name)}</h3>{page.picture(path, f'Layers of the network {name}.')}</div>"
        for name, path in drawings.items()
    )
    return page.details("Networks", page.pair(parts)) if parts else ""


# Tables


def _summary_table(order: Sequence[Architecture], members: Sequence[Member]) -> str:
    columns = columns_of(members)
    names = (heading(said(column, metric), metric) for column, metric in columns.items())
    header = ("architecture", *names, "parameters", "epochs", "training time", "seeds")
    return page.table(header, (_summary_row(one, columns) for one in order))


def _summary_row(architecture: Architecture, columns: Mapping[str, Metric]) -> tuple[str, ...]:
    lost = f" ({architecture.diverged} diverged)" if architecture.diverged else ""
    finished = architecture.finished
    return (
        architecture.name,
        *(
            architecture.statistic(column).text(metric, page.MISSING)
            for column, metric in columns.items()
        ),
        page.number(architecture.parameters),
        page.number(statistic(member.epochs for member in finished).mean, ",.4g"),
        page.seconds(statistic(member.seconds for member in finished).mean),
        f"{len(finished)}{lost}",
    )


def _summary_help(order: Sequence[Architecture]) -> str:
    several = any(len(one.finished) > 1 for one in order)
    spread = "mean ± standard deviation over seeds" if several else "one seed each"
    text = f"Results with the weights of the last step: {spread}, without diverged trainings."
    if any(one.diverged for one in order):
        text += " Architectures with a diverged training come after all others."
    return f"<p>{text}</p>"


def _diverged(members: Sequence[Member]) -> str:
    rows = [
        (member.architecture, f"{member.seed}", member.status)
        for member in members
        if member.diverged
    ]
    if not rows:
        return ""
    table = page.table(("architecture", "seed", "what happened"), rows)
    return f"<section><h2>Diverged</h2>{table}</section>"


def _members_table(members: Sequence[Member]) -> str:
    columns = columns_of(members)
    names = (said(column, metric) for column, metric in columns.items())
    header = ("architecture", "seed", "epochs", "training time", *names, "status")
    rows = (
        (
            member.architecture,
            f"{member.seed}",
            f"{member.epochs}",
            page.seconds(member.seconds),
            *(page.figure(metric, member.figure(column)) for column, metric in columns.items()),
            member.status,
        )
        for member in members
    )
    return page.table(header, rows)


def _configuration(members: Sequence[Member]) -> str:
    """Returns the fields that vary, by architecture, and those that all have in common."""
    common, varied = split_fields(members)
    names = field_names(varied)
    varying = _settings_table(architectures(members), names) if varied else ""
    shared = page.pairs_table((name, shown(value)) for name, value in common.items())
    first = f"<h3>Varies</h3>{varying}" if varied else ""
    return f"{first}<h3>Common to all</h3>{shared}"


def _settings_table(shown_ones: Iterable[Architecture], names: Mapping[str, str]) -> str:
    rows = (
        (one.name, *(shown(value_of(one.config, field)) for field in names)) for one in shown_ones
    )
    return page.table(("architecture", *names.values()), rows)
