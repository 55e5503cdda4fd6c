"""Writes a traced network as a list of operations on arrays, which a small interpreter can run.

Interpreters are `templates/network.js`, in which a trained network runs in a page, and, in NumPy,
`interpreter.py`. `onnx_graph.py` turns the list into a graph.
"""

import base64
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.extend import core as extended

from mnist_jax.errors import UserError

# Element by element, and without parameters.
ELEMENTWISE = (
    "abs", "add", "ceil", "clamp", "cos", "div", "eq", "erf", "erfc", "exp", "exp2", "expm1",
    "floor", "ge", "gt", "is_finite", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul",
    "ne", "neg", "not", "and", "or", "pow", "rem", "rsqrt", "select_n", "sign", "sin", "sqrt",
    "square", "sub", "tanh", "xor",
)  # fmt: skip
SAME = ("copy", "copy_p", "optimization_barrier", "reduce_precision", "stop_gradient")
CALLS = (
    "checkpoint", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call",
    "custom_vjp_call_jaxpr", "jit", "pjit", "remat", "remat2",
)  # fmt: skip
CALLED = ("call_jaxpr", "fun_jaxpr", "jaxpr")  # their parameters that hold what they call
TO_EVEN = int(jax.lax.RoundingMethod.TO_NEAREST_EVEN)  # of a half; else away from 0
WHOLE_BITS = 32  # of whole numbers, at least: readers have floats, which do not wrap
LOGICAL = ("and", "not", "or", "xor")

core: Any = extended  # its classes are public, but not declared so


class MissingOperationError(UserError):
    """A network needs an operation that its reader does not have.

    Args:
      what: the network needs.
      reader: of the list of operations.
    """

    def __init__(self, what: str, reader: str) -> None:
        super().__init__(f"the network needs {what}, which {reader} does not have")


