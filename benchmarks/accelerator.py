"""Times a whole training on one accelerator: flags, precision, and populations of seeds.

  python -m benchmarks.accelerator --write
  python -m benchmarks.accelerator --config=configs/mlp.py --quick --json=found.json

Each setting of XLA's flags and of the precision has a process of its own. What is timed: building
and loading, compiling, the first training from its first step to its last, and further ones. The
data and the state are on the device; a chunk of steps is one call. A population is trained as
`sweep` does. Without an accelerator the table says so; --on_cpu tries the script on a CPU.
"""

import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measured, readme
from mnist_jax import cli, config, data, models
from mnist_jax.config import Config
from mnist_jax.errors import UserError
from mnist_jax.training import population, run
from mnist_jax.training.inference import Inference
from mnist_jax.training.state import evaluation_weights

CONFIGURATION = "configs/fast.py"
COMMAND_BUFFERS = "--xla_gpu_enable_command_buffer=+WHILE,+CONVOLUTION"
DTYPES = ("float32", "bfloat16")
MEMBERS, QUICK_MEMBERS = (1, 16, 64), (16,)
REPEATS = 5
Rows = list[dict[str, Any]]


# In a process of its own


def described() -> Rows:
    """What is measured on, one row; `platform` is JAX's name of it."""
    return [{**measured.conditions(), "platform": jax.default_backend()}]


def measure(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One network, then populations: `members first seconds ready compile images accuracy`.

    `seconds` are those of trainings after the first; `ready` those until the first can begin, with
    `compile`; `images` the examples of a training, of all members; `accuracy` on the test split.
    """
    named = models.resolve(config.load(asked["config"], asked["overrides"]))
    named = dataclasses.replace(named, dtype=asked["dtype"])
    yield {"members": None, **_timed(lambda: _network(named), asked["repeats"])}
    for members in asked["members"]:
        configs = [dataclasses.replace(named, seed=named.seed + i) for i in range(members)]

        def make(configs: list[Config] = configs) -> "_Trained":
            return _population(configs)

        yield {"members": members, **_timed(make, asked["repeats"])}


@dataclasses.dataclass(frozen=True)
class _Trained:
    """Something to train from start to end, as often as one likes."""

    begin: Callable[[], Any]  # a fresh state, on the device
    train: Callable[[Any], Any]  # to the end
    accuracy: Callable[[Any], float]
    images: int
    compile_seconds: float | None  # None: not known apart


def _timed(make: Callable[[], _Trained], repeats: int) -> dict[str, Any]:
    started = time.perf_counter()
    trained = make()
    ready = time.perf_counter() - started
    seconds, state = [], None
    for _ in range(1 + repeats):
        state = jax.block_until_ready(trained.begin())
        started = time.perf_counter()
        state = trained.train(state)
        seconds.append(time.perf_counter() - started)
    first, *later = seconds
    return {
        "first": first,
        "seconds": later,
        "ready": ready,
        "compile": trained.compile_seconds,
        "images": trained.images,
        "accuracy": trained.accuracy(state),
    }


def _network(asked: Config) -> _Trained:
    prepared = run.prepare(asked)

    def train(state: Any) -> Any:
        for epoch in range(asked.num_epochs):
            for chunk in prepared.feed.chunks(epoch):
                state = prepared.advance(state, chunk)
        return state

    def accuracy(state: Any) -> float:
        task = prepared.task
        test = Inference(task.model, task.loss, data.load(asked.data.name, "test"))
        predictions = test(*evaluation_weights(state))
        return float(predictions.correct.mean())

    images = asked.num_epochs * prepared.feed.steps_per_epoch * asked.batch_size
    return _Trained(
        begin=lambda: prepared.place(jax.tree.map(jnp.copy, prepared.initial)),
        train=train,
        accuracy=accuracy,
        images=images,
        compile_seconds=prepared.compile_seconds,
    )


def _population(configs: list[Config]) -> _Trained:
    prepared = population.prepare(configs)
    first = configs[0]
    all_of_them = np.ones(len(configs), np.bool_)

    def train(states: Any) -> Any:
        for epoch in range(first.num_epochs):
            for chunk in prepared.chunks(epoch, 0):
                states = prepared.advance(states, chunk, all_of_them)
        return states

    def accuracy(states: Any) -> float:
        test = data.load(first.data.name, "test")
        return float(prepared.examiner(test)(states).accuracy.mean())

    each = first.num_epochs * prepared.steps_per_epoch * first.batch_size
    return _Trained(
        begin=lambda: jax.tree.map(jnp.copy, prepared.initial),
        train=train,
        accuracy=accuracy,
        images=each * len(configs),
        compile_seconds=None,
    )


# Asking processes


def ask(expression: str, flags: str = "") -> tuple[Rows, str]:
    """The rows that a process with these flags gives, and what ended it, if something did.

    XLA reads its flags at the start, and ends a process that has one which it does not know.
    """
    code = f"import json; from benchmarks import accelerator\nfor row in accelerator.{expression}:"
    both = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    done = subprocess.run(
        [sys.executable, "-c", f"{code} print(json.dumps(row), flush=True)"],
        cwd=readme.ROOT,
        env=os.environ | {"XLA_FLAGS": both},
        capture_output=True,
        text=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return rows, "" if done.returncode == 0 else _end(done.returncode, done.stderr)


def _end(status: int, said: str) -> str:
    """How a process ended: by which signal or status, and the line that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "nknown flag" in line or "Error" in line]
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"{how}: {(telling or lines or ['nothing said'])[-1][:200]}"


