"""Where the time of a training step goes: its pieces, its layers, and what XLA has made of it.

  python -m benchmarks.step_profile --config=configs/cnn.py
  python -m benchmarks.step_profile --config=mine.py --config.batch_size=256 --json=profile.json
  python -m benchmarks.step_profile --write      those of benchmarks/README.md

Pieces: programs that stop a step earlier and earlier, each in a `lax.scan` as in training; a piece
is what its program takes longer than the one before. Layers: each alone, on inputs of its shapes,
forward, and with the gradient that training needs of it. Everything is timed in turn, A B C A B C,
on one device. FLOPs are XLA's count; the limit is that of a large matrix product, in the same run.
"""

import contextlib
import functools
import json
import math
import re
import statistics
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from benchmarks import measured, readme
from mnist_jax import cli, config, models
from mnist_jax.analysis.graph import CONTAINERS, Graph, find_graph
from mnist_jax.config import Config
from mnist_jax.data.augment import augment, enabled
from mnist_jax.data.feed import Feed, open_feed
from mnist_jax.errors import UserError
from mnist_jax.models import Model
from mnist_jax.models.layers import Dropout
from mnist_jax.randomness import example_keys
from mnist_jax.training import parallel, task
from mnist_jax.training.loss import smooth_labels
from mnist_jax.training.state import TrainState, init_state
from mnist_jax.training.step import Batch, run_steps
from mnist_jax.training.task import Task

CONFIGURATIONS = ("configs/mlp.py", "configs/peers/flax_cnn.py", "configs/cnn.py")
REPEATS = 5
SECONDS, QUICK_SECONDS = 0.2, 0.02  # that a repeat takes at the least
IMAGES = 2048  # of the steps in one compiled call, at least two steps: else it is no loop
PRODUCT = 2048  # rows and columns of the matrices whose product is the limit
WHOLE = "optimizer and average"  # the last piece: its program is that of a whole step
ROWS = 12  # of a table, the costliest


# Timing


class Timed:
    """A compiled program of some steps, called again and again."""

    def __init__(self, program: Callable[..., Any], steps: int, *arguments: Any) -> None:
        self._compiled = jax.jit(program).lower(*arguments).compile()
        self._arguments = arguments
        self._steps = steps
        self._calls = 1

    def warm(self, at_least: float) -> None:
        """Decides how many calls a repeat has, from the second call."""
        self.seconds()
        self._calls = math.ceil(at_least / (self.seconds() * self._steps))

    def seconds(self) -> float:
        """Of a step, in one more repeat."""
        started = time.perf_counter()
        for _ in range(self._calls):
            jax.block_until_ready(self._compiled(*self._arguments))
        return (time.perf_counter() - started) / (self._calls * self._steps)

    def text(self) -> str:
        """The program as XLA optimized it."""
        return self._compiled.as_text() or ""


def time_in_turn(programs: Sequence[Timed], at_least: float) -> list[list[float]]:
    """Seconds a step of each program, one a repeat."""
    for program in programs:
        program.warm(at_least)
    rounds = [[program.seconds() for program in programs] for _ in range(REPEATS)]
    return [list(column) for column in zip(*rounds, strict=True)]


def again_and_again(function: Callable[..., Any], steps: int) -> Callable[..., Any]:
    """A program that calls `function`, which takes and gives floats, `steps` times.

    The compiler must not do it once and for all: the loop carries what it gives, and what goes in
    is nudged by that, one number of each array.
    """

    def program(*inputs: Any) -> Any:
        def body(carried: Any, _: None) -> tuple[Any, None]:
            inputs, results = carried
            by = sum(leaf.ravel()[0].astype(jnp.float32) for leaf in jax.tree.leaves(results))
            inputs = jax.tree.map(lambda x: _nudged(x, 1e-30 * jnp.asarray(by)), inputs)
            return (inputs, function(*inputs)), None

        return lax.scan(body, (inputs, _zeros(function, *inputs)), length=steps)[0]

    return program


