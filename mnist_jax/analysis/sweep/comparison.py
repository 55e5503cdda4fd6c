"""Comparison of many finished trainings: what varies, statistics over seeds, and tables."""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_jax import metrics
from mnist_jax.files import write_text
from mnist_jax.members import DIVERGED, FINISHED
from mnist_jax.metrics import Metric


@dataclass(frozen=True)
class Member:
    """One training in a comparison: an architecture with one seed."""

    architecture: str  # label; members of one architecture differ only in their seed
    seed: int
    config: dict[str, Any]  # `Config.to_dict()` as plain JSON
    parameters: int
    history: list[dict]  # rows as in `metrics.jsonl`; empty if it diverged at once
    seconds: float  # training time
    test: Mapping[str, float]  # by metric name; empty if it did not finish
    status: str = FINISHED  # or "training", or text such as "diverged in epoch 3: ..."

    @property
    def finished(self) -> bool:
        """True if the training reached its end; otherwise its last values mean nothing."""
        return self.status == FINISHED

    @property
    def diverged(self) -> bool:
        """True if the loss, a gradient, a parameter or an output was NaN or infinite."""
        return self.status.startswith(DIVERGED)

    @property
    def epochs(self) -> int:
        """Number of epochs trained, which may be fewer than configured."""
        return int(self.history[-1]["epoch"]) if self.history else 0

    def figure(self, column: str) -> float | None:
        """Returns the member's final value in a column: `test_NAME`, `val_NAME` or `train_NAME`.

        Validation and training values are those after the last epoch. None if the training did not
        finish, or if the value is missing or not finite.
        """
        if not self.finished:
            return None
        split, _, name = column.partition("_")
        last = self.history[-1] if self.history else {}
        value = self.test.get(name) if split == "test" else last.get(column)
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class Statistic:
    """Number, mean and standard deviation of some values."""

    count: int
    mean: float | None  # None without values
    deviation: float | None  # sample standard deviation (n - 1); None with fewer than two values

    @property
    def error(self) -> float | None:
        """Standard error of the mean, deviation / sqrt(n); None with fewer than two values."""
        return None if self.deviation is None else self.deviation / math.sqrt(self.count)

    def text(self, metric: Metric, missing: str = "") -> str:
        """Formats mean ± deviation without the unit: `97.85 ± 0.10`, or `0.0712 ± 0.0031`.

        Returns `missing` if there are no values.
        """
        spread = "" if self.deviation is None else f" ± {metric.number(self.deviation)}"
        return missing if self.mean is None else metric.number(self.mean) + spread


def statistic(values: Iterable[float | None]) -> Statistic:
    """Returns the mean and standard deviation of the values that are not None."""
    known = [value for value in values if value is not None]
    return Statistic(
        len(known),
        statistics.fmean(known) if known else None,
        statistics.stdev(known) if len(known) > 1 else None,
    )


@dataclass(frozen=True)
class Architecture:
    """An architecture: trainings that differ only in their seed."""

    name: str
    members: tuple[Member, ...]  # one or more

    @property
    def finished(self) -> list[Member]:
        """The members that finished training."""
        return [member for member in self.members if member.finished]

    @property
    def diverged(self) -> int:
        """Number of members that diverged."""
        return sum(member.diverged for member in self.members)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that all members share, apart from the seed."""
        return self.members[0].config

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return self.members[0].parameters

    def statistic(self, column: str) -> Statistic:
        """Returns the statistic of a column such as `val_loss` over the finished members."""
        return statistic(member.figure(column) for member in self.finished)


def architectures(members: Iterable[Member]) -> list[Architecture]:
    """Groups members by architecture, in the order in which the labels first appear."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.architecture, []).append(member)
    return [Architecture(name, tuple(group)) for name, group in groups.items()]


# Figures


def metrics_of(members: Iterable[Member]) -> tuple[Metric, ...]:
    """Returns the metrics that any of the members was trained with, loss and accuracy first."""
    names = dict.fromkeys(n for member in members for n in member.config.get("metrics", ()))
    return tuple({metric.name: metric for metric in metrics.of({"metrics": names})}.values())


