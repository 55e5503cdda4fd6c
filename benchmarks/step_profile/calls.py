"""Finds the layers that a network calls, in the order of the calls, with their inputs' shapes."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from flax import nnx

from mnist_jax.analysis.network.calls import CONTAINERS
from mnist_jax.models import Model


@dataclass(frozen=True)
class Call:
    """A call of a layer with its inputs."""

    name: str
    path: tuple[Any, ...]  # path of the layer within the network
    inputs: list[Any]  # the leaves of the arguments; arrays are replaced by their shapes
    tree: Any  # tree structure of the arguments and keyword arguments


def layer_calls(model: Model, batch_size: int) -> list[Call]:
    """Returns the calls of a network's outermost layers in training.

    Containers of layers, such as sequences, do not count as layers; their contents do.
    """
    calls: list[Call] = []

    def call(params: Any, variables: Any, images: jax.Array, keys: jax.Array) -> jax.Array:
        module = nnx.merge(model.graph, params, variables)
        with _noted(module, calls):
            return module(images.astype(model.dtype), train=True, keys=keys)

    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    narrow = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, model.dtype), params)
    images = jax.ShapeDtypeStruct((batch_size, *model.image_shape), jnp.float32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch_size))
    jax.eval_shape(call, narrow, variables, images, keys)
    return calls


@contextlib.contextmanager
def _noted(module: nnx.Module, calls: list[Call]) -> Iterator[None]:
    """Records in `calls` the calls of layers of `module`, except those within another layer."""
    paths = {
        id(part): path
        for path, part in nnx.iter_modules(module)
        if path and not isinstance(part, CONTAINERS)
    }
    inside: list[nnx.Module] = []

    def noting(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def noted(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
            if inside or id(self) not in paths:
                return call(self, *args, **kwargs)
            calls.append(_call(self, paths[id(self)], args, kwargs))
            inside.append(self)
            try:
                return call(self, *args, **kwargs)
            finally:
                inside.pop()

        return noted

    with contextlib.ExitStack() as stack:
        for kind in {type(part) for _, part in nnx.iter_modules(module) if callable(part)}:
            stack.enter_context(mock.patch.object(kind, "__call__", noting(kind.__call__)))
        yield


def _call(layer: nnx.Module, path: tuple[Any, ...], args: Any, kwargs: Any) -> Call:
    leaves, tree = jax.tree.flatten((args, kwargs))
    shapes = [jax.typeof(x) if isinstance(x, jax.Array) else x for x in leaves]
    name = ".".join(str(part) for part in path if part != "layers")
    return Call(name, path, shapes, tree)