def _nudged(x: jax.Array, by: jax.Array) -> jax.Array:
    """In place, where the loop allows it."""
    first = x[(slice(0, 1),) * x.ndim]
    return lax.dynamic_update_slice(x, first + by.astype(x.dtype), (0,) * x.ndim)


def _zeros(function: Callable[..., Any], *inputs: Any) -> Any:
    shapes = jax.eval_shape(function, *inputs)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


# The pieces of a step


@dataclass(frozen=True)
class Setting:
    """A configuration on one device, and the rows of a chunk of its steps."""

    config: Config
    task: Task
    feed: Feed
    state: TrainState
    rows: Any  # [S, B, ...]
    steps: int


def set_up(asked: Config) -> Setting:
    """What a configuration names, built; nothing compiled but the start.

    Raises:
      UserError: the configuration asks for something that is not there.
    """
    layout = parallel.layout(asked, jax.devices()[:1])
    feed = open_feed(asked, layout.replicated)
    built = task.build(asked, feed.steps_per_epoch)
    chunk = next(iter(feed.chunks(epoch=0)))
    steps = min(chunk.stop - chunk.start, max(2, IMAGES // asked.batch_size))
    rows = jax.device_put(jax.tree.map(lambda x: x[:steps], chunk.batches), layout.by_batch)
    state = jax.jit(lambda: init_state(built))()
    return Setting(asked, built, feed, state, rows, steps)


Piece = Callable[[TrainState, Batch], Any]


def pieces(setting: Setting) -> dict[str, Timed]:
    """Programs that go further and further in a step, by what each adds to the one before."""
    forward = functools.partial(_forward, setting.task)
    parts: dict[str, Piece] = {
        "fetch the batch": lambda state, batch: batch,
        "images to floats": lambda state, batch: _floats(batch),
    }
    if enabled(setting.config.augment):
        parts["distortion"] = functools.partial(_distorted, setting.config)
    if _drops(setting.task.model):
        parts["forward and loss"] = _without_dropout(forward)
        parts["dropout"] = forward
    else:
        parts["forward and loss"] = forward
    programs = {name: _timed(setting, _to_here(setting.feed, f)) for name, f in parts.items()}
    nothing = Task(**{**vars(setting.task), "optimizer": optax.set_to_zero()})
    stateless = {**setting.state, "optimizer": nothing.optimizer.init(setting.state["params"])}
    gradient = functools.partial(run_steps, nothing, setting.feed.fetch)
    whole = functools.partial(run_steps, setting.task, setting.feed.fetch)
    programs["gradient, sums, finite?"] = _timed(setting, gradient, stateless)
    programs[WHOLE] = _timed(setting, whole)
    return programs


def _timed(setting: Setting, program: Callable[..., Any], state: Any = None) -> Timed:
    arguments = state or setting.state, setting.feed.resident, setting.rows
    return Timed(program, setting.steps, *arguments)


def _to_here(feed: Feed, piece: Piece) -> Callable[..., Any]:
    """A chunk of steps that end with a piece; the loop carries what it gives."""

    def program(state: TrainState, resident: Any, rows: Any) -> Any:
        def one(row: Any, step: Any) -> Any:
            at: Any = {**state, "step": step}  # else the random numbers of each step were the same
            return piece(at, lax.optimization_barrier(feed.fetch(resident, row)))

        steps = jnp.arange(len(jax.tree.leaves(rows)[0]))
        first = jax.tree.map(lambda x: x[0], (rows, steps))
        return lax.scan(lambda _, x: (one(*x), None), _zeros(one, *first), (rows, steps))[0]

    return program


def _floats(batch: Batch) -> jax.Array:
    return batch["image"].astype(jnp.float32) / 255.0


def _distorted(asked: Config, state: TrainState, batch: Batch) -> jax.Array:
    keys = example_keys(state["key"], "augment", state["step"], batch["position"])
    return augment(_floats(batch), keys, asked.augment)


def _forward(task: Task, state: TrainState, batch: Batch) -> Any:
    """The losses and the network's other variables after it, as in training."""
    on = enabled(task.config.augment)
    images = _distorted(task.config, state, batch) if on else _floats(batch)
    keys = example_keys(state["key"], "dropout", state["step"], batch["position"])
    outputs, variables = task.model.apply(
        state["params"],
        state["variables"],
        lax.optimization_barrier(images),
        train=True,
        keys=keys,
    )
    targets = smooth_labels(batch["label"], outputs.shape[-1], task.config.label_smoothing)
    kind = task.model.output_activation
    return task.loss(outputs, targets, output_activation=kind), variables


def _drops(model: Model) -> bool:
    module = nnx.eval_shape(lambda: model.module(**model.keywords, rngs=nnx.Rngs(0)))
    return any(isinstance(part, Dropout) for _, part in nnx.iter_modules(module))


def _without_dropout(forward: Piece) -> Piece:
    def piece(state: TrainState, batch: Batch) -> Any:
        with mock.patch.object(Dropout, "__call__", lambda self, x, *, train, keys=None: x):
            return forward(state, batch)

    return piece


# The layers of a network


@dataclass(frozen=True)
class Layer:
    """A layer as it is called, and what it takes."""

    name: str
    kind: str
    path: tuple[Any, ...]
    inputs: Any  # shapes, and what is no array, in the order of `tree`
    tree: Any  # of its arguments and keywords


def layers_called(task: Task, batch_size: int) -> list[Layer]:
    """The outermost layers in the order of their calls in training; sequences are looked into."""
    calls: list[Layer] = []
    model = task.model

    def call(params: Any, variables: Any, images: jax.Array, keys: jax.Array) -> jax.Array:
        module = nnx.merge(model.graph, params, variables)
        with _watched(module, calls):
            return module(images.astype(model.dtype), train=True, keys=keys)

    params, variables = jax.eval_shape(model.init, jax.random.key(0))
    narrow = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, model.dtype), params)
    images = jax.ShapeDtypeStruct((batch_size, 28, 28, 1), jnp.float32)
    jax.eval_shape(call, narrow, variables, images, jax.eval_shape(lambda: _keys(batch_size)))
    return calls


