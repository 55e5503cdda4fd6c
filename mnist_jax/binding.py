"""Turns names and plain values from a configuration into typed keyword arguments.

Everything that a configuration can name (a section, a model, a loss, an optimizer) is a Python
callable. Its signature is the schema: its parameters are the fields, its annotations the types and
ranges of the fields, and its defaults the default values of the fields.
"""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import math
import os
import re
import reprlib
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from mnist_jax import failures, users_code
from mnist_jax.errors import UserError
from mnist_jax.lifted import is_lifted

LARGEST = 3.4e38  # of float32, in which training computes
LARGEST_INT = 2**32 - 1  # of the seed; other integers have limits of their own
DEEPEST = 20  # levels of lists and dicts within each other
LONGEST = 120  # maximum number of characters of a value in a message
QUOTES = "'\""
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Choice:
    """A model, a loss, an optimizer and so on: its name, and its keyword arguments."""

    name: str
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns the name and the keywords as one dict, as a configuration file writes them."""
        return {"name": self.name, **self.keywords}

    def short(self) -> str | dict[str, Any]:
        """Returns the name alone if there are no keywords, else the same as `to_dict`."""
        return self.to_dict() if self.keywords else self.name


@dataclass(frozen=True)
class Range:
    """Limits of a number, both included, as in `Annotated[float, Range(0.0, 1.0)]`."""

    low: float
    high: float = math.inf


def shown(value: Any) -> str:
    """Returns the `repr` of a value for a message, shortened if it is long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = LONGEST
    short.maxlist = short.maxtuple = short.maxdict = 10
    return re.sub(r"\s*\n\s*", " ", short.repr(value))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the end of an error message: a similar known name, or else all known names.

    For example `; did you mean 'mlp'?` or `; known: cnn, mlp`.
    """
    known = list(known)
    swapped = [its for its in known if sorted(its.casefold()) == sorted(name.casefold())]
    near = swapped or difflib.get_close_matches(name[:LONGEST], known, n=1)
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
            raise UserError(f"{where}: there is no {shown(name)}{did_you_mean(name, known)}")
        return known[name]
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise UserError(f"{where}: {shown(name)} is not of the form 'package.module:Name'")
    module = users_code.import_named(module_name, where)
    with failures.reported(f"{where}: cannot read {name!r}"):
        if hasattr(module, attribute):
            return getattr(module, attribute)
    public = [its for its in vars(module) if not its.startswith("_")]
    raise UserError(f"{where}: {module_name} has no {attribute!r}{did_you_mean(attribute, public)}")


def parameters(function: Callable[..., Any], where: str) -> dict[str, inspect.Parameter]:
    """Returns the parameters of a function, or those of a class' constructor without `self`.

    Raises:
      UserError: Python does not know them, as for some functions that are written in C.
    """
    # The signature of __init__: a metaclass such as NNX's hides it from inspect.signature.
    target = function.__init__ if inspect.isclass(function) else function
    try:
        found = dict(inspect.signature(target).parameters)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}: {shown(function)} does not say which arguments it takes; call it from a "
            f"function of your own, and name that"
        ) from error
    if inspect.isclass(function) and found:
        del found[next(iter(found))]
    return found


def find_function(
    choice: Choice,
    known: Mapping[str, Any],
    where: str,
    *,
    arguments: int,
    given: Collection[str] = (),
) -> Callable[..., Any]:
    """Returns the function that `choice` names, with the keywords of `choice` bound to it.

    Args:
      choice: the function's name and keywords.
      known: the project's own functions, by name.
      where: path of the field that holds `choice`, for messages.
      arguments: the number of arguments that the program passes by position.
      given: the arguments that the program passes by keyword.

    Raises:
      UserError: there is no such function, or it does not take these arguments.
    """
    function = find(choice.name, known, where)
    if not callable(function):
        raise UserError(f"{where}: {choice.name!r} is not a function, but {shown(function)}")
    positional = by_position(function, choice.name, where, arguments)
    passed = (*positional[:arguments], *given)
    keywords = bind(function, choice.keywords, where, given=passed, defaults=False)
    return functools.partial(function, **keywords) if keywords else function


def by_position(function: Callable[..., Any], name: str, where: str, count: int) -> list[str]:
    """Returns the names of the parameters by position; refuses a function with too few."""
    taken = parameters(function, where).values()
    names = [its.name for its in taken if its.kind in POSITIONAL]
    if len(names) < count and not any(its.kind is its.VAR_POSITIONAL for its in taken):
        raise UserError(
            f"{where}: {name} is called with {count} argument{'s'[: count != 1]} by position, but "
            f"takes ({', '.join(names)})"
        )
    return names


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
    signature = parameters(target, where)
    annotations = hints(target.__init__ if inspect.isclass(target) else target)
    kinds = {p.kind for p in signature.values()}
    fields = {
        n: p
        for n, p in signature.items()
        if n not in given and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    bound = {}
    for name, value in values.items():
        if name not in fields and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise UserError(f"{where}: there is no field {shown(name)}{did_you_mean(name, fields)}")
        bound[name] = convert(value, annotations.get(name, Any), f"{where}.{name}")
    missing = [n for n, p in fields.items() if n not in bound and p.default is p.empty]
    if missing:
        raise UserError(f"{where}: {', '.join(missing)} must be given")
    if defaults:
        bound |= {n: p.default for n, p in fields.items() if n not in bound}
    return bound


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns the annotations by name; none if only a type checker can resolve them."""
    if isinstance(function, functools.partial):
        function = function.func
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # an annotation is any code; TypeError: an object called like a function
        return {}


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """Returns a value of a configuration as Python's own numbers, strings, tuples and dicts.

    Takes NumPy's and JAX's numbers and arrays, the names of their types, and paths, too.

    Args:
      value: what a configuration file, the command line or a JSON file gives.
      where: path of the field that holds the value, for messages.
      depth: how deep the value lies within lists and dicts.

    Raises:
      UserError: the value is something else, or it is too large or too deep.
    """
    if depth > DEEPEST:
        raise UserError(f"{where}: is nested too deeply")
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > LARGEST:
            raise UserError(f"{where}: a number of {value.bit_length():,} bits is too large")
        return int(value)
    if value is None or isinstance(value, bool | Choice) or is_lifted(value):
        return value
    if not isinstance(value, type) and hasattr(value, "to_dict"):
        value = value.to_dict()  # of ml_collections
    if isinstance(value, float | str):
        return float(value) if isinstance(value, float) else str(value)
    if isinstance(value, Mapping):
        return {
            _key(name, where): plain(its, f"{where}.{shown(name).strip(QUOTES)}", depth + 1)
            for name, its in value.items()
        }
    if isinstance(value, list | tuple | range):
        return tuple(plain(its, f"{where}[{i}]", depth + 1) for i, its in enumerate(value))
    if isinstance(value, os.PathLike):
        return plain(os.fspath(value), where, depth)
    return _of_arrays(value, where, depth)


