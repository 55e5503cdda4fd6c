"""The graph of a network: the layers that it calls, and the flow of data between them.

The network is traced, not computed. Every value that enters or leaves a layer passes through an
identity operation that leaves a mark in the traced program (`jax.ad_checkpoint.checkpoint_name`).
Between marks, each value is followed from operands to results, also through nested programs.
"""

import contextlib
import functools
import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core

from mnist_jax.analysis.network.calls import Part, Path, intercepted
from mnist_jax.models import Model

BATCH = 2  # images; not 1, because JAX may treat an axis of size 1 differently from longer ones

# Common names for the JAX operations that most often combine values.
OPERATIONS = {
    "add_any": "add",
    "mul": "multiply",
    "sub": "subtract",
    "div": "divide",
    "max": "maximum",
    "min": "minimum",
    "dot_general": "matmul",
    "conv_general_dilated": "convolution",
    "select_n": "select",
}
ASSOCIATIVE = ("add", "multiply", "concatenate", "maximum", "minimum")

Sources = frozenset[int]  # where a value comes from: nodes as 0, 1, ..., parameters as ~0, ~1, ...
NOTHING: Sources = frozenset()


@dataclass(frozen=True)
class Node:
    """A node of the graph: the images, a call of a layer, an operation, or the outputs."""

    role: Literal["input", "layer", "operation", "output"]
    name: str
    kind: str  # class of a layer
    shape: tuple[int, ...]  # of the (first) output, without the batch axis
    parameters: int = 0  # number of parameters
    variables: int = 0  # number of other numbers that a layer keeps, such as running averages
    call: int = 1  # 2 for the second call of a layer, which uses the weights of the first


@dataclass(frozen=True)
class Graph:
    """A network as nodes in order of computation, and edges that say which node feeds which."""

    name: str  # class of the network
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]  # positions of source and target in `nodes`
    parameters: int  # of the whole network, including layers that are not called
    variables: int  # of the whole network


_found: deque[tuple[Model, Graph]] = deque(maxlen=8)  # of the last models, which have no hash


def find_graph(model: Model) -> Graph:
    """Finds the outermost layers that a network calls at inference, and the flow of data.

    Containers are replaced by the layers that they hold. Each further call of a layer is a node of
    its own. Where values of several nodes meet outside of layers, or meet parameters that the
    network itself holds, there is a node named after the operation. Functions of a single value,
    such as an activation or a reshape, are part of the edge. Parameters are counted at the node
    that uses them first. The graph of a model is found once and kept.
    """
    for known, graph in _found:
        if known is model:
            return graph
    _found.append((model, _trace(model)))
    return _found[-1][1]


def _trace(model: Model) -> Graph:
    """Traces a network and returns its graph."""
    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    narrow = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, model.dtype), params)
    marks: dict[str, _Mark] = {}

    def call(params: Any, variables: Any, images: jax.Array) -> jax.Array:
        module = nnx.merge(model.graph, params, variables)
        with _marked(module, marks):
            return module(images.astype(model.dtype), train=False, keys=None)

    images = jax.ShapeDtypeStruct((BATCH, *model.image_shape), jnp.float32)
    program = _body(jax.make_jaxpr(call)(narrow, variables, images))
    follower = _Follower(marks, _Ledger(_sizes(params)), _Ledger(_sizes(variables)))
    trained = [frozenset({~index}) for index in range(len(follower.parameters.sizes))]
    others = [NOTHING] * len(follower.variables.sizes)
    image = follower.add(Node("input", "input", "", model.image_shape), NOTHING)
    (outputs,) = follower.follow(program, [*trained, *others, image])
    name = "logits" if model.output_activation == "softmax" else "output"
    follower.add(Node("output", name, "", _shape(program.outvars[0])), outputs)
    nodes, edges = _tidy(follower.nodes, follower.feeds)
    counts = follower.parameters.total, follower.variables.total
    return Graph(model.module.__name__, nodes, edges, *counts)


# Marks


@dataclass(frozen=True)
class _Mark:
    """A mark on a value that enters or leaves a layer."""

    path: Path  # of the layer
    name: str  # of the layer
    kind: str  # class of the layer
    inward: bool  # the value enters the layer
    first: bool  # among the values that enter, or leave, in the same call
    last: bool  # among the same values


