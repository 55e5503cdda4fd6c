"""Defines the metrics of training and evaluation, and finds them by name.

A metric is a function `(outputs [B, K], labels [B], *, output_activation) -> [B]` of plain JAX. The
outputs are those of the network: logits if `output_activation` is "softmax". A run reports the mean
over the examples. The configuration names your own metric as `module:function`:

    import jax.numpy as jnp
    from mnist_jax.metrics import metric

    @metric(label="top 2", percent=True)
    def top_2(outputs, labels, *, output_activation):
        best_two = jnp.argsort(outputs, axis=-1)[:, -2:]
        return (best_two == labels[:, None]).any(axis=-1)

    config.metrics = ("mine:top_2",)

It then appears in every row, table, plot and report as `train_top_2`, `val_top_2` and `test_top_2`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_jax import binding
from mnist_jax.errors import UserError

Function = Callable[..., Any]  # (outputs [B, K], labels [B], *, output_activation) -> [B]
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Metric:
    """A metric: its function, its names, and how its values are shown."""

    name: str  # in columns: train_NAME, val_NAME, test_NAME
    label: str  # in tables and plots
    percent: bool = False  # True: values are fractions, shown in percent
    higher_is_better: bool = True
    function: Function | None = None  # None: the training loss itself

    @property
    def unit(self) -> str:
        """The unit of shown values: ` %`, or an empty string."""
        return " %" if self.percent else ""

    @property
    def scale(self) -> float:
        """The factor by which shown values are multiplied: 100 for percent, else 1."""
        return 100.0 if self.percent else 1.0

    def number(self, value: float | None, missing: str = "") -> str:
        """Formats a value without its unit, such as `97.12` (percent) or `0.0712`.

        Returns `missing` if the value is None.
        """
        return missing if value is None else format(self.scale * value, self._form(value))

    def with_deviation(self, mean: float, deviation: float | None) -> str:
        """Formats a mean and its standard deviation alike, without unit: `97.85 ± 0.10`.

        The deviation is left out if it is None or NaN, as that of a single value is.
        """
        if deviation is None or math.isnan(deviation):
            return self.number(mean)
        return f"{self.number(mean)} ± {format(self.scale * deviation, self._form(mean))}"

    def _form(self, value: float) -> str:
        """Returns the format specification for a value: four decimals, or digits if it is small."""
        if self.percent:
            return ".2f"
        return ".4g" if 0 < abs(value) < 0.01 else ".4f"

    def text(self, value: float | None, missing: str = "") -> str:
        """Formats a value with its unit, such as `97.12 %`; returns `missing` for None."""
        return missing if value is None else self.number(value) + self.unit

    def better(self, value: float, than: float) -> bool:
        """True if `value` is strictly better than `than`; NaN never is."""
        return value > than if self.higher_is_better else value < than


def metric(
    *, label: str = "", percent: bool = False, higher_is_better: bool = True
) -> Callable[[Function], Function]:
    """Decorates a metric function with what tables and plots need.

    Args:
      label: the name to show; by default the function's name, with spaces for underscores.
      percent: True if the values are fractions, to be shown in percent.
      higher_is_better: True if the best epoch and the best architecture have the highest value.
    """

    def decorate(function: Function) -> Function:
        said: Any = {"percent": percent, "higher_is_better": higher_is_better}
        function.__metric__ = said | ({"label": label} if label else {})  # pyright: ignore
        return function

    return decorate


def accuracy(outputs: Any, labels: Any, *, output_activation: str) -> Any:
    """Returns 1 where the most probable class is the label, else 0: `[B]`."""
    from mnist_jax.models.outputs import probabilities

    return probabilities(outputs, output_activation=output_activation).argmax(axis=-1) == labels


@metric(label="top 3 accuracy", percent=True)
def top_3(outputs: Any, labels: Any, *, output_activation: str) -> Any:
    """Returns 1 where fewer than three classes are more probable than the label, else 0: `[B]`."""
    from mnist_jax.models.outputs import probabilities

    p = probabilities(outputs, output_activation=output_activation)
    return (p > _of_label(p, labels)).sum(axis=-1) < 3


@metric(label="Brier score", higher_is_better=False)
def brier(outputs: Any, labels: Any, *, output_activation: str) -> Any:
    """Returns the squared distance of the probabilities to the one-hot label, 0 to 2: `[B]`.

    Source: Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    """
    from mnist_jax.models.outputs import probabilities

    p = probabilities(outputs, output_activation=output_activation)
    return (p**2).sum(axis=-1) - 2.0 * _of_label(p, labels)[:, 0] + 1.0


def _of_label(p: Any, labels: Any) -> Any:
    import jax.numpy as jnp

    return jnp.take_along_axis(p, labels[:, None], axis=-1)


LOSS = Metric("loss", "loss", higher_is_better=False)
ACCURACY = Metric("accuracy", "accuracy", percent=True, function=accuracy)
BUILT_IN: dict[str, Function] = {"accuracy": accuracy, "top_3": top_3, "brier": brier}
ALWAYS = ("loss", "accuracy")
# Names of other entries in a run's files.
TAKEN = ("split", "count", "per_class", "confusion", "calibration", "checkpoint")  # evaluation.json
TAKEN += ("mistakes", "examples", "network")  # plots of a run
TAKEN += ("first_layer", "activations", "saliency", "map")


def find(names: Iterable[str] = ()) -> tuple[Metric, ...]:
    """Returns the metrics of a run: loss, accuracy, and those that `config.metrics` names.

    Raises:
      UserError: a name is unknown, already in use, or not the name of a function.
    """
    found = {"loss": LOSS, "accuracy": ACCURACY}
    said: set[str] = set()
    for name in names:
        function = binding.find(name, BUILT_IN, "config.metrics")
        if not callable(function):
            raise UserError(
                f"config.metrics: {name!r} is not a function, but {binding.shown(function)}"
            )
        if name in said:
            raise UserError(f"config.metrics: there are two metrics named {name!r}; leave one out")
        said.add(name)
        short = short_name(name)
        if short in ALWAYS:
            raise UserError(f"config.metrics: {short!r} is always computed; leave {name!r} out")
        if short in found:
            raise UserError(
                f"config.metrics: there are two metrics named {short!r}; rename one function"
            )
        if short in TAKEN:
            raise UserError(
                f"config.metrics: {short!r} is a reserved name in a run's files; rename {name!r}"
            )
        found[short] = _described(short, function)
    return tuple(found.values())


def of(config: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Returns the metrics of a finished run, to show the values that it recorded.

    A metric whose code cannot be imported is labelled by its name, and higher counts as better.

    Args:
      config: the run's configuration as plain nested dicts.
    """
    found = list(find())
    for name in config.get("metrics", ()):
        try:
            found.append(find((name,))[-1])
        except Exception:
            found.append(Metric(short_name(name), short_name(name).replace("_", " ")))
    return tuple(found)


