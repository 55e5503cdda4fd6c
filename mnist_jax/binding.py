"""Turns names and plain values from a configuration into typed keyword arguments.

Everything that a configuration can name (a section, a model, an optimizer, a schedule) is a Python
callable. Its signature is the schema: its parameters are the fields, its annotations the types of
the fields, and its defaults the default values of the fields.
"""

import contextlib
import dataclasses
import difflib
import functools
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from mnist_jax.errors import UserError
from mnist_jax.lifted import is_lifted


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the end of an error message: a similar known name, or else all known names.

    For example `; did you mean 'mlp'?` or `; known: cnn, mlp`.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(known)) or 'none'}"


def find(name: str, known: Mapping[str, Any], where: str) -> Any:
    """Returns the object called `name`: one of `known`, or the user's own `package.module:Name`.

    Searches for the user's module on Python's import path and in the current folder.

    Args:
      name: a key of `known`, or `package.module:Name`.
      known: the project's own objects, by name.
      where: path of the field that holds `name`, for messages.

    Raises:
      UserError: there is no such name, module or attribute.
    """
    if ":" not in name:
        if name not in known:
            raise UserError(f"{where}: there is no {name!r}{did_you_mean(name, known)}")
        return known[name]
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise UserError(f"{where}: {name!r} is not of the form 'package.module:Name'")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # an import inside the user's module failed: keep its traceback
        raise UserError(
            f"{where}: cannot import {module_name!r} (from {name!r}); "
            f"run in the folder that holds it, or install it"
        ) from error
    if not hasattr(module, attribute):
        raise UserError(
            f"{where}: {module_name} has no {attribute!r}{did_you_mean(attribute, vars(module))}"
        )
    return getattr(module, attribute)


def bind(
    target: Callable[..., Any],
    values: Mapping[str, Any],
    where: str,
    *,
    given: Collection[str] = (),
    defaults: bool = True,
) -> dict[str, Any]:
    """Converts plain values to keyword arguments for `target`, and checks them by its signature.

    Args:
      target: a class or function; parameters whose type is a dataclass are bound recursively.
      values: plain values from a configuration file or the command line.
      where: the configuration's path to `values`, for messages.
      given: parameters that the program passes itself and that a configuration may not set.
      defaults: True to include the defaults of parameters that `values` omits.

    Raises:
      UserError: a name is unknown or missing, or a value has the wrong type.
    """
    # Use the signature of __init__: a metaclass such as NNX's hides it from inspect.signature.
    function = target.__init__ if inspect.isclass(target) else target
    signature = dict(inspect.signature(function).parameters)
    if inspect.isclass(target):
        del signature[next(iter(signature))]  # self
    hints = _hints(function)
    kinds = {p.kind for p in signature.values()}
    fields = {
        n: p
        for n, p in signature.items()
        if n not in given and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    bound = {}
    for name, value in values.items():
        if name not in fields and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise UserError(f"{where}: there is no field {name!r}{did_you_mean(name, fields)}")
        bound[name] = convert(value, hints.get(name, Any), f"{where}.{name}")
    missing = [n for n, p in fields.items() if n not in bound and p.default is p.empty]
    if missing:
        raise UserError(f"{where}: {', '.join(missing)} must be given")
    if defaults:
        bound |= {n: p.default for n, p in fields.items() if n not in bound}
    return bound


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns the annotations; none if only a type checker can resolve them, as in optax."""
    if isinstance(function, functools.partial):
        function = function.func
    try:
        return typing.get_type_hints(function)
    except NameError:
        return {}


def convert(value: Any, hint: Any, where: str) -> Any:
    """Converts `value` to the type `hint`; accepts an int for a float and a list for a tuple.

    Checks the types that configurations use: int, float, bool, str, dataclasses, and tuples and
    unions of these. A value with any other hint is returned as it is.

    Args:
      value: a plain value.
      hint: a type annotation.
      where: path of the field that holds `value`, for messages.

    Raises:
      UserError: `value` has another type.
    """
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _convert_section(value, hint, where)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _convert_union(value, hint, where)
    if typing.get_origin(hint) is tuple or hint is tuple:
        return _convert_tuple(value, hint, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and is_lifted(value):
        return value
    if hint in (bool, int, float, str):
        if type(value) is not hint:
            raise UserError(f"{where}: expected {_describe(hint)}, got {value!r}")
        return value
    return value


def _convert_section(value: Any, hint: type, where: str) -> Any:
    if isinstance(value, hint):
        return value
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: is a section; set its fields, such as {where}.name")
    return hint(**bind(hint, value, where))


def _convert_union(value: Any, hint: Any, where: str) -> Any:
    options = typing.get_args(hint)
    if any(
        o not in (bool, int, float, str, type(None), tuple) and not typing.get_origin(o)
        for o in options
    ):
        return value  # a library's own union, such as optax's ScalarOrSchedule
    if value is None and type(None) in options:
        return None
    for option in options:
        with contextlib.suppress(UserError):
            if option is not type(None):
                return convert(value, option, where)
    raise UserError(f"{where}: expected {_describe(hint)}, got {value!r}")


def _convert_tuple(value: Any, hint: Any, where: str) -> tuple:
    kinds = typing.get_args(hint) or (Any, ...)
    if isinstance(value, str) and kinds[0] is str:
        value = tuple(filter(None, value.split(",")))  # from the command line
    items = (value,) if isinstance(value, (bool, int, float, str)) else value
    if not isinstance(items, (list, tuple)):
        raise UserError(f"{where}: expected {_describe(hint)}, got {value!r}")
    if kinds[-1] is ...:
        kinds = kinds[:1] * len(items)
    if len(kinds) != len(items):
        raise UserError(f"{where}: expected {len(kinds)} values, got {value!r}")
    pairs = zip(items, kinds, strict=True)
    return tuple(convert(item, kind, f"{where}[{i}]") for i, (item, kind) in enumerate(pairs))


def _describe(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint)