def _marked(module: nnx.Module, marks: dict[str, _Mark]) -> contextlib.AbstractContextManager[None]:
    """Makes the outermost parts of `module` mark the values that enter or leave them.

    The marks are added to `marks`.
    """

    def around(part: Part, call: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        if part.depth:
            return call(*args, **kwargs)
        mark = functools.partial(_mark, marks, part)
        args, kwargs = mark((args, kwargs), inward=True)
        outputs = call(*args, **kwargs)
        if not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(outputs)):
            mark(jnp.zeros(()), inward=False)  # the call ends nevertheless
        return mark(outputs, inward=False)

    return intercepted(module, around)


def _mark(marks: dict[str, _Mark], part: Part, values: Any, *, inward: bool) -> Any:
    """Returns the same values, with a mark on each array among them."""
    leaves, tree = jax.tree.flatten(values, is_leaf=lambda leaf: isinstance(leaf, nnx.Pytree))
    arrays = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]
    for i in arrays:
        name = f"{__name__}:{len(marks)}"
        ends = {"first": i == arrays[0], "last": i == arrays[-1]}
        kind = type(part.module).__name__
        marks[name] = _Mark(part.path, part.name, kind, inward, **ends)
        leaves[i] = checkpoint_name(leaves[i], name)
    return jax.tree.unflatten(tree, leaves)


# Following values through the program


@dataclass
class _Ledger:
    """Sizes of arrays by their paths in the network; `spend` counts each array only once."""

    sizes: list[tuple[Path, int]]
    spent: set[int] = field(default_factory=set)

    @property
    def total(self) -> int:
        return sum(size for _, size in self.sizes)

    def spend(self, which: set[int]) -> int:
        fresh = which - self.spent
        self.spent |= fresh
        return sum(self.sizes[index][1] for index in fresh)

    def under(self, prefix: Path) -> set[int]:
        return {i for i, (path, _) in enumerate(self.sizes) if path[: len(prefix)] == prefix}


@dataclass
class _Follower:
    """Finds where each value of a program comes from, and records the nodes on the way."""

    marks: dict[str, _Mark]
    parameters: _Ledger
    variables: _Ledger
    nodes: list[Node] = field(default_factory=list)
    feeds: list[set[int]] = field(default_factory=list)
    calls: dict[Path, list[int]] = field(default_factory=dict)
    inside: int | None = None  # the node of the layer that is being computed

    def add(self, node: Node, sources: Sources) -> Sources:
        """Adds a node that `sources` feed and returns the sources of its result."""
        self.nodes.append(node)
        self.feeds.append({source for source in sources if source >= 0})
        return frozenset({len(self.nodes) - 1})

    def follow(self, program: core.Jaxpr, operands: Sequence[Sources]) -> list[Sources]:
        """Returns the sources of the results of `program`, given those of its operands."""
        known: dict[Any, Sources] = dict(zip(program.invars, operands, strict=True))

        def sources(atom: Any) -> Sources:
            # Only a literal has `val`.
            return NOTHING if hasattr(atom, "val") else known.get(atom, NOTHING)

        for equation in program.eqns:
            results = self._results(equation, [sources(atom) for atom in equation.invars])
            known |= zip(equation.outvars, results, strict=True)
        return [sources(atom) for atom in program.outvars]

    def _results(self, equation: core.JaxprEqn, operands: list[Sources]) -> list[Sources]:
        mark = self._mark_of(equation)
        if mark is not None:
            return [self._pass(mark, operands[0], _shape(equation.outvars[0]))]
        if self.inside is not None:  # whatever is computed here comes from the layer
            return [frozenset({self.inside})] * len(equation.outvars)
        bodies = _bodies(equation)
        if not bodies:
            result = self._meet(equation, 0, NOTHING.union(*operands))
            return [result] * len(equation.outvars)
        # Bodies take the last operands. Before these, `cond` has its index and `while` the
        # constants of its condition.
        starts = [len(operands) - len(body.invars) for body in bodies]
        runs = [self.follow(b, operands[start:]) for b, start in zip(bodies, starts, strict=True)]
        return [
            self._meet(equation, i, NOTHING.union(*results))
            for i, results in enumerate(zip(*runs, strict=True))
        ]

    def _mark_of(self, equation: core.JaxprEqn) -> _Mark | None:
        named = equation.primitive.name == "name"
        return self.marks.get(equation.params["name"]) if named else None

    def _pass(self, mark: _Mark, sources: Sources, shape: tuple[int, ...]) -> Sources:
        """Follows a marked value into a layer or out of it; returns the layer as its source."""
        if self.inside is None:
            self.inside = self._call(mark)
        node = self.inside
        if mark.inward:
            self.feeds[node] |= {source for source in sources if source >= 0}
        elif mark.first:
            self.nodes[node] = replace(self.nodes[node], shape=shape)
        if mark.last and not mark.inward:
            self.inside = None
        return frozenset({node})

    def _call(self, mark: _Mark) -> int:
        calls = self.calls.setdefault(mark.path, [])
        calls.append(len(self.nodes))
        if len(calls) > 1:
            node = replace(self.nodes[calls[0]], call=len(calls))
        else:
            own = [
                ledger.spend(ledger.under(mark.path))
                for ledger in (self.parameters, self.variables)
            ]
            node = Node("layer", mark.name, mark.kind, (), *own)
        self.add(node, NOTHING)
        return calls[-1]

    def _meet(self, equation: core.JaxprEqn, result: int, sources: Sources) -> Sources:
        """Returns the sources of a value that is computed outside of layers.

        Adds a node if data meets other data or parameters.
        """
        data = {source for source in sources if source >= 0}
        if not data or len(sources) == 1:
            return sources
        name = equation.primitive.name
        size = self.parameters.spend({~source for source in sources - data})
        shape = _shape(equation.outvars[result])
        return self.add(Node("operation", OPERATIONS.get(name, name), "", shape, size), sources)


