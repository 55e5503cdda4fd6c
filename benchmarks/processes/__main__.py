"""Times a step in one and in two processes, and predicts it for many devices.

  python -m benchmarks.processes --write       about 5 minutes; updates launch/SCALING.md
  python -m benchmarks.processes --from=benchmarks/measured/processes.json

Each process has a core of its own. The model of `benchmarks/processes/model.py` is fitted to some
of the measurements, and compared with the others.
"""

import json
import os
import socket
import subprocess
import sys
from argparse import Namespace
from typing import Any

from benchmarks import measured, readme
from benchmarks.processes import tables
from mnist_jax.commands import cli
from mnist_jax.errors import UserError
from mnist_jax.place import ADDRESS, COUNT, INDEX

FILE = "launch/SCALING.md"
ROUNDS = 2  # of one process, then two
REPEATS = 5  # in a round
LARGEST = 0.2  # error of a prediction that is published


def measure(*, quick: bool) -> dict[str, Any]:
    """Returns `{"conditions": ..., "alone": rows, "pair": rows}`; see `worker.measure`."""
    found: dict[str, Any] = {"conditions": measured.conditions(), "alone": [], "pair": []}
    found["quick"] = quick
    for _ in range(1 if quick else ROUNDS):
        for name, count in (("alone", 1), ("pair", 2)):
            rows = _group(count, 1 if quick else REPEATS)
            for row, more in zip(found[name] or rows, rows, strict=True):
                row["seconds"] = row["seconds"] + (more["seconds"] if found[name] else [])
            found[name] = found[name] or rows
    return found


def _group(count: int, repeats: int) -> list[dict[str, Any]]:
    """Runs the worker in so many processes; returns what the first one has measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {ADDRESS: f"127.0.0.1:{port}", COUNT: str(count), "JAX_NUM_CPU_DEVICES": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.processes.worker", f"--repeats={repeats}"],
            cwd=readme.ROOT,
            env={**os.environ, **shared, INDEX: str(place)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for place in range(count)
    ]
    output = started[0].communicate()[0]
    statuses = [process.wait() for process in started]
    if any(statuses):
        raise UserError(f"a process of {count} failed; see above")
    return json.loads(output.splitlines()[-1])


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    measured.define(
        parser,
        quick="repeat nothing",
        write="save the results and update launch/SCALING.md (full runs only)",
    )


def main(arguments: Namespace) -> None:
    """Measures or reads the measurements, prints them, and writes them as asked."""
    found = measured.find(arguments, lambda: measure(quick=arguments.quick), tables.everything)
    if arguments.write and found["quick"]:
        raise UserError("--write: is only for full runs, without --quick")
    if arguments.write and (error := tables.worst(found)) > LARGEST:
        raise UserError(
            f"--write: a prediction is wrong by {error:.0%}; measure without other load"
        )
    if arguments.write:
        measured.save(found, measured.FOLDER / "processes.json")
        for name, text in tables.sections(found).items():
            readme.replace(name, text, file=FILE)


if __name__ == "__main__":
    cli.run(main, __doc__, define)