def _key(name: Any, where: str) -> str:
    if isinstance(name, str | int | float) and not isinstance(name, bool):
        return str(plain(name, where))  # JSON has only string keys
    raise UserError(f"{where}: a name must be a string, not {shown(name)}")


def _of_arrays(value: Any, where: str, depth: int) -> Any:
    """Converts a number, an array or a type of NumPy or JAX, which are not imported for this."""
    if not isinstance(value, type) and callable(getattr(value, "tolist", None)):
        its = value.tolist()
        if isinstance(its, bool | int | float | str | list):
            return plain(its, where, depth)
    for kind in (value, getattr(value, "dtype", None)):  # a dtype, or JAX's name of one
        name = getattr(kind, "name", None)
        if isinstance(getattr(kind, "itemsize", None), int) and isinstance(name, str):
            return name
    if isinstance(value, type) and value.__module__ in ("numpy", "ml_dtypes"):
        return value.__name__
    hint = "; name your own code as 'package.module:name'" if callable(value) else ""
    raise UserError(
        f"{where}: expected a number, a text, True, False, None, a list or a dict, got "
        f"{shown(value)}{hint}"
    )


def convert(value: Any, hint: Any, where: str) -> Any:
    """Converts `value` to the type `hint`; accepts an int for a float and a list for a tuple.

    Checks the types that configurations use: int, float, bool, str, `Choice`, other dataclasses,
    and tuples and unions of these, and the `Range` of a number. A value with any other hint is
    returned as it is.

    Args:
      value: a plain value.
      hint: a type annotation.
      where: path of the field that holds `value`, for messages.

    Raises:
      UserError: `value` has another type, or is out of range.
    """
    if typing.get_origin(hint) is Annotated:
        kind, *extras = typing.get_args(hint)
        return _within(convert(value, kind, where), extras, where)
    if hint is Choice:
        return _convert_choice(value, where)
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
            raise UserError(f"{where}: expected {_describe(hint)}, got {shown(value)}")
        return value
    return value


