"""Optax's optimizers and schedules, by their own names and keywords."""

import inspect
import re
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
    """The configured optimizer, and the learning rate at a step (`None`: the optimizer's own).

    In order: clip the gradient's global norm, the optimizer itself, weight decay (decoupled, on
    kernels only: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).

    Raises:
      UserError: a name, keyword or value that optax does not take.
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
    parts = [_call(optimizer, keywords, "config.optimizer")]
    if active(config.clip_norm):
        parts.insert(0, optax.clip_by_global_norm(_limit(config.clip_norm)))
    if active(config.weight_decay):
        if schedule is None:
            raise UserError("config.weight_decay: needs config.optimizer.learning_rate")
        parts.append(_decay_kernels(config.weight_decay, schedule))
    return optax.chain(*parts), schedule


def fractions(config: Config) -> list[str]:
    """The durations of the schedule that are fractions of the run, by their fields."""
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
    """A lifted 0 means no clipping for that member."""
    return jnp.where(clip_norm > 0.0, clip_norm, jnp.inf) if is_lifted(clip_norm) else clip_norm


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
    return _call(schedule, _bind(schedule, keywords, "config.schedule"), "config.schedule")


def _is_schedule(name: str, value: Any) -> bool:
    # sgdr_schedule takes lists of keywords, in which no duration would be converted.
    if not isinstance(value, FunctionType) or name == "sgdr_schedule":
        return False
    return name.endswith("_schedule") or name == "exponential_decay"


def _bind(function: Callable[..., Any], keywords: dict[str, Any], where: str) -> dict[str, Any]:
    """`binding.bind`, and words refused where optax's annotations do not ask for them."""
    bound = binding.bind(function, keywords, where, defaults=False)
    parameters = inspect.signature(function).parameters
    for name, value in bound.items():
        if isinstance(value, str) and "str" not in str(parameters[name].annotation):
            raise UserError(f"{where}.{name}: expected a number, got {value!r}")
    return bound


def _call(function: Callable[..., Any], keywords: dict[str, Any], where: str) -> Any:
    try:
        return function(**keywords)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: optax refuses these values: {error}") from error


def _number(text: Any) -> Any:
    """`text` as the number it may be: the keys of a dict come as words from a file."""
    try:
        return float(text)
    except ValueError:
        return text


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