def _body(program: Any) -> core.Jaxpr:
    """Returns the program without its constants, if it comes with them."""
    return getattr(program, "jaxpr", program)


def _bodies(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    """Returns the programs that compute an equation's results; for a loop, one iteration."""
    values = itertools.chain.from_iterable(
        value if isinstance(value, tuple) else (value,)
        for name, value in equation.params.items()
        if name != "cond_jaxpr"  # the condition of a loop, which computes no result
    )
    bodies = [body for body in map(_body, values) if isinstance(body, core.Jaxpr)]
    counts = len(equation.invars), len(equation.outvars)
    return [b for b in bodies if len(b.invars) <= counts[0] and len(b.outvars) == counts[1]]


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(getattr(atom.aval, "shape", ()))[1:]


def _sizes(tree: Any) -> list[tuple[Path, int]]:
    leaves = jax.tree.leaves_with_path(tree)
    return [(tuple(str(key.key) for key in path), math.prod(leaf.shape)) for path, leaf in leaves]


# Tidying up


def _tidy(
    nodes: list[Node], feeds: list[set[int]]
) -> tuple[tuple[Node, ...], tuple[tuple[int, int], ...]]:
    """Merges nested associative operations and removes operations whose results are not used."""
    nodes, feeds = list(nodes), [set(sources) for sources in feeds]
    for node in reversed(range(len(nodes))):
        _absorb(nodes, feeds, node)
    kept = [i for i, node in enumerate(nodes) if node.role != "operation" or _users(feeds, i)]
    position = {node: i for i, node in enumerate(kept)}
    edges = [(position[s], position[node]) for node in kept for s in feeds[node] if s in position]
    return tuple(nodes[node] for node in kept), tuple(sorted(edges))


def _absorb(nodes: list[Node], feeds: list[set[int]], node: int) -> None:
    """Merges into a node the same operations that feed only it; disconnects an unused node."""
    if nodes[node].role != "operation":
        return
    if not _users(feeds, node):
        feeds[node] = set()
        return
    if nodes[node].name not in ASSOCIATIVE:
        return
    while inner := [s for s in feeds[node] if _same(nodes, s, node) and len(_users(feeds, s)) == 1]:
        for source in inner:
            size = nodes[node].parameters + nodes[source].parameters
            nodes[node] = replace(nodes[node], parameters=size)
            feeds[node] = feeds[node] - {source} | feeds[source]
            feeds[source] = set()


def _same(nodes: list[Node], one: int, other: int) -> bool:
    return nodes[one].role == "operation" and nodes[one].name == nodes[other].name


def _users(feeds: list[set[int]], node: int) -> list[int]:
    return [user for user, sources in enumerate(feeds) if node in sources]
