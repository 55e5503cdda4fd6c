"""Goes between a network and its parts: calls of the modules that it holds."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flax import nnx

from mnist_jax.models import layers

# Containers are replaced by the layers that they hold, which are what a reader wants to see.
CONTAINERS = (layers.Sequence, nnx.Sequential)

Path = tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A module that a network holds and calls."""

    path: Path  # in the network
    name: str  # the path as a reader sees it: `dense_1`
    module: nnx.Module
    depth: int  # 0: outermost, called by no other part


def _name(path: tuple[Any, ...], modules: Mapping[tuple[Any, ...], Any]) -> str:
    """Returns the name of the part at a path: without what a container calls its layers."""
    steps = [
        str(step)
        for place, step in enumerate(path)
        if step != "layers" or not isinstance(modules.get(path[:place]), CONTAINERS)
    ]
    return ".".join(steps)


# (part, call, arguments, keywords) -> what the call is to return
Around = Callable[[Part, Callable[..., Any], tuple, dict[str, Any]], Any]


@contextlib.contextmanager
def intercepted(module: nnx.Module, around: Around) -> Iterator[None]:
    """Makes each call of a part of `module` go through `around`, which makes the call itself.

    The network itself and its containers are no parts. The class of a part is changed meanwhile, so
    this is for tracing on one thread, never while a network computes.
    """
    modules = dict(nnx.iter_modules(module))
    parts = {
        id(part): (tuple(map(str, path)), _name(path, modules))
        for path, part in modules.items()
        if path and not isinstance(part, CONTAINERS)
    }
    inside: list[nnx.Module] = []

    def watch(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
            # A method that calls that of its base class calls no other part.
            if id(self) not in parts or (inside and inside[-1] is self):
                return call(self, *args, **kwargs)
            part = Part(*parts[id(self)], self, len(inside))
            inside.append(self)
            try:
                return around(part, functools.partial(call, self), args, kwargs)
            finally:
                inside.pop()

        return watched

    classes: Any = {c for part in modules.values() for c in type(part).__mro__}
    calls = {c: vars(c)["__call__"] for c in classes if "__call__" in vars(c)}
    try:  # Python looks for `__call__` in the class, so it is replaced there while tracing
        for c, call in calls.items():
            c.__call__ = watch(call)
        yield
    finally:
        for c, call in calls.items():
            c.__call__ = call