def refuse_absurd(values: Mapping[str, Any], where: str) -> None:
    """Raises UserError for a number that is not finite, or larger than any field can mean.

    Args:
      values: plain values by name, nested as they may be.
      where: the configuration's path to `values`, for messages.
    """
    for name, value in values.items():
        items = {str(i): its for i, its in enumerate(value)} if type(value) is tuple else value
        if isinstance(items, Mapping):
            refuse_absurd(items, f"{where}.{name}")
        elif isinstance(items, float) and not abs(items) <= LARGEST:
            raise UserError(f"{where}.{name}: must be a finite number, got {items}")
        elif isinstance(items, int) and abs(items) > LARGEST_INT:
            raise UserError(f"{where}.{name}: {shown(items)} is too large")


def _within(value: Any, extras: Iterable[Any], where: str) -> Any:
    """Returns `value` after checking it against each `Range` among an annotation's extras."""
    for limits in extras:
        # A lifted number has no value yet; its values were checked when they were read.
        if not isinstance(limits, Range) or is_lifted(value):
            continue
        if not limits.low <= value <= limits.high:
            raise UserError(f"{where}: must be from {limits.low} to {limits.high}, got {value}")
    return value


def _convert_choice(value: Any, where: str) -> Choice:
    if isinstance(value, Choice):
        return value
    if isinstance(value, str):
        return Choice(value)
    if not isinstance(value, Mapping):
        raise UserError(
            f"{where}: expected a name, or dict(name=..., keyword=...), got {shown(value)}"
        )
    if not isinstance(value.get("name"), str):
        raise UserError(f"{where}.name: a name must be given")
    return Choice(value["name"], {k: _freeze(v) for k, v in value.items() if k != "name"})


def _freeze(value: Any) -> Any:
    if isinstance(value, Mapping):  # JSON has only string keys
        return {str(k): _freeze(v) for k, v in value.items()}
    return tuple(_freeze(v) for v in value) if isinstance(value, (list, tuple)) else value


def _convert_section(value: Any, hint: type, where: str) -> Any:
    if isinstance(value, hint):
        return value
    if not isinstance(value, Mapping):
        first = dataclasses.fields(hint)[0].name
        raise UserError(f"{where}: is a section; set its fields, such as {where}.{first}")
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
    raise UserError(f"{where}: expected {_describe(hint)}, got {shown(value)}")


def _convert_tuple(value: Any, hint: Any, where: str) -> tuple:
    kinds = typing.get_args(hint) or (Any, ...)
    if isinstance(value, str) and kinds[0] in (str, Choice):
        value = tuple(filter(None, value.split(",")))  # from the command line
    if isinstance(value, Mapping) and kinds[0] is Choice:
        value = (value,)
    items = (value,) if isinstance(value, (bool, int, float, str)) else value
    if not isinstance(items, (list, tuple)):
        raise UserError(f"{where}: expected {_describe(hint)}, got {shown(value)}")
    if kinds[-1] is ...:
        kinds = kinds[:1] * len(items)
    if len(kinds) != len(items):
        raise UserError(f"{where}: expected {len(kinds)} values, got {shown(value)}")
    pairs = zip(items, kinds, strict=True)
    return tuple(convert(item, kind, f"{where}[{i}]") for i, (item, kind) in enumerate(pairs))


def _describe(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint)
