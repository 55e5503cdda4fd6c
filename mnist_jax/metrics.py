"""The metrics of training and evaluation: one function each, registered here and nowhere else.

A metric is a function `(outputs [B, K], labels [B], *, output_activation) -> [B]` of plain JAX. The
outputs are the network's own: logits where `output_activation` is "softmax". What a run reports is
the mean over examples. A metric of your own is named in the configuration as `module:function`:

    import jax.numpy as jnp
    from mnist_jax.metrics import metric

    @metric(label="top 2", percent=True)
    def top_2(outputs, labels, *, output_activation):
        best_two = jnp.argsort(outputs, axis=-1)[:, -2:]
        return (best_two == labels[:, None]).any(axis=-1)

    config.metrics = ("mine:top_2",)

It then stands in every row, table, plot and report as `train_top_2`, `val_top_2` and `test_top_2`.
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
    """What is known of a metric: how it is computed, called and written."""

    name: str  # of its columns: train_NAME, val_NAME, test_NAME
    label: str  # in words, for people
    percent: bool = False  # a fraction, which people read in percent
    higher_is_better: bool = True
    function: Function | None = None  # None: the value of the training loss itself

    @property
    def unit(self) -> str:
        """` %`, or nothing."""
        return " %" if self.percent else ""

    @property
    def scale(self) -> float:
        """What a value is multiplied by for people to read it: 100 for percent."""
        return 100.0 if self.percent else 1.0

    def number(self, value: float | None, missing: str = "") -> str:
        """The value as people read it, without its unit: `97.12` for 0.9712, or `0.0712`."""
        if value is None:
            return missing
        return f"{100 * value:.2f}" if self.percent else f"{value:.4f}"

    def text(self, value: float | None, missing: str = "") -> str:
        """The value with its unit: `97.12 %`."""
        return missing if value is None else self.number(value) + self.unit

    def better(self, value: float, than: float) -> bool:
        """True if `value` is strictly better; NaN never is."""
        return value > than if self.higher_is_better else value < than


def metric(
    *, label: str = "", percent: bool = False, higher_is_better: bool = True
) -> Callable[[Function], Function]:
    """Decorates a metric of your own with what tables and plots need to know of it.

    Args:
      label: its name in words; by default the name of the function.
      percent: its values are fractions, which people read in percent.
      higher_is_better: decides what counts as the best epoch and the best architecture.
    """

    def decorate(function: Function) -> Function:
        said: Any = {"percent": percent, "higher_is_better": higher_is_better}
        function.__metric__ = said | ({"label": label} if label else {})  # pyright: ignore
        return function

    return decorate


@metric(label="accuracy", percent=True)
def accuracy(outputs: Any, labels: Any, *, output_activation: str) -> Any:
    """1 where the class of the highest probability is the label, 0 elsewhere: [B]."""
    from mnist_jax.models.outputs import probabilities

    return probabilities(outputs, output_activation=output_activation).argmax(axis=-1) == labels


@metric(label="top 3 accuracy", percent=True)
def top_3(outputs: Any, labels: Any, *, output_activation: str) -> Any:
    """1 where fewer than three classes have a higher probability than the label's: [B]."""
    from mnist_jax.models.outputs import probabilities

    p = probabilities(outputs, output_activation=output_activation)
    return (p > _of_label(p, labels)).sum(axis=-1) < 3


@metric(label="Brier score", higher_is_better=False)
def brier(outputs: Any, labels: Any, *, output_activation: str) -> Any:
    """Sum of squared differences between probabilities and the one-hot label, 0 to 2: [B].

    Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    """
    from mnist_jax.models.outputs import probabilities

    p = probabilities(outputs, output_activation=output_activation)
    return (p**2).sum(axis=-1) - 2.0 * _of_label(p, labels)[:, 0] + 1.0


def _of_label(p: Any, labels: Any) -> Any:
    import jax.numpy as jnp

    return jnp.take_along_axis(p, labels[:, None], axis=-1)


LOSS = Metric("loss", "loss", higher_is_better=False)
BUILT_IN: dict[str, Function] = {"accuracy": accuracy, "top_3": top_3, "brier": brier}
ALWAYS = ("loss", "accuracy")
TAKEN = ("split", "count", "per_class", "confusion", "calibration", "checkpoint")  # evaluation.json
TAKEN += ("mistakes", "examples", "network")  # pictures of a run


def find(names: Iterable[str] = ()) -> tuple[Metric, ...]:
    """The metrics of a run: the loss, the accuracy, and those that `config.metrics` names.

    Raises:
      UserError: an unknown name, something that cannot be called, or two metrics of one name.
    """
    found = {"loss": LOSS, "accuracy": _described("accuracy", accuracy)}
    for name in names:
        function = binding.find(name, BUILT_IN, "config.metrics")
        if not callable(function):
            raise UserError(f"config.metrics: {name!r} is no function, but {function!r}")
        short = short_name(name)
        if short in ALWAYS:
            raise UserError(f"config.metrics: {short!r} is always computed; leave {name!r} out")
        if short in found:
            raise UserError(
                f"config.metrics: there are two metrics named {short!r}; rename the function of one"
            )
        if short in TAKEN:
            raise UserError(
                f"config.metrics: {short!r} names something else in a run's files; rename {name!r}"
            )
        found[short] = _described(short, function)
    return tuple(found.values())


def of(config: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The metrics of a finished run, from its plain configuration, to show what it recorded.

    A metric whose code cannot be imported here is shown by its name, higher is better.
    """
    found = list(find())
    for name in config.get("metrics", ()):
        try:
            found.append(find((name,))[-1])
        except Exception:
            found.append(Metric(short_name(name), short_name(name).replace("_", " ")))
    return tuple(found)


def short_name(name: str) -> str:
    """The name in columns: what stands after the colon of `module:function`."""
    return name.rpartition(":")[2]


def columns(metrics: Sequence[Metric], split: str) -> list[str]:
    """`["val_loss", "val_accuracy", ...]` for the split `val`."""
    return [f"{split}_{metric.name}" for metric in metrics]


def of_column(metrics: Iterable[Metric], column: str) -> Metric:
    """The metric whose values a column such as `val_accuracy` holds.

    Raises:
      UserError: none of `metrics` is meant.
    """
    by_name = {metric.name: metric for metric in metrics}
    split, _, name = column.partition("_")
    if split not in SPLITS or name not in by_name:
        known = [f"val_{name}" for name in by_name]
        raise UserError(f"config.best: there is no {column!r}{binding.did_you_mean(column, known)}")
    return by_name[name]


def best_epoch(rows: Sequence[Mapping[str, Any]], column: str, metric: Metric) -> int | None:
    """The position of the row that is best in a column; the first one of equals, `None` if none is.

    The one rule for the checkpoint that is kept as the best, for patience and for rankings: a tie
    does not improve, and a value that is missing or not finite never does.
    """
    best: int | None = None
    for i, row in enumerate(rows):
        value = row.get(column)
        if value is None or not math.isfinite(value):
            continue
        if best is None or metric.better(value, rows[best][column]):
            best = i
    return best


def _described(name: str, function: Function) -> Metric:
    said: dict[str, Any] = {"label": name.replace("_", " ")}
    said |= getattr(function, "__metric__", {})
    return Metric(name=name, function=function, **said)