def measure_all(asked: dict[str, Any], platform: str, quick: bool) -> Rows:
    """A row a measurement, with its `flags` and `dtype`; one that failed has `failed`."""
    found = []
    for flags in ("", COMMAND_BUFFERS) if platform == "gpu" else ("",):
        for dtype in DTYPES[: 1 if quick else None]:
            rows, failed = ask(f"measure({asked | {'dtype': dtype}!r})", flags)
            said = {"flags": flags, "dtype": dtype}
            found += [said | row for row in rows]
            found += [said | {"failed": failed}] if failed else []
    return found


# What is shown


def table(found: dict[str, Any]) -> str:
    """The table in Markdown, or the sentence that there is none."""
    said = found["conditions"]
    if not found["rows"]:
        return (
            f"No accelerator could be had, and none was measured: JAX found {said['device']} alone "
            f"({said['date']}). Where there is one, `{found['command']}` writes its table here."
        )
    lines = [
        "| trained | XLA_FLAGS | dtype | training, ms | first, ms | compile, s | load, s "
        "| images/s | of one network's | test accuracy, % |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_row(row, found["rows"]) for row in found["rows"]]
    note = (
        f"`{found['command']}`. From the first step to the last: medians of {found['repeats']} "
        f"trainings after the first, ± half the distance between the quartiles. Of populations, "
        f"loading is with compiling. {measured.sentence(said, 'jax', 'jaxlib', 'flax')}"
    )
    return "\n".join([*lines, "", note])


def _row(row: dict[str, Any], rows: Rows) -> str:
    flags = f"`{row['flags']}`" if row["flags"] else ""
    start = f"| {_name(row)} | {flags} | {row['dtype']} |"
    if "failed" in row:
        return f"{start} {row['failed'].replace('|', '/')} | | | | | | |"
    low, middle, high = statistics.quantiles(row["seconds"], n=4, method="inclusive")
    compiled = row["compile"]
    cells = [
        f"{1e3 * middle:,.1f} ± {1e3 * (high - low) / 2:.1f}",
        f"{1e3 * row['first']:,.1f}",
        "" if compiled is None else f"{compiled:.1f}",
        f"{row['ready'] - (compiled or 0.0):.1f}",
        f"{row['images'] / middle:,.0f}",
        f"{row['images'] / middle / _speed_of_one(row, rows):.1f}",
        f"{100 * row['accuracy']:.2f}",
    ]
    return f"{start} {' | '.join(cells)} |"


def _name(row: dict[str, Any]) -> str:
    if "failed" in row:
        return "the process ended"
    members = row["members"]
    return "one network" if members is None else f"a population of {members}"


def _speed_of_one(row: dict[str, Any], rows: Rows) -> float:
    """Images a second of one network with the same flags and precision."""
    same = (row["flags"], row["dtype"])
    one = next(
        r
        for r in rows
        if "failed" not in r and r["members"] is None and (r["flags"], r["dtype"]) == same
    )
    return one["images"] / statistics.median(one["seconds"])


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    parser.add_argument("--config", default=CONFIGURATION, metavar="FILE")
    parser.add_argument("--members", type=int, nargs="*", metavar="N", help="of populations")
    parser.add_argument("--on_cpu", action="store_true", help="try the script where there is none")
    measured.define(
        parser,
        quick="two repeats, float32, one population",
        write="into benchmarks/: full runs only",
    )


def main(arguments: Namespace) -> None:
    """Measures, or reads what was measured, and shows it."""
    found = measured.find(arguments, lambda: _find(arguments), table)
    if arguments.write:
        write(found)


def _find(arguments: Namespace) -> dict[str, Any]:
    """Asks processes alone: this one must not take the accelerator's memory from them."""
    rows, failed = ask("described()")
    if failed:
        raise UserError(f"JAX does not start here: {failed}")
    (said,) = rows
    quick = arguments.quick
    members = QUICK_MEMBERS if quick else MEMBERS
    asked = {
        "config": arguments.config,
        "overrides": arguments.overrides,
        "members": members if arguments.members is None else tuple(arguments.members),
        "repeats": 2 if quick else REPEATS,
    }
    measurable = said["platform"] != "cpu" or arguments.on_cpu
    if measurable:
        config.load(arguments.config, arguments.overrides)  # a mistake in it is said here, once
    return {
        "conditions": said,
        "command": " ".join(["python -m benchmarks.accelerator", *sys.argv[1:]]),
        "quick": quick,
        "repeats": asked["repeats"],
        "rows": measure_all(asked, said["platform"], quick) if measurable else [],
    }


def write(found: dict[str, Any]) -> None:
    """Keeps it in benchmarks/measured/, and the table in benchmarks/README.md.

    Raises:
      UserError: it is not the whole, or would take the place of numbers with none.
    """
    file = measured.FOLDER / "accelerator.json"
    if found["rows"] and (found["quick"] or found["conditions"]["platform"] == "cpu"):
        raise UserError("--write: is for full runs on an accelerator")
    if not found["rows"] and file.exists() and measured.load("accelerator")["rows"]:
        raise UserError(f"--write: there is no accelerator, and {file} holds what one measured")
    measured.keep("accelerator", found, table(found))


if __name__ == "__main__":
    cli.run(main, __doc__, define)