def columns_of(members: Iterable[Member]) -> dict[str, Metric]:
    """Returns the result columns of tables in their order, each with its metric.

    First come accuracy and loss of validation, then of the test, then validation and test of each
    further metric.
    """
    loss, accuracy, *further = metrics_of(members)
    groups = [(accuracy, loss), *((metric,) for metric in further)]
    return {
        f"{split}_{metric.name}": metric
        for group in groups
        for split in ("val", "test")
        for metric in group
    }


def said(column: str, metric: Metric) -> str:
    """Returns the name of a column in words: `validation accuracy`."""
    return f"{metrics.SPLITS[column.partition('_')[0]]} {metric.label}"


def heading(name: str, metric: Metric) -> str:
    """Returns the heading of a column of numbers, with their unit: `test accuracy, %`."""
    return f"{name}, %" if metric.percent else name


# Order


def ordering(members: Sequence[Member]) -> tuple[str, Metric]:
    """Returns the column that ranks the architectures, and its metric.

    This is `config.best` if all members agree on it, otherwise `val_accuracy`.
    """
    named = {member.config.get("best", "val_accuracy") for member in members}
    column = named.pop() if len(named) == 1 else "val_accuracy"
    return column, metrics.of_column(metrics_of(members), column)


def ranked(candidates: Sequence[Architecture]) -> list[Architecture]:
    """Ranks architectures by their mean in the column that `ordering` returns, best first.

    A mean over only the seeds that survived would be no fair comparison, so architectures with a
    diverged seed come after all others, and those without a finished seed come last. Test results
    never affect the order. Without a validation split, the order is otherwise left unchanged.
    """
    column, metric = ordering([member for one in candidates for member in one.members])

    def place(one: Architecture) -> tuple[bool, bool, bool, float]:
        mean = one.statistic(column).mean
        rank = 0.0 if mean is None else -mean if metric.higher_is_better else mean
        return not one.finished, one.diverged > 0, mean is None, rank

    return sorted(candidates, key=place)


def validated(members: Iterable[Member], column: str) -> bool:
    """True if any member has a value in the given validation column."""
    return any(member.figure(column) is not None for member in members)


def yardstick(members: Sequence[Member]) -> tuple[str, Metric]:
    """Returns the accuracy column that plots show, and its metric.

    This is validation accuracy or, without a validation split, test accuracy.
    """
    column = "val_accuracy" if validated(members, "val_accuracy") else "test_accuracy"
    return column, columns_of(members)[column]


# Depth


def by_depth(members: Iterable[Member]) -> dict[tuple[int, int], dict[int, float]]:
    """Returns test accuracies of dense networks: (hidden layers, epochs) -> {seed: fraction}.

    Epochs are those configured. If several architectures share both numbers, each seed has their
    mean. A seed with which one of them diverged is left out, because a mean over the others would
    be no fair partner in a paired comparison.
    """
    cells: dict[tuple[int, int], dict[int, list[float | None]]] = {}
    for member in members:
        depth = _depth(member.config)
        if depth is not None:
            cell = cells.setdefault((depth, member.config["num_epochs"]), {})
            cell.setdefault(member.seed, []).append(member.figure("test_accuracy"))
    return {
        place: {
            seed: mean
            for seed, values in cell.items()
            if (mean := _mean_of_all(values)) is not None
        }
        for place, cell in sorted(cells.items())
    }


def confounded(members: Iterable[Member]) -> list[str]:
    """Returns the fields whose values depend on depth or number of epochs (dense networks).

    A field that takes the same values at every depth and number of epochs is part of a grid, so
    that comparing depths is fair.
    """
    dense = [member for member in members if _depth(member.config) is not None]
    names = [name for name in split_fields(dense)[1] if name not in ("model.hidden", "num_epochs")]
    found = []
    for name in names:
        values: dict[tuple[int | None, int], set[Any]] = {}
        for member in dense:
            place = (_depth(member.config), member.config["num_epochs"])
            values.setdefault(place, set()).add(value_of(member.config, name))
        if len({frozenset(its) for its in values.values()}) > 1:
            found.append(name)
    return found


