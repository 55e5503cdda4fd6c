"""The layers of a network, their shapes and sizes: any NNX module, the user's own included."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from flax import nnx

from mnist_jax.models import Model

IMAGES = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)


@dataclass(frozen=True)
class Layer:
    """One layer as it is called."""

    name: str
    kind: str  # its class
    shape: tuple[int, ...]  # of its output, without the batch axis
    parameters: int


def layers(model: Model) -> list[Layer]:
    """The outermost modules that the network calls, in the order of their first call.

    Nothing is computed: shapes come from an abstract call.
    """
    found: list[Layer] = []

    def call(images: jax.Array) -> jax.Array:
        module = model.module(**model.keywords, rngs=nnx.Rngs(0))
        with _watched(module, found):
            return module(images, train=False, keys=None)  # pyright: ignore[reportCallIssue]

    jax.eval_shape(call, IMAGES)
    return found


def summary(model: Model) -> str:
    """The layers as a text table, with totals."""
    rows = [("layer", "kind", "output", "parameters")]
    found = layers(model)
    rows += [
        (layer.name, layer.kind, " x ".join(map(str, layer.shape)), f"{layer.parameters:,}")
        for layer in found
    ]
    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    others = sum(leaf.size for leaf in jax.tree.leaves(variables))
    outside = total - sum(layer.parameters for layer in found)
    if outside:
        rows.append(("(itself)", model.module.__name__, "", f"{outside:,}"))
    note = f", {others:,} other variables" if others else ""
    return f"{_table(rows)}\n{model.module.__name__}: {total:,} parameters{note}"


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=True))][:-1])
        + "  "
        + row[-1].rjust(widths[-1])
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:], rule])


@contextlib.contextmanager
def _watched(module: nnx.Module, found: list[Layer]) -> Iterator[None]:
    """Notes each call of a part of `module` that no other noted part makes."""
    names = {id(part): ".".join(map(str, path)) for path, part in nnx.iter_modules(module) if path}
    seen: set[int] = set()
    inside: list[int] = []

    def watch(call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
            outermost = not inside and id(self) in names
            inside.extend([id(self)] * outermost)
            output = call(self, *args, **kwargs)
            if outermost:
                inside.pop()
                if id(self) not in seen:
                    seen.add(id(self))
                    found.append(_layer(names[id(self)], self, output))
            return output

        return watched

    kinds = {type(part) for _, part in nnx.iter_modules(module) if callable(part)}
    with contextlib.ExitStack() as stack:
        for kind in kinds - {type(module)}:
            stack.enter_context(mock.patch.object(kind, "__call__", watch(kind.__call__)))
        yield


def _layer(name: str, part: nnx.Module, output: Any) -> Layer:
    shape = getattr(output, "shape", ())  # a part may give several outputs
    sizes = [leaf.size for leaf in jax.tree.leaves(nnx.state(part, nnx.Param))]
    return Layer(name.removeprefix("layers."), type(part).__name__, shape[1:], sum(sizes))
