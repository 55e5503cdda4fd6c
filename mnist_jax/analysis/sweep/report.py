"""The report of a sweep: CSV tables, plots, and one HTML file that contains all of it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_jax.analysis import canvas, page
from mnist_jax.analysis.pad import Drawing
from mnist_jax.analysis.sweep.plots import write_plots
from mnist_jax.analysis.sweep.section import Analysis, examine
from mnist_jax.analysis.sweep.settings import field_names, format_value
from mnist_jax.analysis.sweep.table import (
    Comparison,
    Result,
    column_label,
    heading,
    mean_and_deviation,
    records,
)
from mnist_jax.files import make_folder

WHOLE = "whole sweep"
Table = dict[str, Any]  # header and rows, as the template takes them


def write_comparison(
    workdir: Path,
    results: Sequence[Result],
    *,
    title: str,
    facts: Mapping[str, Any],
    drawings: Mapping[str, Path],
    analysis: Analysis | None = None,
    drawing: Drawing | None = None,
) -> None:
    """Writes `sweep.csv`, `summary.csv`, `plots/*.png` and `report.html` into a folder.

    Args:
      workdir: created if it does not exist.
      results: of one network or more, in the order in which the tables show them.
      title: heading of the page.
      facts: where the results come from, by name: `device`, `versions`, `commit`. Numbers are times
        in seconds; `whole sweep` is shown among the key figures at the top.
      drawings: PNG file of each network by the label of its architecture; may be empty.
      analysis: writes further sections of the page.
      drawing: the pad on which one draws for the best network.

    Raises:
      UserError: a table or the page cannot be written.
    """
    make_folder(workdir)
    comparison = Comparison(results)
    comparison.write(workdir)
    plots = write_plots(workdir / "plots", comparison)
    taken = [plot.name for plot, _ in plots]
    main = _main_result(comparison)
    page.render(
        workdir / "report.html",
        "sweep.html",
        title=title,
        subtitle=_subtitle(comparison),
        figures=_headline(comparison, facts),
        facts=[(name, _fact(value)) for name, value in facts.items() if name != WHOLE],
        sections=examine(analysis, comparison.networks, workdir / "plots", taken),
        plots=[
            (plot, page.picture(path, f"{plot.alt}. {main}", wide=True)) for plot, path in plots
        ],
        summary=_summary(comparison),
        several=bool((comparison.architectures["seeds"] > 1).any()),
        diverged=_diverged(comparison),
        networks=_networks(comparison),
        drawing=drawing,
        drawings=[
            (name, page.picture(path, f"Layers of the network {name}."))
            for name, path in drawings.items()
        ],
        varied=_varied(comparison),
        shared=[(name, format_value(value)) for name, value in comparison.shared.items()],
    )


# Figures at the top


def _subtitle(comparison: Comparison) -> str:
    order = f"Ordered by {column_label(comparison.column, comparison.metric)}"
    if comparison.not_ranked:
        order = f"In the order given, because {comparison.not_ranked}"
    return f"{order}; test results were not used to choose anything."


def _headline(comparison: Comparison, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Returns (name, value, remark) of each key figure at the top of the page."""
    diverged = int(comparison.diverged.sum())
    counts = {"diverged": diverged, "training": int((~comparison.finished).sum()) - diverged}
    remarks = [f"{count} {status}" for status, count in counts.items() if count]
    networks = comparison.architectures["networks"]
    low, high = networks.min(), networks.max()
    seeds = canvas.count(high, "seed") if low == high else f"{low} to {high} seeds"
    figures = [
        ("trainings", f"{len(comparison.networks):,}", ", ".join(remarks) or "all finished"),
        ("architectures", f"{len(comparison.architectures):,}", f"{seeds} each"),
    ]
    best, column, metric = records(comparison.ranked)[0], comparison.column, comparison.metric
    if found := mean_and_deviation(best, column, metric):
        test = f"test_{metric.name}"
        value = mean_and_deviation(best, test, metric, page.MISSING)
        remark = f"{best['architecture']}, the best by {column_label(column, metric)} ({found})"
        figures.append((heading(column_label(test, metric), metric), value, remark))
    if WHOLE in facts:
        figures.append((WHOLE, page.seconds(facts[WHOLE]), "from start to end"))
    else:
        seconds = page.seconds(comparison.networks["seconds"].sum())
        figures.append(("training time", seconds, "sum over all trainings"))
    return figures


def _fact(value: Any) -> str:
    return page.seconds(value) if isinstance(value, int | float) else page.listing(value)


def _main_result(comparison: Comparison) -> str:
    """Returns the main result in words, as alternative text for every plot of the page."""
    number = canvas.count(len(comparison.architectures), "architecture")
    if comparison.not_ranked:
        return f"{number}; not ranked, because {comparison.not_ranked}."
    best, column, metric = records(comparison.ranked)[0], comparison.column, comparison.metric
    found = mean_and_deviation(best, column, metric)
    if not found:  # all networks that have a value belong to architectures that lost a seed
        return f"{number}."
    name = f"{column_label(column, metric)} {found}{metric.unit}"
    return f"{number}; best {name} ({best['architecture']})."


# Tables


def _summary(comparison: Comparison) -> Table:
    results = comparison.results.items()
    names = [heading(column_label(column, metric), metric) for column, metric in results]
    rows = [
        (
            row["architecture"],
            *(mean_and_deviation(row, column, metric, page.MISSING) for column, metric in results),
            page.number(row["parameters"]),
            page.number(row["epochs"] if row["seeds"] else None, ",.4g"),
            page.seconds(row["seconds"] if row["seeds"] else None),
            f"{row['seeds']}" + (f" ({row['diverged']} diverged)" if row["diverged"] else ""),
        )
        for row in records(comparison.ranked)
    ]
    header = ("architecture", *names, "parameters", "epochs", "training time", "seeds")
    return {"header": header, "rows": rows}


def _diverged(comparison: Comparison) -> Table:
    header = ("architecture", "seed", "what happened")
    lost = comparison.networks[comparison.diverged]
    return {"header": header, "rows": lost[["architecture", "seed", "status"]].to_numpy().tolist()}


def _networks(comparison: Comparison) -> Table:
    names = [column_label(column, metric) for column, metric in comparison.results.items()]
    rows = [
        (
            row["architecture"],
            row["seed"],
            row["epochs"],
            page.seconds(row["seconds"]),
            *(
                page.figure(metric, None if math.isnan(row[column]) else row[column])
                for column, metric in comparison.results.items()
            ),
            row["status"],
        )
        for row in records(comparison.networks)
    ]
    return {
        "header": ("architecture", "seed", "epochs", "training time", *names, "status"),
        "rows": rows,
    }


def _varied(comparison: Comparison) -> Table:
    """Returns the fields that vary, with one row per architecture."""
    names = field_names(comparison.varied)
    rows = [
        (row["architecture"], *(format_value(row[field]) for field in names))
        for row in records(comparison.architectures)
    ]
    return {"header": ("architecture", *names.values()), "rows": rows if names else []}
