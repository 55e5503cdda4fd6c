"""Measures how long the commands take to reach certain moments, from their start to their exit.

  python -m benchmarks.startup                 all rows: about eight minutes on two cores
  python -m benchmarks.startup --write         saves the results and updates the README files
  python -m benchmarks.startup --quick         a few rows, twice each: under two minutes
  python -m benchmarks.startup --from FILE     prints the table of measurements saved by --json FILE

Each row is run once before it is timed, so that the data are prepared and Python's own caches are
filled. A `warm` row finds its compiled programs on disk; a `cold` row starts with an empty cache.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measured, readme
from benchmarks.moments import DATA, IMPORTED, MEMORY, PROGRAMS, STEPS, TRAINED
from mnist_jax.commands import cli
from mnist_jax.errors import UserError

TIMES, QUICK_TIMES = 5, 2
EXIT = "exit"
COLUMNS = {
    IMPORTED: "imports done, s",
    DATA: "data ready, s",
    PROGRAMS: "programs ready, s",
    STEPS: "first chunk of steps done, s",
    TRAINED: "training done, s",
    EXIT: "exit, s",
    MEMORY: "peak memory, MiB",
}
NOTE = (
    "Times count from before the interpreter starts: the median of {times} processes, with the "
    "lowest and the highest in brackets. A chunk is the steps that one compiled call trains: an "
    "epoch of `mlp` (in a sweep, a part of one), `chunk_steps` steps of `cnn`. "
)


@dataclass(frozen=True)
class Row:
    """A command to be timed; `{out}` in its arguments stands for a new folder per process."""

    name: str
    arguments: tuple[str, ...]
    cold: bool = False  # starts without compiled programs on disk
    quick: bool = False  # is also measured with --quick


def _train(stem: str, epochs: int) -> tuple[str, ...]:
    config = f"--config=configs/{stem}.py"
    return ("main", config, f"--config.num_epochs={epochs}", "--workdir={out}/run")


MLP, CNN = _train("mlp", 3), _train("cnn", 1)
SWEEP = ("sweep", "--config=configs/mlp.py", "--seeds=2", "--config.num_epochs=1")
ROWS = (
    Row("`main`, 3 epochs of `mlp`, warm", MLP, quick=True),
    Row("`main`, 3 epochs of `mlp`, cold", MLP, cold=True, quick=True),
    Row("`main`, 1 epoch of `cnn`, warm", CNN),
    Row("`main`, 1 epoch of `cnn`, cold", CNN, cold=True),
    Row("`sweep`, 2 seeds and 1 epoch of `mlp`, warm", (*SWEEP, "--workdir={out}/sweep")),
    Row("`evaluate`, `mlp`, warm", ("evaluate", "--workdir={finished}"), quick=True),
    *(
        Row(f"`{name} --help`", (name, "--help"), quick=name == "main")
        for name in ("main", "sweep", "evaluate")
    ),
)


def measure(quick: bool) -> dict[str, Any]:
    """Measures all rows, or with `quick` a few, and returns the moments of their processes.

    Returns:
      `{"conditions": ..., "quick": ..., "times": ..., "rows": {name: [moments, ...]}}`.
    """
    rows = [row for row in ROWS if row.quick or not quick]
    times = QUICK_TIMES if quick else TIMES
    found: dict[str, Any] = {
        "conditions": measured.conditions(),
        "quick": quick,
        "times": times,
        "rows": {row.name: [] for row in rows},
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _process(_filled(MLP, home, home / "finished"), home / "programs")
        for number in range(times + 1):
            for row in rows:
                print(f"{number} of {times}: {row.name}", file=sys.stderr, flush=True)
                moments = _timed(row, home, number)
                if number:  # the first process fills the caches and is not counted
                    found["rows"][row.name].append(moments)
    return found


def _timed(row: Row, home: Path, number: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=home) as out:
        programs = Path(out) / "programs" if row.cold and number else home / "programs"
        return _process(_filled(row.arguments, home, Path(out)), programs)


def _filled(arguments: Sequence[str], home: Path, out: Path) -> list[str]:
    finished = home / "finished" / "run"
    return [argument.format(out=out, finished=finished) for argument in arguments]


def _process(command: Sequence[str], programs: Path) -> dict[str, float]:
    """Runs a command, and returns the seconds until each moment and its peak `memory` in MiB.

    Raises:
      SystemExit: the command fails.
    """
    name, *arguments = command
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "moments.json"
        driver = [sys.executable, "benchmarks/moments.py", str(file), f"mnist_jax.{name}"]
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(programs)}
        started = time.perf_counter()
        done = subprocess.run(
            [*driver, *arguments], cwd=readme.ROOT, env=environment, stdout=subprocess.DEVNULL
        )
        ended = time.perf_counter()
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: ended with status {done.returncode}")
        moments = json.loads(file.read_text())
    memory = moments.pop(MEMORY)
    seconds = {moment: at - started for moment, at in (moments | {EXIT: ended}).items()}
    return seconds | {MEMORY: memory}


def table(found: dict[str, Any]) -> str:
    """Returns the table in Markdown, with the measuring conditions under it."""
    lines = [
        f"| command | {' | '.join(COLUMNS.values())} |",
        f"| --- |{' ---: |' * len(COLUMNS)}",
    ]
    for name, runs in found["rows"].items():
        cells = [cell([run[moment] for run in runs if moment in run], moment) for moment in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    said = NOTE.format(times=found["times"])
    conditions = measured.sentence(found["conditions"], "jax", "flax", "orbax-checkpoint")
    return "\n".join([*lines, "", said + conditions])


def short(found: dict[str, Any]) -> str:
    """Returns the first row as a sentence, for README.md."""
    name, runs = next(iter(found["rows"].items()))
    middle = {moment: statistics.median([run[moment] for run in runs]) for moment in COLUMNS}
    return (
        f"{name}: the compiled programs are ready {middle[PROGRAMS]:.2f} s after the command is "
        f"started, the first chunk of steps is done after {middle[STEPS]:.2f} s, and the process "
        f"exits after {middle[EXIT]:.2f} s; its peak memory is {middle[MEMORY]:.0f} MiB. "
        f"{measured.sentence(found['conditions'])}"
    )


def cell(values: Sequence[float], moment: str) -> str:
    """Returns the median and the range as in `1.92 (1.90 to 2.01)`; a dash if there are none."""
    if not values:
        return "-"
    form = "{:.0f}" if moment == MEMORY else "{:.2f}"
    middle, low, high = map(form.format, (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def write(found: dict[str, Any]) -> None:
    """Saves the measurements in benchmarks/measured/, and writes them into the README files.

    Raises:
      UserError: the measurements are incomplete, because of `--quick`.
    """
    if found["quick"]:
        raise UserError("--write: is only for full runs, without --quick")
    measured.keep("startup", found, table(found))
    readme.replace("startup", short(found))


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    measured.define(
        parser,
        quick="measure only a few rows, twice each",
        write="save the results and update the README files (full runs only)",
    )


def main(arguments: Namespace) -> None:
    """Measures or reads the measurements, prints them, and writes them if asked to."""
    found = measured.find(arguments, lambda: measure(arguments.quick), table)
    if arguments.write:
        write(found)


if __name__ == "__main__":
    cli.run(main, __doc__, define)
