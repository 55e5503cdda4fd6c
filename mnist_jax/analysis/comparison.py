"""Many finished trainings side by side: what varies, means and spreads over seeds, and tables."""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_jax.files import write_text

FINISHED = "finished"
METRICS = ("val_accuracy", "val_loss", "test_accuracy", "test_loss")


@dataclass(frozen=True)
class Member:
    """One training of a comparison."""

    architecture: str  # its label; members of one architecture differ in their seed alone
    seed: int
    config: dict[str, Any]  # `Config.to_dict()` as plain JSON
    parameters: int
    history: list[dict]  # rows as in `metrics.jsonl`; none where it diverged at once
    seconds: float  # of training
    test_loss: float | None  # None where it diverged
    test_accuracy: float | None  # fraction; None where it diverged
    status: str = FINISHED  # or, for example, "diverged in epoch 3"

    @property
    def finished(self) -> bool:
        """Whether it came to its end; else its last figures mean nothing."""
        return self.status == FINISHED

    @property
    def epochs(self) -> int:
        """Epochs trained, which may be fewer than configured."""
        return int(self.history[-1]["epoch"]) if self.history else 0

    @property
    def val_loss(self) -> float | None:
        """After the last epoch; None where it diverged or without a validation split."""
        return self._last("val_loss")

    @property
    def val_accuracy(self) -> float | None:
        """After the last epoch, a fraction; None where `val_loss` is."""
        return self._last("val_accuracy")

    def _last(self, name: str) -> float | None:
        return self.history[-1].get(name) if self.finished and self.history else None


@dataclass(frozen=True)
class Statistic:
    """Some values by their mean and spread: None where there are too few of them."""

    count: int
    mean: float | None  # of one value or more
    deviation: float | None  # standard deviation, divided by n - 1; of two values or more

    @property
    def error(self) -> float | None:
        """Standard error of the mean: deviation / sqrt(n)."""
        return None if self.deviation is None else self.deviation / math.sqrt(self.count)


def statistic(values: Iterable[float | None]) -> Statistic:
    """Mean and standard deviation of the values that are not None."""
    known = [value for value in values if value is not None]
    return Statistic(
        len(known),
        statistics.fmean(known) if known else None,
        statistics.stdev(known) if len(known) > 1 else None,
    )


@dataclass(frozen=True)
class Architecture:
    """Trainings that differ in their seed alone."""

    name: str
    members: tuple[Member, ...]  # one or more

    @property
    def finished(self) -> list[Member]:
        """The members whose figures count."""
        return [member for member in self.members if member.finished]

    @property
    def diverged(self) -> int:
        """How many did not come to their end."""
        return len(self.members) - len(self.finished)

    @property
    def config(self) -> dict[str, Any]:
        """Of all members, but for the seed."""
        return self.members[0].config

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return self.members[0].parameters

    def statistic(self, name: str) -> Statistic:
        """Of a field or property of the finished members."""
        return statistic(getattr(member, name) for member in self.finished)


