"""Checks the keywords of optax's functions, or of the user's own, and calls them."""

import inspect
import typing
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from mnist_jax import binding, failures
from mnist_jax.binding import shown
from mnist_jax.config import DTYPES
from mnist_jax.errors import UserError
from mnist_jax.lifted import is_lifted


def checked(
    function: Callable[..., Any],
    keywords: dict[str, Any],
    where: str,
    limits: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """Binds keywords like `binding.bind`, and checks those that annotations do not describe.

    Args:
      function: optax's, or the user's own.
      keywords: from the configuration.
      where: the field that names the function, for the message.
      limits: lowest and highest value by keyword; empty for the user's own function.

    Raises:
      UserError: a keyword is unknown, missing, or has an invalid value.
    """
    bound = binding.bind(function, keywords, where, defaults=False)
    parameters = binding.parameters(function, where)
    annotations = {n: p.annotation for n, p in parameters.items()} | binding.hints(function)
    for name, value in bound.items():
        if callable(value) or is_lifted(value):
            continue
        number: Any = value if is_number(value) else None
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
    return is_number(default) or (name in limits and required)


def _dtype(value: Any, where: str) -> Any:
    if value not in DTYPES:
        raise UserError(f"{where}: {shown(value)} is none of {', '.join(DTYPES)}")
    return jnp.dtype(value)


def _takes_text(annotation: Any) -> bool:
    """True if an annotation allows a string, or allows anything, as a missing one does."""
    if typing.get_origin(annotation) is typing.Literal:
        return True
    return annotation in (str, Any, inspect.Parameter.empty) or str in typing.get_args(annotation)


def is_number(value: Any) -> bool:
    """True for an integer or a float; False for a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def call(function: Callable[..., Any], name: str, keywords: dict[str, Any], where: str) -> Any:
    """Calls a function with its keywords.

    Args:
      function: optax's, or the user's own.
      name: its name in the configuration.
      keywords: as `checked` returns them.
      where: the field that names the function, for the message.

    Raises:
      UserError: the function rejects the values.
    """
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
        return failures.describe(error)
    line = failures.place(error)
    return f"{error} ({line})" if line else str(error)