def refuse_ambiguous(names: Iterable[str]) -> None:
    """Refuses metrics of networks that are compared if two different ones would share a column.

    Args:
      names: of the metrics of all networks, as in `config.metrics`; may have duplicates.

    Raises:
      UserError: two different metrics have the same name in columns.
    """
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(short_name(name), name)
        if other != name:
            raise UserError(
                f"config.metrics: the networks to compare name both {other!r} and {name!r}, which "
                f"would share a column; rename one"
            )


def short_name(name: str) -> str:
    """Returns a metric's name in columns: the part after the colon of `module:function`."""
    return name.rpartition(":")[2]


def columns(metrics: Sequence[Metric], split: str) -> list[str]:
    """Returns the names of the metrics' columns: `["val_loss", "val_accuracy", ...]` for `val`."""
    return [f"{split}_{metric.name}" for metric in metrics]


def of_column(metrics: Iterable[Metric], column: str) -> Metric:
    """Returns the metric of a column such as `val_accuracy`.

    Raises:
      UserError: the column belongs to none of `metrics`.
    """
    by_name = {metric.name: metric for metric in metrics}
    split, _, name = column.partition("_")
    if split not in SPLITS or name not in by_name:
        known = [f"val_{name}" for name in by_name]
        raise UserError(f"config.best: there is no {column!r}{binding.did_you_mean(column, known)}")
    return by_name[name]


def best_epoch(rows: Sequence[Mapping[str, Any]], column: str, metric: Metric) -> int | None:
    """Returns the index of the row that is best in a column; None if no row has a finite value.

    The best checkpoint, patience and rankings all follow this rule: of equal rows the first is
    best, and a value that is missing or not finite never is.
    """
    best: int | None = None
    for i, row in enumerate(rows):
        value = row.get(column)
        if value is None or not math.isfinite(value):
            continue
        if best is None or metric.better(value, rows[best][column]):
            best = i
    return best


def without_value(row: Mapping[str, Any], told: set[str]) -> list[str]:
    """Returns a warning for each further metric of a row whose mean is not finite.

    Args:
      row: one epoch's row. None stands for a mean that is not finite, and for every value of a
        split that does not exist.
      told: columns already warned of; new ones are added.
    """
    lost = []
    for column in row.keys() - told:
        split, _, name = column.partition("_")
        there = split in SPLITS and row.get(f"{split}_loss") is not None
        if there and name not in ALWAYS and row[column] is None:
            lost.append(column)
    told.update(lost)
    return [
        f"config.metrics: {column} is not finite in epoch {row['epoch']}, because it is nan or inf "
        f"for some example; the row has no value, and such an epoch is never the best"
        for column in sorted(lost)
    ]


def _described(name: str, function: Function) -> Metric:
    told: dict[str, Any] = {"label": name.replace("_", " ")}
    told |= getattr(function, "__metric__", {})
    return Metric(name=name, function=function, **told)
