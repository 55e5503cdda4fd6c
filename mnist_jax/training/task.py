"""Builds and checks a configuration's model, loss, metrics and optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mnist_jax import metrics, models
from mnist_jax.config import Config
from mnist_jax.data import Spec
from mnist_jax.errors import UserError
from mnist_jax.metrics import Metric
from mnist_jax.models import Model
from mnist_jax.training import optimizer
from mnist_jax.training.loss import Loss, find_loss


@dataclass(frozen=True)
class Task:
    """The model, loss, metrics and optimizer of a training step, which never change."""

    config: Config
    model: Model
    loss: Loss
    metrics: tuple[Metric, ...]
    optimizer: optax.GradientTransformation
    axis_name: str | None = None  # the mapped axis to reduce over, if the step is mapped


def build(config: Config, spec: Spec, steps_per_epoch: int, axis_name: str | None = None) -> Task:
    """Builds the model, loss, metrics and optimizer that `config` names.

    Args:
      config: a resolved configuration.
      spec: of the data set.
      steps_per_epoch: converts durations of the schedule to steps.
      axis_name: the mapped axis to reduce over, if any.

    Raises:
      UserError: `config` names something that does not exist, or gives it wrong values.
    """
    loss = find_loss(config.loss)
    found = metrics.find(config.metrics)
    model = models.build(config.model, spec, config.dtype, axis_name)
    transformation, _ = optimizer.build(config, steps_per_epoch)
    return Task(config, model, loss, found, transformation, axis_name)


def check(task: Task) -> None:
    """Checks the model and the user's own loss and metrics by tracing them, before training.

    The loss and the metrics of this package are known to fit, so they need not be traced.

    Raises:
      UserError: one of them fails, or returns another shape than it must.
    """
    models.check_outputs(task.model)
    classes = task.model.num_classes
    size = classes + 1  # not equal to `classes`, so that swapped axes are noticed
    outputs = jax.ShapeDtypeStruct((size, classes), jnp.float32)
    labels = jax.ShapeDtypeStruct((size,), jnp.int32)
    kind = task.model.output_activation
    if ":" in task.config.loss:
        _require_values("config.loss", task.config.loss, task.loss, outputs, outputs, kind)
    own = {metrics.short_name(name) for name in task.config.metrics if ":" in name}
    for metric in task.metrics:
        if metric.name in own and metric.function is not None:
            where = "config.metrics"
            _require_values(where, metric.name, metric.function, outputs, labels, kind)


def _require_values(
    where: str, name: str, function: Callable[..., Any], outputs: Any, targets: Any, kind: str
) -> None:
    """Raises UserError unless `function` returns one value per example."""

    def call(outputs: jax.Array, targets: jax.Array) -> Any:
        return function(outputs, targets, output_activation=kind)

    expected = (
        f"it is called as {name.rpartition(':')[2]}(outputs {list(outputs.shape)}, "
        f"targets {list(targets.shape)}, output_activation={kind!r}) on a batch of "
        f"{outputs.shape[0]} and must return an array [{outputs.shape[0]}]"
    )
    try:
        found = jax.eval_shape(call, outputs, targets)
    except Exception as error:
        text = str(error).strip().splitlines()
        said = f"{type(error).__name__}: {text[0] if text else ''}"
        raise UserError(f"{where}: {name} fails: {said}; {expected}") from error
    if getattr(found, "shape", None) != outputs.shape[:1]:
        raise UserError(f"{where}: {name} returns {found}; {expected}")
