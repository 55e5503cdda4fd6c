"""Builds optimizers and schedules, optax's or the user's own, from their names and keywords."""

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mnist_jax import binding
from mnist_jax.config import Choice, Config
from mnist_jax.errors import UserError
from mnist_jax.lifted import active, is_lifted

# Keywords of optax.schedules that are numbers of steps.
DURATIONS = ("transition_steps", "decay_steps", "warmup_steps", "transition_begin")
Schedule = Callable[[Any], Any]


def build(
    config: Config, steps_per_epoch: int
) -> tuple[optax.GradientTransformation, Schedule | None]:
    """Builds the configured optimizer, and its learning rate as a function of the step.

    The optimizer clips the gradient's global norm, updates, and decays the weights (decoupled, of
    kernels only: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), in this
    order. The learning rate is `None` if the configuration leaves it to the optimizer.

    Raises:
      UserError: a name or keyword is unknown, a value is rejected, or the user's own code returns
        something else than an optimizer or a schedule.
    """
    keywords = dict(config.optimizer.keywords)
    if config.schedule.name:
        if "learning_rate" in keywords:
            raise UserError(
                "config.optimizer.learning_rate: the rate comes from config.schedule; change that, "
                "or set --config.schedule.name= for a constant rate"
            )
        rate = _schedule(config.schedule, steps_per_epoch, config.num_epochs)
        keywords["learning_rate"] = rate
    optimizer = _find_optimizer(config.optimizer.name)
    keywords = _bind(optimizer, keywords, "config.optimizer")
    rate = keywords.get("learning_rate")
    schedule = rate if callable(rate) or rate is None else optax.constant_schedule(rate)
    built = _call(optimizer, config.optimizer.name, keywords, "config.optimizer")
    if not isinstance(built, optax.GradientTransformation):
        raise UserError(
            f"config.optimizer.name: {config.optimizer.name} returns {built!r}, but must return an "
            f"optax.GradientTransformation"
        )
    parts = [built]
    if active(config.clip_norm):
        parts.insert(0, optax.clip_by_global_norm(_limit(config.clip_norm)))
    if active(config.weight_decay):
        if schedule is None:
            raise UserError("config.weight_decay: needs config.optimizer.learning_rate")
        parts.append(_decay_kernels(config.weight_decay, schedule))
    return optax.chain(*parts), schedule


def fractions(config: Config) -> list[str]:
    """Lists the durations of the schedule that are fractions of the run, with their fields."""
    keywords = dict(config.schedule.keywords) if config.schedule.name else {}
    found = [
        f"config.schedule.{name} = {value}"
        for name, value in keywords.items()
        if name in DURATIONS and _is_fraction(value)
    ]
    return found + [
        f"config.schedule.boundaries_and_scales at {at}"
        for at in dict(keywords.get("boundaries_and_scales", {}))
        if _is_fraction(_number(at))
    ]


def _is_fraction(duration: Any) -> bool:
    return isinstance(duration, (int, float)) and 0 < duration <= 1


def _limit(clip_norm: Any) -> Any:
    """Returns the norm to clip to; infinite for a lifted 0, which means no clipping."""
    return jnp.where(clip_norm > 0.0, clip_norm, jnp.inf) if is_lifted(clip_norm) else clip_norm


def _find_optimizer(name: str) -> Callable[..., optax.GradientTransformation]:
    known = {n: getattr(optax, n) for n in dir(optax) if _is_optimizer(n)}
    del known["lbfgs"]  # its line search re-evaluates the loss, which a step cannot do
    return binding.find(name, known, "config.optimizer.name")


def _is_optimizer(name: str) -> bool:
    value = getattr(optax, name)
    if name.startswith(("scale_by_", "_")) or not isinstance(value, (FunctionType, partial)):
        return False
    return "learning_rate" in inspect.signature(value).parameters


def _schedule(choice: Choice, steps_per_epoch: int, num_epochs: int) -> Schedule:
    known = {n: f for n, f in vars(optax.schedules).items() if _is_schedule(n, f)}
    schedule = binding.find(choice.name, known, "config.schedule.name")
    total = steps_per_epoch * num_epochs
    keywords = dict(choice.keywords)
    for name in keywords.keys() & set(DURATIONS):
        keywords[name] = _steps(keywords[name], steps_per_epoch, total, f"config.schedule.{name}")
    if "boundaries_and_scales" in keywords:
        keywords["boundaries_and_scales"] = {
            _steps(
                _number(at), steps_per_epoch, total, "config.schedule.boundaries_and_scales"
            ): scale
            for at, scale in dict(keywords["boundaries_and_scales"]).items()
        }
    keywords = _bind(schedule, keywords, "config.schedule")
    built = _call(schedule, choice.name, keywords, "config.schedule")
    if not callable(built):
        raise UserError(
            f"config.schedule.name: {choice.name} returns {built!r}, but must return a function "
            f"from the step to the learning rate"
        )
    return built


def _is_schedule(name: str, value: Any) -> bool:
    # sgdr_schedule takes lists of keywords, whose durations would not be converted.
    if not isinstance(value, FunctionType) or name == "sgdr_schedule":
        return False
    return name.endswith("_schedule") or name == "exponential_decay"


def _bind(function: Callable[..., Any], keywords: dict[str, Any], where: str) -> dict[str, Any]:
    """Binds keywords like `binding.bind`; refuses strings where none are expected."""
    bound = binding.bind(function, keywords, where, defaults=False)
    annotations = {n: p.annotation for n, p in inspect.signature(function).parameters.items()}
    annotations |= binding.hints(function)
    for name, value in bound.items():
        if isinstance(value, str) and not _takes_text(annotations.get(name, Any)):
            raise UserError(f"{where}.{name}: expected a number, got {value!r}")
    return bound


def _takes_text(annotation: Any) -> bool:
    """True if an annotation allows a string, or allows anything, as a missing one does."""
    if typing.get_origin(annotation) is typing.Literal:
        return True
    return annotation in (str, Any, inspect.Parameter.empty) or str in typing.get_args(annotation)


def _call(function: Callable[..., Any], name: str, keywords: dict[str, Any], where: str) -> Any:
    try:
        return function(**keywords)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {name} rejects these values: {error}") from error


def _number(text: Any) -> Any:
    """Converts `text` to a number if possible; the keys of a dict in a JSON file are strings."""
    try:
        return float(text)
    except ValueError:
        return text


def _steps(duration: Any, steps_per_epoch: int, total: int, where: str) -> int:
    """Converts `0.25` (a fraction of the run) or `"3 epochs"` to steps, at least 1 unless 0."""
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
