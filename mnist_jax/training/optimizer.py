"""Builds optimizers and schedules, optax's or the user's own, from their names and keywords."""

import functools
import inspect
import math
import re
import typing
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mnist_jax import binding, users_code
from mnist_jax.binding import shown
from mnist_jax.config import BELOW_1, DTYPES, MOST, Choice, Config
from mnist_jax.errors import UserError
from mnist_jax.lifted import active, is_lifted
from mnist_jax.training.typed_keys import as_data

# Keywords of optax.schedules that are numbers of steps.
DURATIONS = ("transition_steps", "decay_steps", "warmup_steps", "transition_begin")
# Limits of the numbers that optax's functions take, by keyword, where it does not check them.
POSITIVE, UNIT = (0.0, math.inf), (0.0, BELOW_1)
OPTIMIZER_LIMITS = {
    **dict.fromkeys(("learning_rate", "eps", "eps_root", "weight_decay", "eta"), POSITIVE),
    **dict.fromkeys(("weight_decay_rate", "initial_accumulator_value"), POSITIVE),
    **dict.fromkeys(("initial_scale", "trust_coefficient", "clipping_threshold"), POSITIVE),
    **dict.fromkeys(("b1", "b2", "b3", "momentum", "decay", "decay_rate", "rho"), UNIT),
}
SCHEDULE_LIMITS = {
    **dict.fromkeys(("init_value", "peak_value", "end_value", "value", "decay_rate"), POSITIVE),
    **dict.fromkeys(("alpha", "pct_start", "pct_final"), (0.0, 1.0)),
}
Schedule = Callable[[Any], Any]


def build(
    config: Config, steps_per_epoch: int
) -> tuple[optax.GradientTransformation, Schedule | None]:
    """Builds the configured optimizer, and its learning rate as a function of the step.

    The optimizer clips the gradient's global norm, updates, and decays the weights (decoupled, of
    kernels only: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), in this
    order. The learning rate is `None` if the configuration leaves it to the optimizer.

    Raises:
      UserError: a name or keyword is unknown, a value is rejected, there are too many steps, or the
        user's own code returns something else than an optimizer or a schedule.
    """
    if steps_per_epoch * config.num_epochs > MOST:
        raise UserError(
            f"config.num_epochs: {config.num_epochs:,} epochs of {steps_per_epoch:,} steps are "
            f"more steps than a run can count ({MOST:,})"
        )
    keywords = dict(config.optimizer.keywords)
    if config.schedule.name:
        if "learning_rate" in keywords:
            raise UserError(
                "config.optimizer.learning_rate: the rate comes from config.schedule; change that, "
                "or set --config.schedule.name= for a constant rate"
            )
        rate = _schedule(config.schedule, steps_per_epoch, config.num_epochs)
        keywords["learning_rate"] = rate
    optimizer = binding.find(config.optimizer.name, optimizers(), "config.optimizer.name")
    limits = OPTIMIZER_LIMITS if ":" not in config.optimizer.name else {}
    keywords = _bind(optimizer, keywords, "config.optimizer", limits)
    if limits and "key" in binding.parameters(optimizer, "config.optimizer.name"):
        given = [keywords.pop("seed", None), keywords.pop("key", None)]  # optax warns without one
        keywords["key"] = next((key for key in given if key is not None), 0)
    rate = keywords.get("learning_rate")
    schedule = rate if callable(rate) or rate is None else optax.constant_schedule(rate)
    built = _call(optimizer, config.optimizer.name, keywords, "config.optimizer")
    if not isinstance(built, optax.GradientTransformation):
        raise UserError(
            f"config.optimizer.name: {config.optimizer.name} returns {shown(built)}, but must "
            f"return an optax.GradientTransformation"
        )
    parts = [built]
    if active(config.clip_norm):
        parts.insert(0, optax.clip_by_global_norm(_limit(config.clip_norm)))
    if active(config.weight_decay):
        if schedule is None:
            raise UserError("config.weight_decay: needs config.optimizer.learning_rate")
        parts.append(_decay_kernels(config.weight_decay, schedule))
    return as_data(optax.chain(*parts)), schedule


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
        for at in _boundaries(keywords)
        if _is_fraction(_number(at))
    ]


def _is_fraction(duration: Any) -> bool:
    return isinstance(duration, (int, float)) and 0 < duration <= 1


def _limit(clip_norm: Any) -> Any:
    """Returns the norm to clip to; infinite for a lifted 0, which means no clipping."""
    return jnp.where(clip_norm > 0.0, clip_norm, jnp.inf) if is_lifted(clip_norm) else clip_norm


@functools.cache
def optimizers() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """Returns optax's optimizers by name."""
    known = {n: getattr(optax, n) for n in dir(optax) if _is_optimizer(n)}
    known.pop("lbfgs", None)  # its line search re-evaluates the loss, which a step cannot do
    return known


@functools.cache
def schedules() -> dict[str, Callable[..., Schedule]]:
    """Returns optax's schedules by name."""
    return {n: f for n, f in vars(optax.schedules).items() if _is_schedule(n, f)}


def _is_optimizer(name: str) -> bool:
    value = getattr(optax, name)
    if name.startswith(("scale_by_", "_")) or not isinstance(value, (FunctionType, partial)):
        return False
    return "learning_rate" in inspect.signature(value).parameters


