"""Computes the layers of a network one by one: the forward pass, and also its gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.step_profile.calls import Call, layer_calls
from benchmarks.step_profile.setting import Setting
from mnist_jax.analysis.network.graph import Graph, find_graph


class Layer:
    """A single layer on random inputs: its forward pass and its gradients.

    Args:
      setting: the network and its state.
      call: the call of the layer, which gives the shapes of its inputs.
      needs_input: whether training needs the gradients of the layer's inputs.
    """

    def __init__(self, setting: Setting, call: Call, needs_input: bool) -> None:
        self.call = call
        self._model = setting.task.model
        self._state = setting.state
        self._needs_input = needs_input
        self._inputs = [_noise(x) for x in call.inputs]
        self._floats = [i for i, x in enumerate(self._inputs) if _is_float(x)]
        self.real = [self._inputs[i] for i in self._floats]
        start = "".join(f"{part}/" for part in call.path)
        named = {_name(p): x for p, x in jax.tree.leaves_with_path(setting.state["params"])}
        self.own = {name: x for name, x in named.items() if name.startswith(start)}

    @property
    def parameters(self) -> int:
        """The number of the layer's trainable parameters."""
        return sum(leaf.size for leaf in self.own.values())

    def forward(self, own: dict[str, jax.Array], real: Sequence[jax.Array]) -> Any:
        """Returns the layer's outputs, given its own weights and its floating-point inputs."""
        params = jax.tree.map_with_path(
            lambda path, p: own.get(_name(path), p), self._state["params"]
        )
        narrow = jax.tree.map(lambda p: p.astype(self._model.dtype), params)
        module = nnx.merge(self._model.graph, narrow, self._state["variables"])
        layer = next(part for path, part in nnx.iter_modules(module) if path == self.call.path)
        inputs = list(self._inputs)
        for i, x in zip(self._floats, real, strict=True):
            inputs[i] = x
        args, kwargs = jax.tree.unflatten(self.call.tree, inputs)
        return layer(*args, **kwargs)

    def gradient(self, own: dict[str, jax.Array], real: Sequence[jax.Array]) -> Any:
        """Returns the outputs, and the gradients of the weights and, if needed, of the inputs."""
        if self._needs_input:
            outputs, back = jax.vjp(self.forward, own, real)
        else:
            outputs, back = jax.vjp(lambda own: self.forward(own, real), own)
        return outputs, back(jax.tree.map(jnp.ones_like, outputs))


def _name(path: tuple[Any, ...]) -> str:
    """Returns the name of a weight: its path, joined by slashes."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _is_float(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)


def _noise(x: Any) -> Any:
    """Returns distinct keys, normally distributed floats, or zeros, in the shape and dtype of `x`.

    A value without a shape is returned unchanged.
    """
    if not hasattr(x, "shape"):
        return x
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(0), x.shape)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return jax.random.normal(jax.random.key(0), x.shape, x.dtype)
    return jnp.zeros(x.shape, x.dtype)


def _depends_on_weights(graph: Graph) -> dict[str, bool]:
    """Returns, for each layer, whether its input depends on trainable parameters."""
    trained = [node.parameters > 0 for node in graph.nodes]
    before = [False] * len(graph.nodes)
    for source, node in sorted(graph.edges, key=lambda edge: edge[1]):
        before[node] |= before[source] or trained[source]
    return {node.name: before[i] for i, node in enumerate(graph.nodes) if node.call == 1}


def layers(setting: Setting) -> list[Layer]:
    """Returns the layers that do floating-point operations, in the order of their calls.

    Layers without such operations, like a reshape, are left out.
    """
    needed = _depends_on_weights(find_graph(setting.task.model))
    called = layer_calls(setting.task.model, setting.config.batch_size)
    found = [Layer(setting, call, needed.get(call.name, True)) for call in called]
    return [its for its in found if its.real and flops(its.gradient, its.own, its.real)]


def flops(function: Callable[..., Any], *arguments: Any) -> float:
    """Returns the floating-point operations of a function, counted by XLA before optimization."""
    return (jax.jit(function).lower(*arguments).cost_analysis() or {}).get("flops", 0.0)
