"""Optax's optimizers and schedules, by their own names and keywords."""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

import jax
import optax

from mnist_jax import binding
from mnist_jax.config import Choice, Config
from mnist_jax.errors import UserError

# Keywords of optax.schedules that are numbers of steps.
DURATIONS = ("transition_steps", "decay_steps", "warmup_steps", "transition_begin")
Schedule = Callable[[Any], Any]


def build(config: Config, steps_per_epoch: int) -> tuple[optax.GradientTransformation, Schedule]:
    """The configured optimizer, and the learning rate at a step.

    In order: clip the gradient's global norm, the optimizer itself, weight decay (decoupled, on
    kernels only: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).

    Raises:
      UserError: a name or keyword that optax does not have.
    """
    keywords = dict(config.optimizer.keywords)
    if config.schedule.name:
        rate = _schedule(config.schedule, steps_per_epoch, config.num_epochs)
        keywords["learning_rate"] = rate
    optimizer = _find_optimizer(config.optimizer.name)
    keywords = binding.bind(optimizer, keywords, "config.optimizer", defaults=False)
    rate = keywords.get("learning_rate", 0.0)
    schedule = rate if callable(rate) else optax.constant_schedule(rate)
    parts = [optimizer(**keywords)]
    if config.clip_norm > 0.0:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if config.weight_decay > 0.0:
        parts.append(_decay_kernels(config.weight_decay, schedule))
    return optax.chain(*parts), schedule


def _find_optimizer(name: str) -> Callable[..., optax.GradientTransformation]:
    known = {n: getattr(optax, n) for n in dir(optax) if _is_optimizer(n)}
    del known["lbfgs"]  # its line search evaluates the loss again, which a step cannot give it
    return binding.find(name, known, "config.optimizer.name")


def _is_optimizer(name: str) -> bool:
    value = getattr(optax, name)
    if name.startswith(("scale_by_", "_")) or not isinstance(value, (FunctionType, partial)):
        return False
    return "learning_rate" in inspect.signature(value).parameters


def _schedule(choice: Choice, steps_per_epoch: int, num_epochs: int) -> Schedule:
    known = {n: f for n, f in vars(optax.schedules).items() if n.endswith("_schedule")}
    schedule = binding.find(choice.name, known, "config.schedule.name")
    total = steps_per_epoch * num_epochs
    keywords = dict(choice.keywords)
    for name in keywords.keys() & set(DURATIONS):
        keywords[name] = _steps(keywords[name], steps_per_epoch, total, f"config.schedule.{name}")
    if "boundaries_and_scales" in keywords:
        keywords["boundaries_and_scales"] = {
            _steps(at, steps_per_epoch, total, "config.schedule.boundaries_and_scales"): scale
            for at, scale in dict(keywords["boundaries_and_scales"]).items()
        }
    return schedule(**binding.bind(schedule, keywords, "config.schedule", defaults=False))


def _steps(duration: Any, steps_per_epoch: int, total: int, where: str) -> int:
    """Steps from `0.25` (a fraction of the run) or `"3 epochs"`, at least 1 where not 0."""
    epochs = re.fullmatch(r"(\d+\.?\d*) epochs?", str(duration))
    if epochs:
        steps = float(epochs[1]) * steps_per_epoch
    elif isinstance(duration, (int, float)) and 0 <= duration <= 1:
        steps = duration * total
    else:
        raise UserError(
            f"{where}: give a fraction of the run from 0 to 1, or epochs as '3 epochs'; "
            f"got {duration!r}"
        )
    return max(1, round(steps)) if steps > 0 else 0


def _decay_kernels(decay: float, schedule: Schedule) -> optax.GradientTransformation:
    def kernels(params: Mapping[str, Any]) -> Any:
        return jax.tree.map(lambda p: p.ndim > 1, params)

    return optax.add_decayed_weights(lambda step: -decay * schedule(step), mask=kernels)
