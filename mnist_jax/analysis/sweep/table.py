"""The tables of a sweep: one row per network, one per architecture, one per network and epoch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from pandas import DataFrame

from mnist_jax import metrics
from mnist_jax.analysis.sweep import settings
from mnist_jax.analysis.sweep.section import Frame
from mnist_jax.files import write_text
from mnist_jax.members import DIVERGED, FINISHED
from mnist_jax.metrics import Metric

Result = dict[str, Any]  # of one network, as in the results.json of a population
SPREADS = {"mean": "", "std": "_sd", "sem": "_se"}  # pandas' statistics: ends of column names


class Comparison:
    """The networks of a sweep, or finished runs, as tables.

    Attributes:
      networks: one row per network: `architecture`, `seed`, `parameters`, `epochs` (trained),
        `seconds` (of training), the columns of `results`, `status`, and then one column per field
        of the configurations by its dotted name, such as `model.hidden`. Results are NaN if the
        training did not finish or the value is not finite. Lists are tuples, and a field that a
        configuration lacks is None.
      architectures: one row per architecture, which is the index: `seeds` (finished), `diverged`
        and `networks` (both counts), `parameters`, means of `epochs` and `seconds` over the
        finished seeds, then the mean of each column of `results` with its standard deviation
        (`_sd`) and the standard error of the mean (`_se`), and the fields that vary.
      history: one row per network and epoch: `architecture`, `seed`, `status`, `epoch` and the
        columns of training and validation.
      metrics: the metrics that any of the networks was trained with, loss and accuracy first.
      results: the metric of each column of results: accuracy and loss of validation, then of the
        test, then validation and test of each further metric.
      shared: the value of each field that all configurations share.
      varied: the values of each other field.
      column: the column that ranks the architectures: `config.best` if all networks agree on it,
        otherwise `val_accuracy`.
      metric: the metric of `column`.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        configs = [settings.flat(result["config"]) for result in results]
        self.shared, self.varied = settings.split(configs)
        self.metrics = _metrics(configs)
        self.results = _columns(self.metrics)
        named = {config.get("best", "val_accuracy") for config in configs}
        self.column = named.pop() if len(named) == 1 else "val_accuracy"
        self.metric = metrics.of_column(self.metrics, self.column)
        self.networks: Frame = self._networks(results, configs)
        self.finished = self.networks["status"] == FINISHED
        self.diverged = self.networks["status"].str.startswith(DIVERGED)
        self.architectures = self._architectures()
        self.history = self._history(results)

    def _networks(self, results: Sequence[Result], configs: Sequence[Mapping[str, Any]]) -> Frame:
        rows = [
            {
                **{name: its[name] for name in ("architecture", "seed", "parameters")},
                "epochs": int(its["history"][-1]["epoch"]) if its["history"] else 0,
                "seconds": its["seconds"],
                **{column: _figure(its, column) for column in self.results},
                "status": its["status"],
            }
            for its in results
        ]
        names = [*self.shared, *self.varied]
        fields = [{name: config.get(name) for name in names} for config in configs]
        return pandas.concat([DataFrame(rows), DataFrame(fields, dtype=object)], axis=1)

    def _architectures(self) -> Frame:
        figures = ["epochs", "seconds", *self.results]
        counted = self.networks.assign(seeds=self.finished, diverged=self.diverged, networks=1)
        counted[figures] = self.networks[figures].where(self.finished)
        groups: Any = counted.groupby("architecture", sort=False)
        spreads = groups[[*self.results]].agg([*SPREADS])
        spreads.columns = [f"{column}{SPREADS[end]}" for column, end in spreads.columns]
        first = self.networks.drop_duplicates("architecture").set_index("architecture")
        return pandas.concat(
            [
                groups[["seeds", "diverged", "networks"]].sum(),
                first["parameters"],
                groups[["epochs", "seconds"]].mean(),
                spreads,
                first[[*self.varied]],
            ],
            axis=1,
        )

    def _history(self, results: Sequence[Result]) -> Frame:
        names = ["architecture", "seed", "status"]
        figures = metrics.columns(self.metrics, "train") + metrics.columns(self.metrics, "val")
        rows = [
            {name: its[name] for name in names} | {c: row.get(c) for c in ("epoch", *figures)}
            for its in results
            for row in its["history"]
        ]
        history = DataFrame(rows, columns=[*names, "epoch", *figures])
        values = history[figures].astype(float)
        history[figures] = values.where(np.isfinite(values))
        return history

    @cached_property
    def ranked(self) -> Frame:
        """The table `architectures`, ordered by the mean in `column`, best first.

        A mean over only the seeds that survived would be no fair comparison, so architectures with
        a diverged seed come after all others, and those without a finished seed come last. Test
        results never affect the order. Without a validation split, the order is otherwise left
        unchanged.
        """
        its = self.architectures
        means = -its[self.column] if self.metric.higher_is_better else its[self.column]
        lost, unknown = its["diverged"] > 0, means.isna()
        places = list(zip(its["seeds"] == 0, lost, unknown, means.fillna(0.0), strict=True))
        return its.iloc[sorted(range(len(its)), key=places.__getitem__)]

    def validated(self, column: str) -> bool:
        """True if any network has a value in the given validation column."""
        return bool(self.networks[column].notna().any())

    @property
    def not_ranked(self) -> str:
        """Why `ranked` has no best architecture, as a clause; empty if it has one."""
        if self.validated(self.column):
            return ""
        if not self.finished.any():
            return "no training finished"
        return f"there is no {column_label(self.column, self.metric)}"

    @property
    def yardstick(self) -> tuple[str, Metric]:
        """The column of results that plots show, and its metric.

        This is the column that ranks the architectures or, if it has no values, that of the test.
        """
        column = self.column if self.validated(self.column) else f"test_{self.metric.name}"
        return column, self.metric

    def averaged(self, *shown: str) -> list[str]:
        """Returns the fields over which a mean for each combination of values of `shown` is.

        These are the fields that vary while those of `shown` do not.
        """
        cells = list(zip(*(self.networks[field] for field in shown), strict=True))
        return [
            field
            for field in self.varied
            if field not in shown
            and len(set(zip(cells, self.networks[field], strict=True))) > len(set(cells))
        ]

    def grouped(self, column: str, **keys: Sequence[float]) -> Frame:
        """Returns statistics of a column of results over groups of networks.

        Args:
          column: the column.
          keys: one key of the group of each network, by the name of the index's level.

        Returns:
          One row per group, in ascending order: `mean`, `sd`, `count` (finished networks),
          `diverged` and `networks` (both counts).
        """
        marked = self.networks[[column]].assign(diverged=self.diverged, **keys)
        groups = marked.groupby([*keys])
        return DataFrame(
            {
                "mean": groups[column].mean(),
                "sd": groups[column].std(),
                "count": groups[column].count(),
                "diverged": groups["diverged"].sum(),
                "networks": groups.size(),
            }
        )

    def write(self, workdir: Path) -> None:
        """Writes `sweep.csv`, one row per network, and `summary.csv`, one row per architecture.

        Percentages are written as fractions, and unknown values are empty. Of the fields of the
        configurations, the tables have those that vary, as their last columns.

        Raises:
          UserError: the folder cannot be written.
        """
        networks = self.networks.drop(columns=[*self.shared])
        write_text(workdir / "sweep.csv", self._csv(networks))
        summary = self.architectures.drop(columns="networks").reset_index()
        write_text(workdir / "summary.csv", self._csv(summary))

    def _csv(self, table: Frame) -> str:
        """Returns a table as CSV, with the numbers in fields as they are and the rest as text."""
        fields = {name: [_cell(value) for value in table[name]] for name in self.varied}
        texts = DataFrame(fields, index=table.index, dtype=object)
        return table.assign(**texts).to_csv(index=False)


