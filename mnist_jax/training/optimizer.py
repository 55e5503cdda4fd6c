"""Builds optimizers, optax's or the user's own, from their names and keywords."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mnist_jax import binding
from mnist_jax.binding import shown
from mnist_jax.config import BELOW_1, MOST, Choice, Config
from mnist_jax.errors import UserError
from mnist_jax.lifted import active, is_lifted
from mnist_jax.training import schedule
from mnist_jax.training.keywords import call, checked
from mnist_jax.training.schedule import Schedule
from mnist_jax.training.typed_keys import as_data

# Limits of the numbers that optax's optimizers take, by keyword, where optax does not check them.
POSITIVE, UNIT = (0.0, math.inf), (0.0, BELOW_1)
LIMITS = {
    **dict.fromkeys(("learning_rate", "eps", "eps_root", "weight_decay", "eta"), POSITIVE),
    **dict.fromkeys(("weight_decay_rate", "initial_accumulator_value"), POSITIVE),
    **dict.fromkeys(("initial_scale", "trust_coefficient", "clipping_threshold"), POSITIVE),
    **dict.fromkeys(("b1", "b2", "b3", "momentum", "decay", "decay_rate", "rho"), UNIT),
}


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
    update, rate = _update(config.optimizer, _with_schedule(config, steps_per_epoch))
    parts = [*_clipping(config.clip_norm), update, *_decay(config.weight_decay, rate)]
    return as_data(optax.chain(*parts)), rate


def _with_schedule(config: Config, steps_per_epoch: int) -> dict[str, Any]:
    """Returns the optimizer's keywords; the schedule, if there is one, is its learning rate."""
    keywords = dict(config.optimizer.keywords)
    if config.schedule.name:
        if "learning_rate" in keywords:
            raise UserError(
                "config.optimizer.learning_rate: the rate comes from config.schedule; leave it "
                f"out, as in config.optimizer = {config.optimizer.name!r}, or set "
                "--config.schedule.name= for a constant rate"
            )
        keywords["learning_rate"] = schedule.build(config, steps_per_epoch)
    return keywords


def _update(
    choice: Choice, keywords: dict[str, Any]
) -> tuple[optax.GradientTransformation, Schedule | None]:
    """Returns the optimizer of this name, and its learning rate as a function of the step."""
    function = binding.find(choice.name, optimizers(), "config.optimizer.name")
    optax_own = ":" not in choice.name
    keywords = checked(function, keywords, "config.optimizer", LIMITS if optax_own else {})
    if optax_own and "key" in binding.parameters(function, "config.optimizer.name"):
        given = [keywords.pop("seed", None), keywords.pop("key", None)]  # optax warns without one
        keywords["key"] = next((key for key in given if key is not None), 0)
    built = call(function, choice.name, keywords, "config.optimizer")
    if not isinstance(built, optax.GradientTransformation):
        raise UserError(
            f"config.optimizer.name: {choice.name} returns {shown(built)}, but must return an "
            f"optax.GradientTransformation"
        )
    rate = keywords.get("learning_rate")
    return built, rate if callable(rate) or rate is None else optax.constant_schedule(rate)


def _clipping(norm: Any) -> list[optax.GradientTransformation]:
    """Returns what limits the gradient's global norm; a lifted 0 means no clipping."""
    if not active(norm):
        return []
    limit = jnp.where(norm > 0.0, norm, jnp.inf) if is_lifted(norm) else norm
    return [optax.clip_by_global_norm(limit)]


def _decay(decay: Any, rate: Schedule | None) -> list[optax.GradientTransformation]:
    """Returns what decays the kernels by `decay` times the learning rate at each step."""
    if not active(decay):
        return []
    if rate is None:
        raise UserError("config.weight_decay: needs config.optimizer.learning_rate")
    return [optax.add_decayed_weights(lambda step: -decay * rate(step), mask=_kernels)]


def _kernels(params: Mapping[str, Any]) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


@functools.cache
def optimizers() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """Returns optax's optimizers by name."""
    known = {n: getattr(optax, n) for n in dir(optax) if _is_optimizer(n)}
    known.pop("lbfgs", None)  # its line search re-evaluates the loss, which a step cannot do
    return known


def _is_optimizer(name: str) -> bool:
    value = getattr(optax, name)
    if name.startswith(("scale_by_", "_")) or not isinstance(value, (FunctionType, partial)):
        return False
    return "learning_rate" in inspect.signature(value).parameters
