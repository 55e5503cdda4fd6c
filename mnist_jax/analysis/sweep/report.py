"""The report of a sweep: CSV tables, plots, and one HTML file that contains all of it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_jax.analysis import canvas, page
from mnist_jax.analysis.sweep.plots import write_plots
from mnist_jax.analysis.sweep.section import Analysis, examine
from mnist_jax.analysis.sweep.settings import field_names, shown
from mnist_jax.analysis.sweep.table import Comparison, Result, heading, records, said, spread
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

    Raises:
      UserError: a table or the page cannot be written.
    """
    make_folder(workdir)
    its = Comparison(results)
    its.write(workdir)
    plots = write_plots(workdir / "plots", its)
    taken = [plot.name for plot, _ in plots]
    main = _main_result(its)
    page.render(
        workdir / "report.html",
        "sweep.html",
        title=title,
        subtitle=_subtitle(its),
        figures=_headline(its, facts),
        facts=[(name, _fact(value)) for name, value in facts.items() if name != WHOLE],
        sections=examine(analysis, its.networks, workdir / "plots", taken),
        plots=[
            (plot, page.picture(path, f"{plot.alt}. {main}", wide=True)) for plot, path in plots
        ],
        summary=_summary(its),
        several=bool((its.architectures["seeds"] > 1).any()),
        diverged=_diverged(its),
        networks=_networks(its),
        drawings=[
            (name, page.picture(path, f"Layers of the network {name}."))
            for name, path in drawings.items()
        ],
        varied=_varied(its),
        shared=[(name, shown(value)) for name, value in its.shared.items()],
    )


# Figures at the top


def _subtitle(its: Comparison) -> str:
    name = said(its.column, its.metric)
    ordered = its.validated(its.column)
    order = f"Ordered by {name}" if ordered else f"No {name}: in the order given"
    return f"{order}; test results were not used to choose anything."


def _headline(its: Comparison, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Returns (name, value, remark) of each key figure at the top of the page."""
    diverged = int(its.diverged.sum())
    counts = {"diverged": diverged, "training": int((~its.finished).sum()) - diverged}
    remarks = [f"{count} {status}" for status, count in counts.items() if count]
    low, high = its.architectures["networks"].min(), its.architectures["networks"].max()
    seeds = canvas.count(high, "seed") if low == high else f"{low} to {high} seeds"
    figures = [
        ("trainings", f"{len(its.networks):,}", ", ".join(remarks) or "all finished"),
        ("architectures", f"{len(its.architectures):,}", f"{seeds} each"),
    ]
    best = records(its.ranked)[0]
    if found := spread(best, its.column, its.metric):
        test = f"test_{its.metric.name}"
        value = spread(best, test, its.metric, page.MISSING)
        remark = f"{best['architecture']}, the best by {said(its.column, its.metric)} ({found})"
        figures.append((heading(said(test, its.metric), its.metric), value, remark))
    if WHOLE in facts:
        figures.append((WHOLE, page.seconds(facts[WHOLE]), "from start to end"))
    else:
        seconds = page.seconds(its.networks["seconds"].sum())
        figures.append(("training time", seconds, "sum over all trainings"))
    return figures


def _fact(value: Any) -> str:
    return page.seconds(value) if isinstance(value, int | float) else page.listing(value)


def _main_result(its: Comparison) -> str:
    """Returns the main result in words, as alternative text for every plot of the page."""
    best = records(its.ranked)[0]
    found = spread(best, its.column, its.metric, page.MISSING) + its.metric.unit
    number = canvas.count(len(its.architectures), "architecture")
    return f"{number}; best {said(its.column, its.metric)} {found} ({best['architecture']})."


# Tables


def _summary(its: Comparison) -> Table:
    names = [heading(said(column, metric), metric) for column, metric in its.results.items()]
    rows = [
        (
            row["architecture"],
            *(spread(row, column, metric, page.MISSING) for column, metric in its.results.items()),
            page.number(row["parameters"]),
            page.number(row["epochs"] if row["seeds"] else None, ",.4g"),
            page.seconds(row["seconds"] if row["seeds"] else None),
            f"{row['seeds']}" + (f" ({row['diverged']} diverged)" if row["diverged"] else ""),
        )
        for row in records(its.ranked)
    ]
    header = ("architecture", *names, "parameters", "epochs", "training time", "seeds")
    return {"header": header, "rows": rows}


def _diverged(its: Comparison) -> Table:
    header = ("architecture", "seed", "what happened")
    lost = its.networks[its.diverged]
    return {"header": header, "rows": lost[["architecture", "seed", "status"]].to_numpy().tolist()}


def _networks(its: Comparison) -> Table:
    names = [said(column, metric) for column, metric in its.results.items()]
    rows = [
        (
            row["architecture"],
            row["seed"],
            row["epochs"],
            page.seconds(row["seconds"]),
            *(
                page.figure(metric, None if math.isnan(row[column]) else row[column])
                for column, metric in its.results.items()
            ),
            row["status"],
        )
        for row in records(its.networks)
    ]
    return {
        "header": ("architecture", "seed", "epochs", "training time", *names, "status"),
        "rows": rows,
    }


def _varied(its: Comparison) -> Table:
    """Returns the fields that vary, with one row per architecture."""
    names = field_names(its.varied)
    rows = [
        (row["architecture"], *(shown(row[field]) for field in names))
        for row in records(its.architectures)
    ]
    return {"header": ("architecture", *names.values()), "rows": rows if names else []}