@contextlib.contextmanager
def _watched(module: nnx.Module, calls: list[Layer]) -> Iterator[None]:
    """Notes the calls of parts of `module` that no other noted part makes."""
    paths = {
        id(part): path
        for path, part in nnx.iter_modules(module)
        if path and not isinstance(part, CONTAINERS)
    }
    inside: list[nnx.Module] = []

    def watch(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
            if inside or id(self) not in paths:
                return call(self, *args, **kwargs)
            leaves, tree = jax.tree.flatten((args, kwargs))
            shapes = [jax.typeof(x) if isinstance(x, jax.Array) else x for x in leaves]
            path = paths[id(self)]
            name = ".".join(str(part) for part in path if part != "layers")
            calls.append(Layer(name, type(self).__name__, path, shapes, tree))
            inside.append(self)
            try:
                return call(self, *args, **kwargs)
            finally:
                inside.pop()

        return watched

    with contextlib.ExitStack() as stack:
        for kind in {type(part) for _, part in nnx.iter_modules(module) if callable(part)}:
            stack.enter_context(mock.patch.object(kind, "__call__", watch(kind.__call__)))
        yield


def _keys(count: int) -> jax.Array:
    return jax.random.split(jax.random.key(0), count)


class LayerPrograms:
    """A layer alone: what it computes forward, and with its gradient."""

    def __init__(self, setting: Setting, layer: Layer, needs_input: bool) -> None:
        self.layer = layer
        self._model = setting.task.model
        self._state = setting.state
        self._needs_input = needs_input
        self._arrays = [i for i, x in enumerate(layer.inputs) if hasattr(x, "shape")]
        values = [_noise(layer.inputs[i]) for i in self._arrays]
        self.real = [x for x in values if jnp.issubdtype(x.dtype, jnp.floating)]
        self._others = [x for x in values if not jnp.issubdtype(x.dtype, jnp.floating)]
        leaves = jax.tree.leaves_with_path(setting.state["params"])
        named = [(tuple(key.key for key in path), leaf) for path, leaf in leaves]
        self.own = {p: x for p, x in named if list(map(str, p[: len(layer.path)])) == self._path}

    @property
    def _path(self) -> list[str]:
        return list(map(str, self.layer.path))

    @property
    def parameters(self) -> int:
        """Trained values of its own."""
        return sum(leaf.size for leaf in self.own.values())

    def forward(self, own: Any, real: Sequence[jax.Array]) -> Any:
        """The layer's outputs."""
        params = jax.tree.map_with_path(
            lambda path, p: own.get(tuple(key.key for key in path), p), self._state["params"]
        )
        narrow = jax.tree.map(lambda p: p.astype(self._model.dtype), params)
        module = nnx.merge(self._model.graph, narrow, self._state["variables"])
        part = next(m for path, m in nnx.iter_modules(module) if path == self.layer.path)
        inputs, floats, others = list(self.layer.inputs), iter(real), iter(self._others)
        for i in self._arrays:
            is_real = jnp.issubdtype(inputs[i].dtype, jnp.floating)
            inputs[i] = next(floats if is_real else others)
        args, kwargs = jax.tree.unflatten(self.layer.tree, inputs)
        return part(*args, **kwargs)

    def gradient(self, own: Any, real: Sequence[jax.Array]) -> Any:
        """Outputs and gradients: of its weights, and of its inputs where training needs those."""
        wanted = (own, real) if self._needs_input else (own,)

        def call(*wanted: Any) -> Any:
            return self.forward(*(wanted if self._needs_input else (*wanted, real)))

        outputs, back = jax.vjp(call, *wanted)
        return outputs, back(jax.tree.map(jnp.ones_like, outputs))


def _noise(shape: Any) -> jax.Array:
    """Of the first entries in use: keys differ, floats are of either sign."""
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return _keys(shape.shape[0]) if shape.shape else jax.random.key(0)
    if jnp.issubdtype(shape.dtype, jnp.floating):
        return jax.random.normal(jax.random.key(0), shape.shape, shape.dtype)
    return jnp.zeros(shape.shape, shape.dtype)


def _depends_on_weights(graph: Graph) -> dict[str, bool]:
    """Of each layer, whether what flows into it depends on anything that is trained."""
    trained = [node.parameters > 0 for node in graph.nodes]
    before = [False] * len(graph.nodes)
    for source, node in sorted(graph.edges, key=lambda edge: edge[1]):
        before[node] |= before[source] or trained[source]
    return {node.name: before[i] for i, node in enumerate(graph.nodes) if node.call == 1}


def layer_programs(setting: Setting) -> list[LayerPrograms]:
    """Of each layer that computes with floats; a reshape, say, does not."""
    needed = _depends_on_weights(find_graph(setting.task.model))
    called = layers_called(setting.task, setting.config.batch_size)
    found = [LayerPrograms(setting, c, needed.get(c.name, True)) for c in called]
    return [its for its in found if its.real and _flops(its.gradient, its.own, its.real)]


def _flops(function: Callable[..., Any], *arguments: Any) -> float:
    """Operations as XLA counts them, before it optimizes."""
    return (jax.jit(function).lower(*arguments).cost_analysis() or {}).get("flops", 0.0)


# The program that XLA made

OPCODE = re.compile(r"^\s*(?:ROOT )?%\S+ = (.+?) ([\w-]+)\(")
ARRAY = re.compile(r"\b(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "after-all"}
KINDS = ("convolution", "dot", "while", "gather", "scatter", "reduce-window", "reduce")


def instructions(text: str) -> list[dict[str, Any]]:
    """`kind count bytes` of what runs in a step, by optimized HLO; `bytes` are written.

    A fusion's kind is that of the costliest operation in it, or what it ends with.
    """
    computations = _computations(text)
    loop = max(re.findall(r"body=%?([\w.-]+)", text), key=lambda name: len(computations[name]))
    found: dict[str, list[int]] = defaultdict(list)
    for line in computations[loop]:
        matched = OPCODE.match(line)
        if matched and matched[2] not in FREE:
            found[_kind(line, matched[2], computations)].append(_bytes(matched[1]))
    rows = [{"kind": k, "count": len(v), "bytes": sum(v)} for k, v in found.items()]
    return sorted(rows, key=lambda row: -row["bytes"])


def _computations(text: str) -> dict[str, list[str]]:
    """The lines of each computation, by its name."""
    blocks = re.findall(r"^(?:ENTRY )?%?([\w.-]+) \([^\n]*\{\n(.*?)^\}", text, flags=re.M | re.S)
    return {name: body.splitlines() for name, body in blocks}


def _kind(line: str, opcode: str, computations: dict[str, list[str]]) -> str:
    if opcode not in ("fusion", "call"):
        return opcode
    called = re.search(r"(?:calls|to_apply)=%?([\w.-]+)", line)
    inner = computations.get(called[1], []) if called else []
    opcodes = [m[2] for m in map(OPCODE.match, inner) if m and m[2] not in FREE]
    costly = next((kind for kind in KINDS if kind in opcodes), None)
    name = f"{opcode}: {costly or (opcodes[-1] if opcodes else 'none')}"
    library = re.search(r'"fusion_config":\{"kind":"([^"]+)"', line)
    return name + (f" ({library[1].strip('_')})" if library else "")


def _bytes(shape: str) -> int:
    bits = [
        int(m[1] or 8) * math.prod(map(int, filter(None, m[2].split(","))))
        for m in ARRAY.finditer(shape)
    ]
    return sum(bits) // 8


# All of it


def profile(file: str, overrides: Sequence[tuple[str, str]], quick: bool) -> dict[str, Any]:
    """Everything measured of one configuration; times are lists of seconds a step."""
    setting = set_up(models.resolve(config.load(file, overrides)))
    stages, layers = pieces(setting), layer_programs(setting)
    timed = list(stages.values())
    for its in layers:
        for function in (its.forward, its.gradient):
            looped = again_and_again(function, setting.steps)
            timed.append(Timed(looped, setting.steps, its.own, its.real))
    square = jnp.ones((PRODUCT, PRODUCT), setting.task.model.dtype)
    timed.append(Timed(again_and_again(jnp.matmul, 2), 2, square, square))
    *seconds, limit = time_in_turn(timed, QUICK_SECONDS if quick else SECONDS)
    alone = seconds[len(stages) :]
    return {
        "config": " ".join([file, *(f"--config.{name}={value}" for name, value in overrides)]),
        "batch_size": setting.config.batch_size,
        "limit": [2 * PRODUCT**3 / s for s in limit],  # FLOP/s
        "pieces": [{"name": n, "until": s} for n, s in zip(stages, seconds, strict=False)],
        "layers": [
            _layer(its, *times) for its, *times in zip(layers, alone[::2], alone[1::2], strict=True)
        ],
        "program": instructions(stages[WHOLE].text()),
    }


def _layer(its: LayerPrograms, forward: list[float], gradient: list[float]) -> dict[str, Any]:
    outputs = jax.tree.leaves(jax.eval_shape(its.forward, its.own, its.real))
    return {
        "name": its.layer.name,
        "kind": its.layer.kind,
        "shape": list(outputs[0].shape[1:]) if outputs else [],
        "parameters": its.parameters,
        "forward": forward,
        "gradient": gradient,  # with the forward pass
        "forward_flops": _flops(its.forward, its.own, its.real),
        "gradient_flops": _flops(its.gradient, its.own, its.real),
    }


# What is shown


def text(found: dict[str, Any]) -> str:
    """The tables of one configuration, at most 100 columns wide."""
    limit = statistics.median(found["limit"])
    whole = statistics.median(found["pieces"][-1]["until"])
    flops = sum(layer["gradient_flops"] for layer in found["layers"])
    head = (
        f"{found['config']}: {1e3 * whole:.3f} ms a step of {found['batch_size']} images, "
        f"{found['batch_size'] / whole:,.0f} images/s\n"
        f"{flops / 1e9:.3f} GFLOP a step in its layers: {whole * limit / max(flops, 1):.1f} times "
        f"what a matrix product of {limit / 1e9:.0f} GFLOP/s would take"
    )
    parts = [head, _pieces_text(found), _layers_text(found, limit), _program_text(found)]
    return "\n\n".join(parts)


def _pieces_text(found: dict[str, Any]) -> str:
    whole = statistics.median(found["pieces"][-1]["until"])
    lines = [f"{'piece of a step':32}{'ms':>10}{'±':>9}{'%':>7}"]
    before = [0.0] * len(found["pieces"][0]["until"])
    for piece in found["pieces"]:
        low, middle, high = statistics.quantiles(
            np.subtract(piece["until"], before), n=4, method="inclusive"
        )
        half = (high - low) / 2
        share = 100 * middle / whole
        lines.append(f"{piece['name']:32}{1e3 * middle:10.3f}{1e3 * half:9.3f}{share:7.1f}")
        before = piece["until"]
    return "\n".join(lines)


def _layers_text(found: dict[str, Any], limit: float) -> str:
    head = f"{'layer alone':14}{'output':>13}{'parameters':>11}"
    for part in ("forward", "+ gradient"):
        head += f"{part + ' ms':>14}{'GFLOP/s':>9}{'limit x':>8}"
    lines = [head]
    for layer in found["layers"]:
        shape = "x".join(map(str, layer["shape"])) or "1"
        line = f"{layer['name'][:14]:14}{shape:>13}{layer['parameters']:11,}"
        for part in ("forward", "gradient"):
            seconds, flops = statistics.median(layer[part]), layer[f"{part}_flops"]
            slower = f"{limit * seconds / flops:.1f}" if flops else ""
            line += f"{1e3 * seconds:14.3f}{flops / seconds / 1e9:9.1f}{slower:>8}"
        lines.append(line)
    return "\n".join(lines)


def _program_text(found: dict[str, Any]) -> str:
    lines = [f"{'instructions of a step, compiled':48}{'count':>7}{'MB written':>12}"]
    rows = found["program"]
    for row in rows[:ROWS]:
        lines.append(f"{row['kind'][:48]:48}{row['count']:7}{row['bytes'] / 1e6:12.2f}")
    if len(rows) > ROWS:
        count, size = (sum(row[key] for row in rows[ROWS:]) for key in ("count", "bytes"))
        lines.append(f"{f'{len(rows) - ROWS} other kinds':48}{count:7}{size / 1e6:12.2f}")
    return "\n".join(lines)


def report(found: dict[str, Any]) -> str:
    """All configurations, and what they were measured on."""
    parts = [*(text(profile) for profile in found["profiles"])]
    note = f"Medians of {REPEATS}, in turn; ± half the distance between the quartiles. "
    return "\n\n\n".join([*parts, note + measured.sentence(found["conditions"])])


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    parser.add_argument("--config", metavar="FILE", help=f"default: {', '.join(CONFIGURATIONS)}")
    parser.add_argument("--quick", action="store_true", help="shorter repeats")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing")
    parser.add_argument("--write", action="store_true", help="into benchmarks/: all of them")


def main(arguments: Namespace) -> None:
    """Measures, or reads what was measured, and shows it."""
    if arguments.source:
        found = json.loads(arguments.source.read_text())
    else:
        files = [arguments.config] if arguments.config else CONFIGURATIONS
        found = {"conditions": measured.conditions(), "quick": arguments.quick, "profiles": []}
        for file in files:
            found["profiles"].append(profile(file, arguments.overrides, arguments.quick))
    print(report(found))
    if arguments.json:
        measured.save(found, arguments.json)
    if arguments.write:
        write(found)


def write(found: dict[str, Any]) -> None:
    """Keeps all of it in benchmarks/measured/, and the tables in benchmarks/README.md."""
    if found["quick"] or [profile["config"] for profile in found["profiles"]] != [*CONFIGURATIONS]:
        raise UserError("--write: is for full runs, without --quick, --config and its fields")
    measured.save(found, measured.FOLDER / "profile.json")
    readme.replace("profile", f"```text\n{report(found)}\n```", file="benchmarks/README.md")


if __name__ == "__main__":
    cli.run(main, __doc__, define)
