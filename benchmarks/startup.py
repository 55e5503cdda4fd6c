"""Times the commands from before the interpreter starts to after it has ended, moment by moment.

  python -m benchmarks.startup                 every row: some eight minutes on two cores
  python -m benchmarks.startup --write         keeps it, and writes into the README files
  python -m benchmarks.startup --quick         a few rows, twice each: under two minutes
  python -m benchmarks.startup --from FILE     the table of what --json FILE wrote; measures nothing

Each row is run once before it is timed, so that the data are prepared and Python's own caches are
filled. `warm` finds its compiled programs on disk; `cold` begins with an empty folder for them.
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
    "From before the interpreter starts; median of {times} processes, and in brackets the lowest "
    "and the highest. A chunk is what one compiled call trains: "
    "an epoch of `mlp`, in a sweep a part of one; `chunk_steps` of `cnn`. "
)


@dataclass(frozen=True)
class Row:
    """A command that is timed; `{out}` in its arguments is a folder, new for each process."""

    name: str
    arguments: tuple[str, ...]
    cold: bool = False
    quick: bool = False  # --quick has it too


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
    """The moments of each row's processes: `{"conditions", "times", "rows": {name: [moments]}}`."""
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
                if number:  # the first fills caches
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
    """Runs a command of mnist_jax: seconds until each moment, and `memory`, MiB at its peak.

    Raises:
      SystemExit: it fails.
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
    """The table in Markdown, and under it what it was measured with."""
    lines = [
        f"| from the shell to | {' | '.join(COLUMNS.values())} |",
        f"| --- |{' ---: |' * len(COLUMNS)}",
    ]
    for name, runs in found["rows"].items():
        cells = [cell([run[moment] for run in runs if moment in run], moment) for moment in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    said = NOTE.format(times=found["times"])
    conditions = measured.sentence(found["conditions"], "jax", "flax", "orbax-checkpoint")
    return "\n".join([*lines, "", said + conditions])


def short(found: dict[str, Any]) -> str:
    """The front page's: the first row, in a sentence."""
    name, runs = next(iter(found["rows"].items()))
    middle = {moment: statistics.median([run[moment] for run in runs]) for moment in COLUMNS}
    return (
        f"{name}: the compiled programs are ready {middle[PROGRAMS]:.2f} s after the shell, the "
        f"first chunk of steps is done after {middle[STEPS]:.2f} s, the process after "
        f"{middle[EXIT]:.2f} s; {middle[MEMORY]:.0f} MiB at its peak. "
        f"{measured.sentence(found['conditions'])}"
    )


def cell(values: Sequence[float], moment: str) -> str:
    """`1.92 (1.90 to 2.01)`; a dash where the command has no such moment."""
    if not values:
        return "-"
    form = "{:.0f}" if moment == MEMORY else "{:.2f}"
    middle, low, high = map(form.format, (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def write(found: dict[str, Any]) -> None:
    """Keeps all of it in benchmarks/measured/, and writes into the two README files.

    Raises:
      UserError: it is not the whole.
    """
    if found["quick"]:
        raise UserError("--write: is for full runs, without --quick")
    measured.keep("startup", found, table(found))
    readme.replace("startup", short(found))


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    measured.define(parser, quick="a few rows, twice each", write="into benchmarks/: all rows")


def main(arguments: Namespace) -> None:
    """Measures, or reads what was measured, and shows it."""
    found = measured.find(arguments, lambda: measure(arguments.quick), table)
    if arguments.write:
        write(found)


if __name__ == "__main__":
    cli.run(main, __doc__, define)
