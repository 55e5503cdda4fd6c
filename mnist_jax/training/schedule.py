"""Builds schedules of the learning rate, optax's or the user's own.

Durations are fractions of the run or epochs, so that a schedule fits a run of any length.
"""

import functools
import math
import re
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import optax

from mnist_jax import binding
from mnist_jax.binding import shown
from mnist_jax.config import MOST, Config
from mnist_jax.errors import UserError
from mnist_jax.lifted import is_lifted
from mnist_jax.training.keywords import call, checked, is_number

# Keywords of optax.schedules that are numbers of steps.
DURATIONS = ("transition_steps", "decay_steps", "warmup_steps", "transition_begin")
# Limits of the numbers that optax's schedules take, by keyword, where optax does not check them.
LIMITS = {
    **dict.fromkeys(
        ("init_value", "peak_value", "end_value", "value", "decay_rate"), (0.0, math.inf)
    ),
    **dict.fromkeys(("alpha", "pct_start", "pct_final"), (0.0, 1.0)),
}
Schedule = Callable[[Any], Any]


def build(config: Config, steps_per_epoch: int) -> Schedule:
    """Returns the configured schedule: a function from the step to the learning rate.

    Raises:
      UserError: its name or a keyword is unknown, a value is rejected, or the user's own code
        returns something else than a schedule.
    """
    choice = config.schedule
    function = binding.find(choice.name, schedules(), "config.schedule.name")
    keywords = _in_steps(choice.keywords, steps_per_epoch, config.num_epochs)
    limits = LIMITS if ":" not in choice.name else {}
    keywords = checked(function, keywords, "config.schedule", limits)
    built = call(function, choice.name, keywords, "config.schedule")
    if not callable(built):
        raise UserError(
            f"config.schedule.name: {choice.name} returns {shown(built)}, but must return a "
            f"function from the step to the learning rate"
        )
    return built


def _in_steps(keywords: Mapping[str, Any], steps_per_epoch: int, num_epochs: int) -> dict[str, Any]:
    """Returns the keywords of a schedule, with all durations in steps."""
    total = steps_per_epoch * num_epochs
    found = dict(keywords)
    for name in found.keys() & set(DURATIONS):
        found[name] = _steps(found[name], steps_per_epoch, total, f"config.schedule.{name}")
    if scales := _boundaries(found):
        where = "config.schedule.boundaries_and_scales"
        at = {name: _steps(_number(name), steps_per_epoch, total, where) for name in scales}
        if len(set(at.values())) < len(at):
            raise UserError(f"{where}: two of {', '.join(at)} are the same step of the run")
        found["boundaries_and_scales"] = {at[name]: scale for name, scale in scales.items()}
    return found


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


@functools.cache
def schedules() -> dict[str, Callable[..., Schedule]]:
    """Returns optax's schedules by name."""
    return {n: f for n, f in vars(optax.schedules).items() if _is_schedule(n, f)}


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
    return is_lifted(value) or (is_number(value) and value >= 0)


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
    elif is_number(duration) and 0 <= duration <= 1:
        steps = duration * total
    else:
        raise UserError(
            f"{where}: give a fraction of the run from 0 to 1, or epochs as '3 epochs'; "
            f"got {shown(duration)}"
        )
    if steps > MOST:
        raise UserError(f"{where}: {duration} are more steps than a run can count ({MOST:,})")
    return max(1, round(steps)) if steps > 0 else 0
