"""Times the steps of all points in one of several processes, each on a core of its own.

`python -m benchmarks.processes` starts it; the first process prints the times as JSON.
"""

import json
import math
import os
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.processes.points import POINTS, POPULATIONS, Point
from mnist_jax import data, processes
from mnist_jax.commands import cli
from mnist_jax.compilation import keep_programs
from mnist_jax.config import parse
from mnist_jax.training.population import replace
from mnist_jax.training.program import Program, prepare_many, prepare_one

SECONDS = 0.3  # the shortest duration of a repeat
READ = 4096  # images at a time


def measure(repeats: int) -> list[dict[str, Any]]:
    """Returns the seconds per step of each point in each repeat, taken in turn.

    A single process also times populations, and reading from the host.
    """
    keep_programs()
    count = processes.count()
    timers = [timer(prepare_one(point.config(count))) for point in POINTS]
    rows: list[dict[str, Any]] = [point.record() | {"seconds": []} for point in POINTS]
    if count == 1:
        for members in POPULATIONS:
            program = _population(members)
            timers.append(timer(program))
            compiling = program.compile_seconds
            rows.append({"members": members, "compiling": compiling, "seconds": []})
        timers.append(_reader())
        rows.append({"read": READ, "seconds": []})
    for _ in range(repeats):
        for row, seconds in zip(rows, timers, strict=True):
            row["seconds"].append(seconds())
    return rows


def timer(program: Program) -> Callable[[], float]:
    """Returns a function that measures the seconds per step; all processes call it together."""
    chunk = next(iter(program.feed.chunks(epoch=0)))
    active = np.ones(len(program.configs), np.bool_)
    state = program.start()

    def advance(calls: int) -> float:
        """Trains so many chunks; returns the seconds per chunk."""
        nonlocal state
        started = time.perf_counter()
        for _ in range(calls):
            state = program.advance(state, chunk, active)
        return (time.perf_counter() - started) / calls

    advance(2)  # the first call includes work that later calls do not repeat
    own = advance(1)
    calls = processes.decided("the number of calls", lambda: math.ceil(SECONDS / own))
    return lambda: advance(calls) / (chunk.stop - chunk.start)


def _population(members: int) -> Program:
    config = Point("mlp", 128).config(1)
    return prepare_many([replace(config, {"seed": seed}) for seed in range(members)])


def _reader() -> Callable[[], float]:
    """Returns a function that measures the seconds to read `READ` images in random order."""
    split = parse({}).data
    source = data.source(split.name, split.train_split)
    random = np.random.default_rng(0)

    def seconds() -> float:
        index = np.sort(random.choice(data.count(split.name, split.train_split), READ, False))
        started = time.perf_counter()
        source.fetch(index)
        return time.perf_counter() - started

    return seconds


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument("--repeats", type=int, required=True, metavar="N")
    cli.add_processes(parser, one_backend=True)


def main(arguments: Namespace) -> None:
    """Measures, and prints the times."""
    if hasattr(os, "sched_setaffinity"):  # so that one process and two have equal cores
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[processes.index() % len(cores)]})
    print(json.dumps(measure(arguments.repeats)))


if __name__ == "__main__":
    cli.run(main, __doc__, define)
