"""What is trained: a configuration's network, optimizer and loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optax

from mnist_jax import models
from mnist_jax.config import Config
from mnist_jax.models import Model
from mnist_jax.training import optimizer
from mnist_jax.training.loss import Loss, find_loss


@dataclass(frozen=True)
class Task:
    """What a step needs and never changes."""

    config: Config
    model: Model
    optimizer: optax.GradientTransformation
    loss: Loss
    learning_rate: Callable[[Any], Any] | None  # at a step; None where the optimizer has its own
    axis_name: str | None = None  # the mapped axis to reduce over, if the step is mapped


def build(config: Config, steps_per_epoch: int, axis_name: str | None = None) -> Task:
    """What `config` names, found and put together.

    Raises:
      UserError: it names something that is not there.
    """
    loss = find_loss(config.loss)
    model = models.build(config.model, config.dtype, axis_name)
    transformation, learning_rate = optimizer.build(config, steps_per_epoch)
    return Task(config, model, transformation, loss, learning_rate, axis_name)