def records(table: Frame) -> list[dict[str, Any]]:
    """Returns the rows of a table as dicts of plain values, the index included."""
    return table.reset_index().to_dict("records")


def column_label(column: str, metric: Metric) -> str:
    """Returns the name of a column in words: `validation accuracy`."""
    return f"{metrics.SPLITS[column.partition('_')[0]]} {metric.label}"


def heading(name: str, metric: Metric) -> str:
    """Returns the heading of a column of numbers, with their unit: `test accuracy, %`."""
    return f"{name}, %" if metric.percent else name


def mean_and_deviation(
    row: Mapping[str, Any], column: str, metric: Metric, missing: str = ""
) -> str:
    """Formats mean ± deviation in a row of `architectures`: `97.85 ± 0.10`, `0.0712 ± 0.0031`.

    The unit is left out. Returns `missing` if there is no value.
    """
    mean, deviation = row[column], row[f"{column}_sd"]
    return missing if math.isnan(mean) else metric.with_deviation(mean, deviation)


def _metrics(configs: Iterable[Mapping[str, Any]]) -> tuple[Metric, ...]:
    names = dict.fromkeys(name for config in configs for name in config.get("metrics", ()))
    return tuple({metric.name: metric for metric in metrics.of({"metrics": names})}.values())


def _columns(found: Sequence[Metric]) -> dict[str, Metric]:
    loss, accuracy, *further = found
    groups = [(accuracy, loss), *((metric,) for metric in further)]
    return {
        f"{split}_{metric.name}": metric
        for group in groups
        for split in ("val", "test")
        for metric in group
    }


def _figure(result: Result, column: str) -> float:
    """Returns the final value of a network in a column; NaN if there is none that is finite."""
    split, _, name = column.partition("_")
    last = result["history"][-1] if result["history"] else {}
    value = result["test"].get(name) if split == "test" else last.get(column)
    if result["status"] != FINISHED or value is None or not math.isfinite(value):
        return math.nan
    return value


def _cell(value: Any) -> Any:
    return value if value is None or settings.is_number(value) else settings.format_value(value)
