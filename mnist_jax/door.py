"""Calls the functions of the public API with JAX's settings as this project needs them."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mnist_jax import settings, streams

P = ParamSpec("P")
T = TypeVar("T")


def door(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: calls the function with JAX's settings as this project needs them."""

    @functools.wraps(function)
    def inside(*arguments: P.args, **keywords: P.kwargs) -> T:
        for stream in (sys.stdout, sys.stderr):
            streams.replace_unknown(stream)
        with settings.own():
            return function(*arguments, **keywords)

    return inside
