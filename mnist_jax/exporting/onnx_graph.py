"""Turns a network's list of operations into an ONNX graph.

Numbers are float32, as in the page; what is true or false is so in the graph, too, until it is
computed with. The graph uses only operators of the operator set `OPSET`, that of ONNX 1.8 (2020),
so that old runtimes take it, too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import Any

import numpy as np

from mnist_jax import imports
from mnist_jax.exporting.operations import TO_EVEN, MissingOperationError, Operations

OPSET, IR_VERSION = 13, 7
IMAGES, PROBABILITIES, BATCH = "images", "probabilities", "batch"
READER = "the export to ONNX"
WINDOWED = 3  # axes along which ONNX Runtime slides a window, at most
LOWEST = -(2**31)  # as the end of a slice: up to the first element

Shape = tuple[int, ...]
Step = Mapping[str, Any]


@dataclass(frozen=True)
class Value:
    """An array in the graph.

    In a shape, -k stands for k times the number of images. Where the operators repeat axes of
    length 1 by themselves, what holds the array may have such an axis in place of a longer one.
    """

    name: str
    shape: Shape
    held: Shape  # the shape of what the name stands for
    logical: bool = False  # true or false; else float32


def model(operations: Operations, metadata: Mapping[str, str]) -> Any:
    """Returns the `ModelProto` of a network that takes any number of images at a time.

    Args:
      operations: whose input is `[-1, H, W, C]`.
      metadata: what the file says of itself.

    Raises:
      UserError: the package onnx is missing, or an operation cannot be written; the message names
        it.
    """
    onnx = imports.extra("onnx", "export")
    graph = Graph(onnx)
    values = [Value(IMAGES, operations.shape, operations.shape)]
    values += [graph.constant(array) for array in operations.constants]
    for step in operations.steps:
        values.append(graph.step(step, [values[number] for number in step["inputs"]]))
    output = values[operations.output]
    last = graph.number(graph.whole(output))
    end = onnx.helper.make_node("Identity", [last], [PROBABILITIES], name="end")
    used = {name for node in (*graph.nodes, end) for name in node.input}
    found = onnx.helper.make_model(
        onnx.helper.make_graph(
            [*graph.nodes, end],
            "network",
            [graph.described(IMAGES, operations.shape)],
            [graph.described(PROBABILITIES, output.shape)],
            [its for its in graph.constants.values() if its.name in used],
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="mnist_jax",
    )
    onnx.helper.set_model_props(found, dict(metadata))
    onnx.checker.check_model(found, full_check=True)
    return found


class Graph:
    """Collects the nodes and the constants of a graph."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self._known: dict[Any, str] = {}  # the results of nodes that were added before
        self.nodes: list[Any] = []
        self.constants: dict[bytes, Any] = {}  # by type, shape and content
        self._arrays: dict[str, np.ndarray] = {}

    def described(self, name: str, shape: Shape) -> Any:
        """Returns the description of an input or an output of the graph."""
        known = [BATCH if n == -1 else n for n in shape]
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, known)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node, unless the same is there; returns the name of its result."""
        key = (kind, inputs, repr(attributes))
        if key not in self._known:
            name = self._known[key] = f"{kind.lower()}_{len(self.nodes)}"
            # ONNX Runtime 1.20 calls nodes without names by one name, which it then refuses.
            node = self._onnx.helper.make_node(kind, inputs, [name], name=name, **attributes)
            self.nodes.append(node)
        return self._known[key]

    def constant(self, value: Any, dtype: Any = np.float32) -> Value:
        """Returns a constant, which is stored once."""
        array = np.asarray(value, dtype)
        key = f"{array.dtype}{array.shape}".encode() + array.tobytes()
        if key not in self.constants:
            name = f"constant_{len(self.constants)}"
            self.constants[key] = self._onnx.numpy_helper.from_array(array, name)
            self._arrays[name] = array
        return Value(self.constants[key].name, array.shape, array.shape)

    def integers(self, values: Sequence[int]) -> str:
        """Returns the name of a constant of whole numbers."""
        return self.constant(values, np.int64).name

    def step(self, step: Step, inputs: Sequence[Value]) -> Value:
        """Adds the nodes of an operation; returns its result."""
        name, shape = step["op"], tuple(step["shape"])
        if name in SHAPING:
            return SHAPING[name](self, step, self.whole(inputs[0]))
        if name == "broadcast_in_dim":
            return self._broadcast(step, inputs[0])
        if name in WHOLE:
            whole = [self.whole(value) for value in inputs]
            return Value(WHOLE[name](self, step, *whole), shape, shape)
        repeated = np.broadcast_shapes(*(_repeatable(value.held) for value in inputs))
        held = tuple(1 if n else shape[axis] for axis, n in enumerate(repeated))
        if name in LOGICAL:
            result = self.add(LOGICAL[name], *map(self.logic, inputs))
        elif name == "select_n":
            which, a, b = inputs
            result = self.add("Where", self.logic(which), self.number(b), self.number(a))
        else:
            result = self._each(step, [self.number(value) for value in inputs])
        logical = name in LOGICAL or name in COMPARISONS or step.get("kind") == "b"
        return Value(result, shape, held, logical)

    def _each(self, step: Step, names: Sequence[str]) -> str:
        """Adds an operation on numbers, element by element."""
        name = step["op"]
        if name in SIMPLE:
            return self.add(SIMPLE[name], *names)
        if name in COMPARISONS:
            return COMPARISONS[name](self, *names)
        return COMPOSED[name](self, step, *names)

    def number(self, value: Value) -> str:
        """Returns the name of an array as numbers."""
        if not value.logical:
            return value.name
        return self.add("Cast", value.name, to=self._onnx.TensorProto.FLOAT)

    def logic(self, value: Value) -> str:
        """Returns the name of an array as true or false."""
        if value.logical:
            return value.name
        return self.add("Cast", value.name, to=self._onnx.TensorProto.BOOL)

    def truncated(self, name: str) -> str:
        """Returns numbers without what follows the point."""
        whole = self.add("Cast", name, to=self._onnx.TensorProto.INT64)
        return self.add("Cast", whole, to=self._onnx.TensorProto.FLOAT)

    def whole(self, value: Value) -> Value:
        """Returns an array in its full shape."""
        if value.held == value.shape:
            return value
        name = self.add("Expand", value.name, self.extent(value.shape))
        return Value(name, value.shape, value.shape, value.logical)

    def extent(self, shape: Sequence[int]) -> str:
        """Returns the name of a shape in which the number of images is known."""
        if min(shape, default=0) >= 0:
            return self.integers(shape)
        every = self.add("Shape", IMAGES)
        count = self.add("Slice", every, self.integers([0]), self.integers([1]))
        parts = [
            self.integers([n]) if n >= 0 else self.add("Mul", count, self.integers([-n]))
            for n in shape
        ]
        return self.add("Concat", *parts, axis=0)

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        """Returns an array in another shape."""
        if name in self._arrays and min(shape, default=0) >= 0:
            return self.constant(self._arrays[name].reshape(shape)).name
        if sum(n < 0 for n in shape) > 1:
            return self.add("Reshape", name, self.extent(shape))
        return self.add("Reshape", name, self.integers([max(n, -1) for n in shape]))

    def transposed(self, name: str, order: Sequence[int]) -> str:
        """Returns an array with its axes in this order."""
        if list(order) == sorted(order):
            return name
        if name in self._arrays:
            return self.constant(self._arrays[name].transpose(order)).name
        return self.add("Transpose", name, perm=[int(axis) for axis in order])

    def padded(self, name: str, shape: Sequence[int], config: Any, filler: str) -> tuple[str, Any]:
        """Returns an array with numbers around and between its elements, and its shape.

        A negative number of them around the array takes elements away.

        Args:
          name: of the array.
          shape: of the array.
          config: for each axis, how many numbers come before, after and between.
          filler: the name of the number.
        """
        shape = list(shape)
        for axis, (_, _, between) in enumerate(config):
            if between:
                apart = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
                pads = [0] * (2 * len(apart))
                pads[len(apart) + axis + 1] = between
                name = self.add("Pad", self.reshaped(name, apart), self.integers(pads), filler)
                shape[axis] *= between + 1
                name = self.reshaped(name, shape)
        low = [its[0] for its in config]
        high = [high - between for _, high, between in config]
        if any(low) or any(high):
            name = self.add("Pad", name, self.integers([*low, *high]), filler)
        return name, [sum(lengths) for lengths in zip(shape, low, high, strict=True)]

    def _broadcast(self, step: Step, value: Value) -> Value:
        held = [1] * len(step["shape"])
        for axis, length in zip(step["broadcast_dimensions"], value.held, strict=True):
            held[axis] = length
        name = self.reshaped(value.name, held)
        return Value(name, tuple(step["shape"]), tuple(held), value.logical)


def _repeatable(shape: Shape) -> Shape:
    """Returns 1 for each axis that may be repeated, and 0 for the others."""
    return tuple(int(n == 1) for n in shape)


def _missing(what: str) -> MissingOperationError:
    return MissingOperationError(what, READER)


def _expm1(graph: Graph, step: Step, x: str) -> str:
    """Adds exp(x) - 1 without loss of digits near 0: 2 t / (1 - t), with t = tanh(x / 2)."""
    one = graph.constant(1).name
    t = graph.add("Tanh", graph.add("Mul", x, graph.constant(0.5).name))
    near = graph.add("Div", graph.add("Add", t, t), graph.add("Sub", one, t))
    far = graph.add("Sub", graph.add("Exp", x), one)
    return graph.add("Where", graph.add("Less", x, one), near, far)


def _log1p(graph: Graph, step: Step, x: str) -> str:
    """Adds log(1 + x) without loss of digits near 0: 2 artanh(x / (2 + x))."""
    one = graph.constant(1).name
    ratio = graph.add("Div", x, graph.add("Add", x, graph.constant(2).name))
    half = graph.add("Atanh", ratio)
    far = graph.add("Log", graph.add("Add", x, one))
    return graph.add("Where", graph.add("Less", x, one), graph.add("Add", half, half), far)


def _round(graph: Graph, step: Step, x: str) -> str:
    if step["rounding_method"] == TO_EVEN:
        return graph.add("Round", x)
    size = graph.add("Abs", x)
    below = graph.add("Floor", size)
    part = graph.add("Sub", size, below)
    up = graph.add("Add", below, graph.constant(1).name)
    least = graph.add("Less", part, graph.constant(0.5).name)
    return graph.add("Mul", graph.add("Sign", x), graph.add("Where", least, below, up))


def _cumsum(graph: Graph, step: Step, value: Value) -> str:
    axis = graph.constant(step["axis"], np.int64).name
    return graph.add("CumSum", graph.number(value), axis, reverse=int(step["reverse"]))


def _clamp(graph: Graph, step: Step, low: str, x: str, high: str) -> str:
    return graph.add("Min", graph.add("Max", x, low), high)


def _converted(graph: Graph, step: Step, x: str) -> str:
    if step["kind"] == "b":
        return graph.add("Not", graph.add("Equal", x, graph.constant(0).name))
    return graph.truncated(x) if step["kind"] in "iu" else x


def _div(graph: Graph, step: Step, a: str, b: str) -> str:
    ratio = graph.add("Div", a, b)
    return graph.truncated(ratio) if step["kind"] in "iu" else ratio


def _reshape(graph: Graph, step: Step, value: Value) -> Value:
    shape = tuple(step["shape"])
    return Value(graph.reshaped(value.name, shape), shape, shape, value.logical)


def _transpose(graph: Graph, step: Step, value: Value) -> Value:
    shape = tuple(step["shape"])
    name = graph.transposed(value.name, step["permutation"])
    return Value(name, shape, shape, value.logical)


def _rev(graph: Graph, step: Step, value: Value) -> Value:
    axes = step["dimensions"]
    each = [graph.integers([n] * len(axes)) for n in (-1, LOWEST)]
    backwards = graph.integers([-1] * len(axes))
    name = graph.add("Slice", value.name, *each, graph.integers(axes), backwards)
    return Value(name, value.shape, value.shape, value.logical)


def _slice(graph: Graph, step: Step, value: Value) -> Value:
    shape, cut = tuple(step["shape"]), []
    its = zip(step["start"], step["strides"], shape, value.shape, strict=True)
    for axis, (start, stride, length, whole) in enumerate(its):
        if length == whole:
            continue
        if length < 0:
            raise _missing("a part of the images alone")
        cut.append((start, start + (length - 1) * stride + 1, axis, stride))
    names = [graph.integers(numbers) for numbers in zip(*cut, strict=True)]
    name = graph.add("Slice", value.name, *names) if cut else value.name
    return Value(name, shape, shape, value.logical)


def _concatenate(graph: Graph, step: Step, *values: Value) -> str:
    return graph.add("Concat", *map(graph.number, values), axis=step["dimension"])


def _pad(graph: Graph, step: Step, value: Value, filler: Value) -> str:
    number = graph.number(filler)
    return graph.padded(graph.number(value), value.shape, step["padding_config"], number)[0]


def _reduce(kind: str) -> Callable[..., str]:
    """Returns the rule of an operator that has the axes among its attributes."""

    def rule(graph: Graph, step: Step, value: Value) -> str:
        if not step["axes"]:  # ONNX would take all of them
            return graph.number(value)
        return graph.add(kind, graph.number(value), axes=step["axes"], keepdims=0)

    return rule


def _sum(graph: Graph, step: Step, value: Value) -> str:
    if not step["axes"]:
        return graph.number(value)
    return graph.add("ReduceSum", graph.number(value), graph.integers(step["axes"]), keepdims=0)


def _place(kind: str) -> Callable[..., str]:
    def rule(graph: Graph, step: Step, value: Value) -> str:
        (axis,) = step["axes"]
        found = graph.add(kind, graph.number(value), axis=axis, keepdims=0)
        return graph.add("Cast", found, to=1)  # float32

    return rule


def _windowed(graph: Graph, step: Step, value: Value) -> str:
    """Adds a pooling: the axes along which a window slides come last, in images of one channel."""
    sizes, strides = step["window_dimensions"], step["window_strides"]
    pads = [(low, high, 0) for low, high in step["padding"]]
    its = zip(sizes, strides, pads, strict=True)
    sliding = [i for i, (n, by, pad) in enumerate(its) if (n, by, *pad) != (1, 1, 0, 0, 0)]
    others = [i for i in range(len(sizes)) if i not in sliding]
    if len(sliding) > WINDOWED or any(value.shape[i] < 0 for i in sliding):
        raise _missing("a pooling along more than three axes, or along the images")
    name, kind = graph.number(value), step["op"].removeprefix("reduce_window_")
    if not sliding:
        return name
    name = graph.add("Neg", name) if kind == "min" else name
    filler = graph.constant(0.0 if kind == "sum" else -np.inf).name
    name, shape = graph.padded(name, value.shape, pads, filler)
    order = [*others, *sliding]
    name = graph.reshaped(graph.transposed(name, order), [-1, 1, *(shape[i] for i in sliding)])
    window = {"kernel_shape": [sizes[i] for i in sliding], "strides": [strides[i] for i in sliding]}
    name = graph.add("AveragePool" if kind == "sum" else "MaxPool", name, **window)
    if kind == "sum":
        name = graph.add("Mul", name, graph.constant(np.prod(window["kernel_shape"])).name)
    name = graph.add("Neg", name) if kind == "min" else name
    name = graph.reshaped(name, [step["shape"][i] for i in order])
    return graph.transposed(name, [int(i) for i in np.argsort(order)])


def _dot(graph: Graph, step: Step, a: Value, b: Value) -> str:
    names = [graph.number(a), graph.number(b)]
    rank, other = len(a.shape), len(b.shape)
    if (rank > 1, other, step["contract"]) == (True, 2, [[rank - 1], [0]]):
        return graph.add("MatMul", *names)
    # Of any axes: the result has the shared ones first, then those of each side.
    letters = [list(ascii_letters[:rank]), list(ascii_letters[rank : rank + other])]
    for left, right in zip(*map(list.__add__, step["batch"], step["contract"]), strict=True):
        letters[1][right] = letters[0][left]
    shared = [letters[0][axis] for axis in step["batch"][0]]
    gone = [letters[0][axis] for axis in step["contract"][0]]
    free = [its for side in letters for its in side if its not in (*shared, *gone)]
    text = f"{''.join(letters[0])},{''.join(letters[1])}->{''.join(shared + free)}"
    return graph.add("Einsum", *names, equation=text)


def _convolve(graph: Graph, step: Step, image: Value, kernel: Value) -> str:
    order, pads = step["image"], step["padding"]
    if not 1 <= len(order) - 2 <= WINDOWED:
        raise _missing("a convolution along more than three axes, or along none")
    name = graph.transposed(graph.number(image), order)
    between = [by - 1 for by in step["lhs_dilation"]]
    if any(between) or min(n for pad in pads for n in pad) < 0:
        config = [(0, 0, 0)] * 2 + [(*pad, n) for pad, n in zip(pads, between, strict=True)]
        shape = [image.shape[axis] for axis in order]
        name, _ = graph.padded(name, shape, config, graph.constant(0.0).name)
        pads = [[0, 0]] * len(pads)
    weights = graph.transposed(graph.number(kernel), step["kernel"])
    name = graph.add(
        "Conv",
        name,
        weights,
        kernel_shape=[kernel.shape[axis] for axis in step["kernel"][2:]],
        strides=step["window_strides"],
        pads=[pad[0] for pad in pads] + [pad[1] for pad in pads],
        dilations=step["rhs_dilation"],
        group=step["groups"],
    )
    return graph.transposed(name, [int(axis) for axis in np.argsort(step["result"])])


# Element by element, of numbers: one operator, of the same inputs.
SIMPLE = {
    "abs": "Abs", "add": "Add", "ceil": "Ceil", "cos": "Cos", "erf": "Erf", "exp": "Exp",
    "floor": "Floor", "log": "Log", "logistic": "Sigmoid", "max": "Max", "min": "Min", "mul": "Mul",
    "neg": "Neg", "pow": "Pow", "sign": "Sign", "sin": "Sin", "sqrt": "Sqrt", "sub": "Sub",
    "tanh": "Tanh",
}  # fmt: skip
LOGICAL = {"and": "And", "not": "Not", "or": "Or", "xor": "Xor"}
COMPARISONS: dict[str, Callable[..., str]] = {
    "eq": lambda graph, a, b: graph.add("Equal", a, b),
    "ge": lambda graph, a, b: graph.add("GreaterOrEqual", a, b),
    "gt": lambda graph, a, b: graph.add("Greater", a, b),
    "is_finite": lambda graph, x: graph.add(
        "Less", graph.add("Abs", x), graph.constant(np.inf).name
    ),
    "le": lambda graph, a, b: graph.add("LessOrEqual", a, b),
    "lt": lambda graph, a, b: graph.add("Less", a, b),
    "ne": lambda graph, a, b: graph.add("Not", graph.add("Equal", a, b)),
}
COMPOSED: dict[str, Callable[..., str]] = {
    "clamp": _clamp,
    "convert_element_type": _converted,
    "div": _div,
    "erfc": lambda graph, step, x: graph.add("Sub", graph.constant(1).name, graph.add("Erf", x)),
    "exp2": lambda graph, step, x: graph.add("Pow", graph.constant(2).name, x),
    "expm1": _expm1,
    "integer_pow": lambda graph, step, x: graph.add("Pow", x, graph.constant(step["y"]).name),
    "log1p": _log1p,
    "rem": lambda graph, step, a, b: graph.add("Mod", a, b, fmod=1),
    "round": _round,
    "rsqrt": lambda graph, step, x: graph.add("Reciprocal", graph.add("Sqrt", x)),
    "square": lambda graph, step, x: graph.add("Mul", x, x),
}
SHAPING: dict[str, Callable[[Graph, Step, Value], Value]] = {
    **dict.fromkeys(("expand_dims", "reshape", "squeeze"), _reshape),
    "rev": _rev,
    "slice": _slice,
    "transpose": _transpose,
}
WHOLE: dict[str, Callable[..., str]] = {  # of arrays in their full shape, to numbers
    "argmax": _place("ArgMax"),
    "argmin": _place("ArgMin"),
    "concatenate": _concatenate,
    "conv_general_dilated": _convolve,
    "cumsum": _cumsum,
    "dot_general": _dot,
    "pad": _pad,
    "reduce_and": _reduce("ReduceMin"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_or": _reduce("ReduceMax"),
    "reduce_prod": _reduce("ReduceProd"),
    "reduce_sum": _sum,
    "reduce_window_max": _windowed,
    "reduce_window_min": _windowed,
    "reduce_window_sum": _windowed,
}