def _mean_of_all(values: list[float | None]) -> float | None:
    """Returns the mean, or None if any value is None."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _depth(config: dict[str, Any]) -> int | None:
    model = config.get("model", {})
    hidden = model.get("hidden")
    dense = model.get("name") == "mlp" and isinstance(hidden, list | tuple)
    return len(hidden) if dense else None


# What varies


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens a nested dict to its leaves by dotted names; lists are leaves and become tuples."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = _hashable(value)
    return found


def split_fields(members: Iterable[Member]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Separates the fields that all configurations share from those that vary; ignores `seed`.

    Returns:
      The value of each shared field, and the distinct values of each varying field, by dotted
      names. Numbers and lists are in ascending order (lists by length first), other values in order
      of appearance. None stands for configurations that lack the field.
    """
    configs = [leaves(member.config) for member in members]
    names = dict.fromkeys(name for config in configs for name in config if name != "seed")
    common, varied = {}, {}
    for name in names:
        values = list(dict.fromkeys(config.get(name) for config in configs))
        if len(values) == 1:
            common[name] = values[0]
        else:
            varied[name] = _ascending(values)
    return common, varied


def varied(members: Iterable[Member]) -> dict[str, list[Any]]:
    """Returns the fields that differ among the members, with their values as in `split_fields`."""
    return split_fields(members)[1]


def value_of(config: dict[str, Any], field: str) -> Any:
    """Returns a configuration's value at a dotted name, lists as tuples; None if there is none."""
    return leaves(config).get(field)


def shown(value: Any) -> str:
    """Formats a value of a configuration: `128-32` for (128, 32), `none` for an empty value."""
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return "-".join(map(shown, value)) or "none"
    return f"{value:.5g}" if isinstance(value, float) else str(value) or "none"


def field_names(fields: Iterable[str]) -> dict[str, str]:
    """Returns dotted names in words such as `learning rate`: only the last part if it is unique."""
    fields = list(fields)
    words = {"model.hidden": "hidden layers", "num_epochs": "epochs"}
    ends = [field.removesuffix(".name").rpartition(".")[2] for field in fields]
    return {
        field: words.get(field, field if ends.count(end) > 1 else end).replace("_", " ")
        for field, end in zip(fields, ends, strict=True)
    }


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _hashable(part)) for name, part in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _ascending(values: list[Any]) -> list[Any]:
    if all(is_number(value) for value in values):
        return sorted(values)
    if all(isinstance(value, tuple) and all(map(is_number, value)) for value in values):
        return sorted(values, key=lambda value: (len(value), value))
    return values


def is_number(value: Any) -> bool:
    """True if the value is a number; booleans do not count."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# Tables


def write_tables(workdir: Path, members: Sequence[Member]) -> None:
    """Writes `sweep.csv`, one line per member, and `summary.csv`, one line per architecture.

    Percentages are written as fractions, and unknown values are empty. The last columns are the
    fields that vary. In the summary, `_sd` is the standard deviation over the finished seeds and
    `_se` the standard error of the mean; epochs and seconds are means.

    Raises:
      UserError: the folder cannot be written.
    """
    fields, columns = list(varied(members)), list(columns_of(members))
    rows = (_member_row(member, columns, fields) for member in members)
    write_text(workdir / "sweep.csv", _csv(rows))
    rows = (_summary_row(one, columns, fields) for one in architectures(members))
    write_text(workdir / "summary.csv", _csv(rows))


def _member_row(member: Member, columns: list[str], fields: list[str]) -> dict[str, Any]:
    row = {
        "architecture": member.architecture,
        "seed": member.seed,
        "parameters": member.parameters,
        "epochs": member.epochs,
        "seconds": member.seconds,
        **{column: member.figure(column) for column in columns},
        "status": member.status,
    }
    return row | _settings(member.config, fields)


def _summary_row(
    architecture: Architecture, columns: list[str], fields: list[str]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "architecture": architecture.name,
        "seeds": len(architecture.finished),
        "diverged": architecture.diverged,
        "parameters": architecture.parameters,
        "epochs": statistic(member.epochs for member in architecture.finished).mean,
        "seconds": statistic(member.seconds for member in architecture.finished).mean,
    }
    for column in columns:
        found = architecture.statistic(column)
        row |= {column: found.mean, f"{column}_sd": found.deviation, f"{column}_se": found.error}
    return row | _settings(architecture.config, fields)


def _settings(config: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """Returns the values of these fields: numbers in full precision, other values as text."""
    values = {field: value_of(config, field) for field in fields}
    return {
        field: value if value is None or is_number(value) else shown(value)
        for field, value in values.items()
    }


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0] if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