def _schedule(choice: Choice, steps_per_epoch: int, num_epochs: int) -> Schedule:
    schedule = binding.find(choice.name, schedules(), "config.schedule.name")
    total = steps_per_epoch * num_epochs
    keywords = dict(choice.keywords)
    for name in keywords.keys() & set(DURATIONS):
        keywords[name] = _steps(keywords[name], steps_per_epoch, total, f"config.schedule.{name}")
    if scales := _boundaries(keywords):
        where = "config.schedule.boundaries_and_scales"
        at = {name: _steps(_number(name), steps_per_epoch, total, where) for name in scales}
        if len(set(at.values())) < len(at):
            raise UserError(f"{where}: two of {', '.join(at)} are the same step of the run")
        keywords["boundaries_and_scales"] = {at[name]: scale for name, scale in scales.items()}
    limits = SCHEDULE_LIMITS if ":" not in choice.name else {}
    keywords = _bind(schedule, keywords, "config.schedule", limits)
    built = _call(schedule, choice.name, keywords, "config.schedule")
    if not callable(built):
        raise UserError(
            f"config.schedule.name: {choice.name} returns {shown(built)}, but must return a "
            f"function from the step to the learning rate"
        )
    return built


def _is_schedule(name: str, value: Any) -> bool:
    # sgdr_schedule takes lists of keywords, whose durations would not be converted.
    if not isinstance(value, FunctionType) or name == "sgdr_schedule":
        return False
    return name.endswith("_schedule") or name == "exponential_decay"


def _boundaries(keywords: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the scales of a schedule by the times at which they apply; empty if it has none."""
    scales = keywords.get("boundaries_and_scales") or {}
    if not isinstance(scales, Mapping) or not all(map(_is_scale, scales.values())):
        raise UserError(
            f"config.schedule.boundaries_and_scales: give a dict from times to factors, such as "
            f"{{'2 epochs': 0.1}}; got {shown(scales)}"
        )
    return scales


def _is_scale(value: Any) -> bool:
    return is_lifted(value) or (_is_number(value) and value >= 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _bind(
    function: Callable[..., Any],
    keywords: dict[str, Any],
    where: str,
    limits: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """Binds keywords like `binding.bind`, and checks those that annotations do not describe."""
    bound = binding.bind(function, keywords, where, defaults=False)
    parameters = binding.parameters(function, where)
    annotations = {n: p.annotation for n, p in parameters.items()} | binding.hints(function)
    for name, value in bound.items():
        if callable(value) or is_lifted(value):
            continue
        number: Any = value if _is_number(value) else None
        its = parameters.get(name)
        default = its.default if its is not None else None
        if "dtype" in name and value is not None:
            bound[name] = _dtype(value, f"{where}.{name}")
        elif isinstance(value, str) and not _takes_text(annotations.get(name, Any)):
            raise UserError(f"{where}.{name}: expected a number, got {shown(value)}")
        elif isinstance(default, bool) and not isinstance(value, bool):
            raise UserError(f"{where}.{name}: expected True or False, got {shown(value)}")
        elif limits and name == "key" and type(value) is not int and value is not None:
            raise UserError(f"{where}.{name}: expected int, got {shown(value)}")
        elif number is None and _needs_number(name, value, default, limits):
            raise UserError(f"{where}.{name}: expected a number, got {shown(value)}")
        elif name in limits and number is not None:
            low, high = limits[name]
            if not low <= number <= high:
                raise UserError(f"{where}.{name}: must be from {low} to {high}, got {number}")
    return bound


def _needs_number(name: str, value: Any, default: Any, limits: Mapping[str, Any]) -> bool:
    """True if a keyword must be a number: by its default, or as optax means it.

    In optax (`limits`), None stands for a default, and only boundaries and masks have parts.
    """
    if name == "learning_rate":
        return default is not None or value is not None
    if isinstance(value, tuple | Mapping) and limits:
        return name != "boundaries_and_scales" and "mask" not in name
    required = default is inspect.Parameter.empty or value is not None
    return _is_number(default) or (name in limits and required)


def _dtype(value: Any, where: str) -> Any:
    if value not in DTYPES:
        raise UserError(f"{where}: {shown(value)} is none of {', '.join(DTYPES)}")
    return jnp.dtype(value)


def _takes_text(annotation: Any) -> bool:
    """True if an annotation allows a string, or allows anything, as a missing one does."""
    if typing.get_origin(annotation) is typing.Literal:
        return True
    return annotation in (str, Any, inspect.Parameter.empty) or str in typing.get_args(annotation)


def _call(function: Callable[..., Any], name: str, keywords: dict[str, Any], where: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # optax keeps what it has renamed
            return function(**keywords)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{where}: {name} rejects these values: {_why(error)}") from error


def _why(error: BaseException) -> str:
    if not isinstance(error, (TypeError, ValueError)):
        return users_code.said(error)
    line = users_code.place(error)
    return f"{error} ({line})" if line else str(error)


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
    elif _is_number(duration) and 0 <= duration <= 1:
        steps = duration * total
    else:
        raise UserError(
            f"{where}: give a fraction of the run from 0 to 1, or epochs as '3 epochs'; "
            f"got {shown(duration)}"
        )
    if steps > MOST:
        raise UserError(f"{where}: {duration} are more steps than a run can count ({MOST:,})")
    return max(1, round(steps)) if steps > 0 else 0


def _decay_kernels(decay: float, schedule: Schedule) -> optax.GradientTransformation:
    def kernels(params: Mapping[str, Any]) -> Any:
        return jax.tree.map(lambda p: p.ndim > 1, params)

    return optax.add_decayed_weights(lambda step: -decay * schedule(step), mask=kernels)