def architectures(members: Iterable[Member]) -> list[Architecture]:
    """Members gathered by their label, in the order in which the labels come."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(member.architecture, []).append(member)
    return [Architecture(name, tuple(group)) for name, group in groups.items()]


def ranked(shown: Iterable[Architecture]) -> list[Architecture]:
    """Highest mean validation accuracy first, those without one last; the test split ranks none.

    Without a validation split the order stays as it is, but for the diverged at its end.
    """

    def place(architecture: Architecture) -> tuple[bool, float]:
        mean = architecture.statistic("val_accuracy").mean
        return not architecture.finished, math.inf if mean is None else -mean

    return sorted(shown, key=place)


def yardstick(members: Iterable[Member]) -> str:
    """The accuracy to compare by: `val_accuracy`, or without a validation split `test_accuracy`."""
    validated = any(member.val_accuracy is not None for member in members)
    return "val_accuracy" if validated else "test_accuracy"


def by_depth(members: Iterable[Member]) -> dict[tuple[int, int], dict[int, float]]:
    """Test accuracy of dense networks: (hidden layers, epochs configured) -> {seed: fraction}.

    Where architectures share both, each seed has their mean; a seed of which one of them diverged
    is left out, because a mean over the others is no fair partner in a pair.
    """
    cells: dict[tuple[int, int], dict[int, list[float | None]]] = {}
    for member in members:
        depth = _depth(member.config)
        if depth is not None:
            cell = cells.setdefault((depth, member.config["num_epochs"]), {})
            cell.setdefault(member.seed, []).append(
                member.test_accuracy if member.finished else None
            )
    return {
        place: {
            seed: mean
            for seed, values in cell.items()
            if (mean := _mean_of_all(values)) is not None
        }
        for place, cell in sorted(cells.items())
    }


def confounded(members: Iterable[Member]) -> list[str]:
    """Fields in which dense networks of one depth and number of epochs differ from the others.

    Where the same values of a field are met at every depth, it is part of a grid, and fair.
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
    """The mean; None where a value is."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _depth(config: dict[str, Any]) -> int | None:
    model = config.get("model", {})
    hidden = model.get("hidden")
    dense = model.get("name") == "mlp" and isinstance(hidden, list | tuple)
    return len(hidden) if dense else None


# What varies


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a nested dict by their dotted names; lists are leaves, as tuples."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = _hashable(value)
    return found


def split_fields(members: Iterable[Member]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What all configurations share, and what varies among them, by dotted names without `seed`.

    Returns:
      The value of each shared field, and the distinct values of each other one: numbers and lists
      in ascending order (lists by length first), other values as they come; None where a
      configuration lacks the field.
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
    """The fields that differ among the members and their values, as `split_fields` has them."""
    return split_fields(members)[1]


def value_of(config: dict[str, Any], field: str) -> Any:
    """The leaf of that dotted name, a list as a tuple; None where there is none."""
    return leaves(config).get(field)


def shown(value: Any) -> str:
    """A value of a configuration in words: `128-32` for (128, 32), `none` for what is empty."""
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return "-".join(map(shown, value)) or "none"
    return f"{value:.5g}" if isinstance(value, float) else str(value) or "none"


def field_names(fields: Iterable[str]) -> dict[str, str]:
    """Dotted names as words: the last part alone where that is clear, `learning rate`."""
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
    """Whether it is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# Tables


def write_tables(workdir: Path, members: Sequence[Member]) -> None:
    """Writes `sweep.csv`, a line a member, and `summary.csv`, a line an architecture.

    Accuracies are fractions; what is unknown is empty. After its own columns a table has one for
    each field that varies. In the summary `_sd` is the standard deviation over the finished
    seeds, `_se` the standard error of the mean; epochs and seconds are means.

    Raises:
      UserError: the folder cannot be written.
    """
    fields = list(varied(members))
    write_text(workdir / "sweep.csv", _csv(_member_row(member, fields) for member in members))
    rows = (_summary_row(architecture, fields) for architecture in architectures(members))
    write_text(workdir / "summary.csv", _csv(rows))


def _member_row(member: Member, fields: list[str]) -> dict[str, Any]:
    names = ("architecture", "seed", "parameters", "epochs", "seconds", *METRICS, "status")
    return {name: getattr(member, name) for name in names} | _settings(member.config, fields)


def _summary_row(architecture: Architecture, fields: list[str]) -> dict[str, Any]:
    row = {
        "architecture": architecture.name,
        "seeds": len(architecture.finished),
        "diverged": architecture.diverged,
        "parameters": architecture.parameters,
        "epochs": architecture.statistic("epochs").mean,
        "seconds": architecture.statistic("seconds").mean,
    }
    for name in METRICS:
        found = architecture.statistic(name)
        row |= {name: found.mean, f"{name}_sd": found.deviation, f"{name}_se": found.error}
    return row | _settings(architecture.config, fields)


def _settings(config: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """Numbers in full precision, the rest in words."""
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