@dataclass
class Operations:
    """The operations of a network, in order.

    Values are numbered: the input is 0, then come the constants, then the results of `steps`.
    In a shape, -k stands for k times the number of images, if that is not known.
    """

    shape: tuple[int, ...]  # of the input
    constants: list[np.ndarray] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    output: int = -1

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; the constants are one text, base64 of float32, little-endian."""
        flat = [np.asarray(constant, "<f4").ravel() for constant in self.constants]
        content = np.concatenate(flat).tobytes() if flat else b""
        return {
            "input": list(self.shape),
            "constants": [list(constant.shape) for constant in self.constants],
            "values": base64.b64encode(content).decode(),
            "steps": self.steps,
            "output": self.output,
        }


def operations(
    function: Callable[[jax.Array], jax.Array], shape: Sequence[Any], reader: str = "the page"
) -> Operations:
    """Returns the operations of a function of one array of float32 of this shape.

    What does not depend on the array is computed now.

    Args:
      function: to be traced.
      shape: of the array; its first length may be a symbol of `jax.export.symbolic_shape`.
      reader: of the list, for the message.

    Raises:
      MissingOperationError: the reader lacks an operation; the message names it.
    """
    image = jax.ShapeDtypeStruct(tuple(shape), np.float32)
    closed = jax.make_jaxpr(function)(image)
    found = _Writer(tuple(shape), reader)
    (output,) = found.run(closed, [Ref(0)])
    return found.finished(output)


@dataclass(frozen=True)
class Ref:
    """A value that depends on the input, by its number among the results."""

    number: int


class _Writer:
    """Walks through a traced program and collects what the interpreter must do."""

    def __init__(self, shape: tuple[Any, ...], reader: str) -> None:
        self._images = shape[0] if shape else 1  # their number, which may be a symbol
        self._reader = reader
        self._shape = self._lengths(shape)
        self._constants: list[np.ndarray] = []
        self._numbers: dict[bytes, int] = {}  # of the constants, by their content
        self._steps: list[tuple[dict[str, Any], list[Any]]] = []
        self._results = 0

    def run(self, closed: Any, inputs: Sequence[Any]) -> list[Any]:
        """Adds the operations of a program; returns its outputs: `Ref`s, or arrays."""
        jaxpr, values = closed.jaxpr, dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
        values |= dict(zip(jaxpr.invars, inputs, strict=True))

        def of(atom: Any) -> Any:
            return atom.val if isinstance(atom, core.Literal) else values[atom]

        for equation in jaxpr.eqns:
            found = self._equation(equation, [of(atom) for atom in equation.invars])
            values |= dict(zip(equation.outvars, found, strict=True))
        return [of(atom) for atom in jaxpr.outvars]

    def finished(self, output: Any) -> Operations:
        """Returns the operations, once the number of constants is known."""
        output = self._operand(output)
        offset = len(self._constants)

        def number(value: Any) -> int:
            if isinstance(value, int):  # a constant
                return 1 + value
            return 0 if value.number == 0 else value.number + offset

        steps = [step | {"inputs": [number(i) for i in inputs]} for step, inputs in self._steps]
        return Operations(tuple(self._shape), self._constants, steps, number(output))

    def _equation(self, equation: Any, inputs: list[Any]) -> list[Any]:
        name = equation.primitive.name
        if name in CALLS and (inner := _called(equation.params)) is not None:
            return self.run(inner, inputs)
        known = all(isinstance(n, int) for atom in equation.outvars for n in atom.aval.shape)
        if known and not any(isinstance(value, Ref) for value in inputs):
            found = equation.primitive.bind(*map(jax.numpy.asarray, inputs), **equation.params)
            return list(found) if equation.primitive.multiple_results else [found]
        if name in SAME:
            return inputs
        if narrow := _narrow(equation):
            raise MissingOperationError(narrow, self._reader)
        if name == "split":
            return self._split(equation, inputs[0])
        if name == "tile":
            return [self._tiled(equation, inputs[0])]
        if name == "reshape" and equation.params.get("dimensions") is not None:
            inputs = [self._ordered(equation, inputs[0])]
        other = name in LOGICAL and equation.outvars[0].aval.dtype != bool  # bit by bit
        other |= name == "select_n" and len(inputs) != 3
        if name not in WRITERS or len(equation.outvars) != 1 or other:
            raise MissingOperationError(f"the operation {name!r}", self._reader)
        (out,) = equation.outvars
        step = {"op": name, "shape": self._lengths(out.aval.shape)}
        if unable := _unable(name, equation.params):
            raise MissingOperationError(unable, self._reader)
        step |= WRITERS[name](equation.params)
        if name in ("div", "convert_element_type"):
            step["kind"] = out.aval.dtype.kind  # the interpreter has one type of numbers
        return [self._add(step, inputs)]

    def _lengths(self, shape: Sequence[Any]) -> list[int]:
        """Returns a shape as numbers, with -k for k times the number of images."""
        return [n if isinstance(n, int) else -self._times(n) for n in shape]

    def _times(self, length: Any) -> int:
        times, rest = divmod(length, self._images)
        if isinstance(times, int) and rest == 0:
            return times
        raise MissingOperationError(f"an array of length {length}", self._reader)

    def _add(self, step: dict[str, Any], inputs: Sequence[Any]) -> Ref:
        self._steps.append((step, [self._operand(value) for value in inputs]))
        self._results += 1
        return Ref(self._results)

    def _operand(self, value: Any) -> Any:
        """Returns a `Ref` as it is, and the number of a constant, which is stored once."""
        if isinstance(value, Ref):
            return value
        array = np.asarray(value, np.float32)
        key = repr(array.shape).encode() + array.tobytes()
        if key not in self._numbers:
            self._numbers[key] = len(self._constants)
            self._constants.append(array)
        return self._numbers[key]

    def _ordered(self, equation: Any, value: Any) -> Ref:
        """Adds the transposition that a `reshape` begins with if it names an order of the axes."""
        order, shape = equation.params["dimensions"], equation.invars[0].aval.shape
        step = {"op": "transpose", "permutation": _json(order)}
        return self._add(step | {"shape": self._lengths([shape[i] for i in order])}, [value])

    def _tiled(self, equation: Any, value: Any) -> Ref:
        """Adds what repeats an array along its axes: with a new axis before each, for a while."""
        shape, reps = self._lengths(equation.invars[0].aval.shape), _json(equation.params["reps"])
        apart = [length for pair in zip(reps, shape, strict=True) for length in pair]
        axes = list(range(1, len(apart), 2))
        step = {"op": "broadcast_in_dim", "shape": apart, "broadcast_dimensions": axes}
        (out,) = equation.outvars
        return self._add(
            {"op": "reshape", "shape": self._lengths(out.aval.shape)}, [self._add(step, [value])]
        )

    def _split(self, equation: Any, value: Any) -> list[Any]:
        axis, start, found = equation.params["axis"], 0, []
        rank = len(equation.invars[0].aval.shape)
        for size, out in zip(_json(equation.params["sizes"]), equation.outvars, strict=True):
            begin = [start if i == axis else 0 for i in range(rank)]
            step = {"op": "slice", "start": begin, "strides": [1] * rank}
            found.append(self._add(step | {"shape": self._lengths(out.aval.shape)}, [value]))
            start += size
        return found


def _called(params: Mapping[str, Any]) -> Any:
    """Returns the program that an operation calls; None if it calls none."""
    for name in CALLED:
        inner = params.get(name)
        if isinstance(inner, core.ClosedJaxpr):
            return inner
        if isinstance(inner, core.Jaxpr):
            return core.ClosedJaxpr(inner, ())
    return None


def _narrow(equation: Any) -> str:
    """Returns what is said of whole numbers of so few bits that they may wrap; else empty."""
    for dtype in (out.aval.dtype for out in equation.outvars):
        if np.issubdtype(dtype, np.integer) and np.iinfo(dtype).bits < WHOLE_BITS:
            return f"the operation {equation.primitive.name!r} on {dtype}"
    return ""


def _unable(name: str, params: Mapping[str, Any]) -> str:
    """Returns what no reader does of an operation with these parameters; empty if they can."""
    if name.startswith("reduce_window"):
        for dilation in ("base_dilation", "window_dilation"):
            if any(its != 1 for its in params[dilation]):
                return f"a pooling with {dilation}"
    if name == "conv_general_dilated" and params["batch_group_count"] != 1:
        return "a convolution with groups of examples"
    return ""


Write = Callable[[Mapping[str, Any]], dict[str, Any]]


def _plainly(*names: str) -> Write:
    """Returns a writer that copies these parameters, which are numbers or tuples of numbers."""

    def write(params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _json(params[name]) for name in names}

    return write


def _json(value: Any) -> Any:
    """Returns whole numbers, in lists where they are in tuples; a symbol is an error."""
    if isinstance(value, tuple | list):
        return [_json(part) for part in value]
    return operator.index(value)


def _slice(params: Mapping[str, Any]) -> dict[str, Any]:
    start = _json(params["start_indices"])
    return {"start": start, "strides": _json(params["strides"] or [1] * len(start))}


def _reduce(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"axes": _json(params["axes"])}


def _window(params: Mapping[str, Any]) -> dict[str, Any]:
    names = ("window_dimensions", "window_strides", "padding")
    return {name: _json(params[name]) for name in names}


def _dot(params: Mapping[str, Any]) -> dict[str, Any]:
    contract, batch = params["dimension_numbers"]
    return {"contract": _json(contract), "batch": _json(batch)}


def _conv(params: Mapping[str, Any]) -> dict[str, Any]:
    numbers = params["dimension_numbers"]
    names = ("window_strides", "padding", "lhs_dilation", "rhs_dilation")
    return {name: _json(params[name]) for name in names} | {
        "groups": _json(params["feature_group_count"]),
        "image": _json(numbers.lhs_spec),
        "kernel": _json(numbers.rhs_spec),
        "result": _json(numbers.out_spec),
    }


WRITERS: dict[str, Write] = {
    **dict.fromkeys(ELEMENTWISE, _plainly()),
    "cumsum": _plainly("axis", "reverse"),
    "integer_pow": _plainly("y"),
    "round": _plainly("rounding_method"),
    "convert_element_type": _plainly(),
    "reshape": _plainly(),
    "squeeze": _plainly(),
    "expand_dims": _plainly(),
    "broadcast_in_dim": _plainly("broadcast_dimensions"),
    "transpose": _plainly("permutation"),
    "rev": _plainly("dimensions"),
    "concatenate": _plainly("dimension"),
    "pad": _plainly("padding_config"),
    "slice": _slice,
    "reduce_sum": _reduce,
    "reduce_max": _reduce,
    "reduce_min": _reduce,
    "reduce_prod": _reduce,
    "reduce_and": _reduce,
    "reduce_or": _reduce,
    "argmax": _reduce,
    "argmin": _reduce,
    "reduce_window_max": _window,
    "reduce_window_min": _window,
    "reduce_window_sum": _window,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
}
