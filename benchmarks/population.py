"""Compares the time of one sweep over 32 seeds with that of 32 runs of `main`.

  python -m benchmarks.population --quick           a short trial; its numbers are rough
  python -m benchmarks.population --write           saves the results and updates README.md

Sweeps and runs of `main` take turns: a sweep, some runs of `main` one after the other, as many with
two at a time, and so on. Not all 32 runs of `main` are executed: their time is 32 times the median
of those that are. All times are those of whole processes, from the shell to their exit.
"""

import concurrent.futures
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from benchmarks import measured, readme
from mnist_jax.commands import cli
from mnist_jax.errors import UserError

CONFIGURATIONS = ("mlp_tiny", "mlp")
SEEDS, QUICK_SEEDS = 32, 4
ROUNDS, QUICK_ROUNDS = 3, 1
RUNS = 4  # of `main` per round, in each way
Found = dict[str, Any]


def measure(quick: bool) -> Found:
    """Measures all configurations; a quick trial takes fewer seeds and rounds, and one of them."""
    conditions = measured.conditions()
    seeds, rounds = (QUICK_SEEDS, QUICK_ROUNDS) if quick else (SEEDS, ROUNDS)
    names = CONFIGURATIONS[: 1 if quick else None]
    rows = [_measure(name, seeds, rounds) for name in names]
    return {"conditions": conditions, "quick": quick, "rows": rows}


def _measure(name: str, seeds: int, rounds: int) -> Found:
    """Returns the seconds of each sweep, and per run of `main`, one and two at a time."""
    sweeps, alone, pairs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        # These runs prepare the data and fill the caches of compiled programs.
        _run("sweep", name, f"--seeds={seeds}", Path(folder) / "first")
        _run("main", name, "--config.seed=0", Path(folder) / "first-main")
        for number in range(rounds):
            path = Path(folder) / f"{number}"
            sweeps.append(_run("sweep", name, f"--seeds={seeds}", path / "sweep"))
            alone += [_run("main", name, f"--config.seed={s}", path / f"{s}") for s in range(RUNS)]
            pairs.append(_two_at_a_time(name, path / "two"))
    return {"name": name, "seeds": seeds, "sweep": sweeps, "alone": alone, "pairs": pairs}


def _two_at_a_time(name: str, folder: Path) -> float:
    """Returns the seconds per run of `main`, where two run at a time."""
    started = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [(f"--config.seed={seed}", folder / f"{seed}") for seed in range(RUNS)]
        list(pool.map(lambda job: _run("main", name, *job), jobs))
    return (time.perf_counter() - started) / RUNS


def _run(command: str, name: str, option: str, workdir: Path) -> float:
    """Returns the seconds that a command takes, from the shell to its exit."""
    module = [sys.executable, "-m", f"mnist_jax.{command}", f"--config=configs/{name}.py"]
    started = time.perf_counter()
    subprocess.run(
        [*module, option, f"--workdir={workdir}"],
        cwd=readme.ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def table(found: Found) -> str:
    """Returns the table in Markdown, with the measuring conditions under it."""
    seeds = found["rows"][0]["seeds"]
    sweeps, runs, pairs = (len(found["rows"][0][way]) for way in ("sweep", "alone", "pairs"))
    lines = [
        f"| {seeds} seeds of | one `sweep`, s | {seeds} runs of `main`, one at a time, s | ratio "
        f"| two runs of `main` at a time, s | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join(
        [
            *lines,
            *map(_row, found["rows"]),
            "",
            f"Times of whole processes, from the shell to the exit: the median of {sweeps} sweeps, "
            f"and {seeds} times the time of one run of `main`, which is the median of {runs} runs "
            f"or, with two at a time, of {pairs} rounds. A ratio is the time of `sweep` divided by "
            f"that of the runs of `main`. {measured.sentence(found['conditions'], 'jax')}",
        ]
    )


def _row(row: Found) -> str:
    sweep = statistics.median(row["sweep"])
    others = [row["seeds"] * statistics.median(row[way]) for way in ("alone", "pairs")]
    cells = [f"{cell}" for other in others for cell in (f"{other:.0f}", f"{sweep / other:.2f}")]
    name = f"[`{row['name']}`](configs/{row['name']}.py)"
    return f"| {' | '.join([name, f'{sweep:.0f}', *cells])} |"


def write(found: Found) -> None:
    """Saves the measurements in benchmarks/measured/, and writes their table into README.md.

    Raises:
      UserError: they are those of a quick trial.
    """
    if found["quick"]:
        raise UserError("--write: is only for full runs, without --quick")
    measured.save(found, measured.FOLDER / "population.json")
    readme.replace("population", table(found))


def define(parser: ArgumentParser) -> None:
    """Adds the command's arguments to the parser."""
    measured.define(
        parser,
        quick="few seeds, one round, one configuration",
        write="save the results and update README.md (full runs only)",
    )


def main(arguments: Namespace) -> None:
    """Measures or reads the measurements, prints them, and writes them if asked to."""
    found = measured.find(arguments, lambda: measure(arguments.quick), table)
    if arguments.write:
        write(found)


if __name__ == "__main__":
    cli.run(main, __doc__, define)
