"""Trains configurations with several seeds, and writes README's results table from their results.

  python -m benchmarks.results --train      trains the missing runs, then writes
  python -m benchmarks.results              only writes

The seeds of a configuration are trained together by `sweep`, and some of them also by `main`, to
measure its times; all seeds of `cnn` are trained by `main`. The runs are kept in runs/results/. The
script also writes the `Measured` paragraph in the docstring of each configuration. No results are
selected: every seed counts, with the weights of its last step.
"""

import argparse
import csv
import json
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import readme

RUNS = readme.ROOT / "runs" / "results"
SWEPT = {"logistic": 10, "mlp_tiny": 10, "mlp": 10, "mlp_wide": 10, "fast": 30}  # seeds, by sweep
ALONE = {"cnn": 3, "fast": 5}  # seeds, by main; other configurations are trained once, for times
NAMES = (*SWEPT, "cnn")
CLAIMS = {  # accuracies stated by the Keras notebooks that this project reimplements
    "logistic": "96 %, hidden layers added",
    "mlp_tiny": "over 90 %",
    "mlp": "test 96.38 %, validation 96.22 %",
    "mlp_wide": "about 99 %, loss about 0.07",
    "cnn": '"high accuracy"',
    "fast": "",
}


@dataclass(frozen=True)
class Result:
    """The results of one configuration, over its seeds."""

    seeds: list[dict[str, Any]]  # keys: parameters epochs val_accuracy test_accuracy test_loss
    runs: list[dict[str, Any]]  # result.json of each run of `main`, for the times
    conditions: list[dict[str, Any]]  # device, versions and commit of each run and sweep


Results = dict[str, Result]


def train(names: tuple[str, ...]) -> None:
    """Runs the commands for each configuration; finished runs are not repeated."""
    for name in names:
        for seed in range(ALONE.get(name, 1)):
            _run("main", name, f"--config.seed={seed}", f"--workdir={RUNS / f'{name}-{seed}'}")
        if name in SWEPT:
            _run("sweep", name, f"--seeds={SWEPT[name]}", f"--workdir={RUNS / f'{name}-sweep'}")


def _run(command: str, name: str, *arguments: str) -> None:
    module = [sys.executable, "-m", f"mnist_jax.{command}", f"--config=configs/{name}.py"]
    subprocess.run([*module, *arguments], cwd=readme.ROOT, check=True)


def collect(names: tuple[str, ...]) -> Results:
    """Returns the results of each named configuration whose runs are finished."""
    found = {}
    for name in names:
        files = sorted(RUNS.glob(f"{name}-[0-9]*/result.json"), key=seed_of)
        runs = [json.loads(file.read_text()) for file in files]
        sweep = RUNS / f"{name}-sweep"
        if (sweep / "result.json").exists():
            conditions = [*runs, json.loads((sweep / "result.json").read_text())]
            found[name] = Result(_seeds(sweep / "sweep.csv"), runs, conditions)
        elif name not in SWEPT and runs:
            found[name] = Result(runs, runs, runs)
    return found


def _seeds(table: Path) -> list[dict[str, Any]]:
    """Reads a sweep's table; `val_accuracy` is None if there is no validation split."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("parameters", "epochs", "val_accuracy", "test_accuracy", "test_loss")
    return [{name: float(row[name]) if row[name] else None for name in numbers} for row in rows]


def seed_of(file: Path) -> int:
    """Returns the seed in the path `<name>-<seed>/result.json`."""
    return int(file.parent.name.rpartition("-")[2])


def table(results: Results) -> str:
    """Returns the table in Markdown, with the measuring conditions under it."""
    lines = [
        "| configuration | claim of the notebook | seeds | test accuracy, % | lowest "
        "| validation accuracy, % | test loss | parameters | epochs | training, s | total, s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [row(name, result) for name, result in results.items()]
    return "\n".join([*lines, "", conditions(results)])


def row(name: str, result: Result) -> str:
    """Returns the table's row for a configuration."""
    tests = percent(result, "test_accuracy")
    cells = [
        f"[`{name}`](configs/{name}.py)",
        CLAIMS[name],
        f"{len(tests)}",
        f"**{spread(tests, 2)}**",
        f"{min(tests):.2f}",
        spread(percent(result, "val_accuracy"), 2) if _validated(result) else "none",
        spread([seed["test_loss"] for seed in result.seeds], 4),
        f"{result.seeds[0]['parameters']:,.0f}",
        f"{result.seeds[0]['epochs']:.0f}",
        f"{_median(result, 'train_seconds'):.1f}",
        f"{_median(result, 'total_seconds'):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _validated(result: Result) -> bool:
    return all(seed["val_accuracy"] is not None for seed in result.seeds)


def percent(result: Result, name: str) -> list[float]:
    """Returns an accuracy of each seed, in percent."""
    return [100 * seed[name] for seed in result.seeds]


def _median(result: Result, name: str) -> float:
    return statistics.median(run[name] for run in result.runs)


def spread(values: list[float], digits: int) -> str:
    """Returns the mean and the standard deviation over seeds as text."""
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def conditions(results: Results) -> str:
    """Returns the note under the table, with hardware, versions and commits of all runs."""
    runs = [run for result in results.values() for run in result.conditions]
    versions = {
        " ".join([f"Python {v['python']},", *(f"{n} {v[n]}," for n in ("jax", "flax"))]).rstrip(",")
        for v in (run["versions"] for run in runs)
    }
    devices = {re.sub(", [0-9]+ virtual devices", "", run["device"]) for run in runs}
    commits = {f"commit {run['commit']}" for run in runs}
    times = " and ".join(f"for `{name}` the median of {count}" for name, count in ALONE.items())
    parts = ["; ".join(sorted(part)) for part in (devices, versions, commits)]
    return (
        f"Mean ± standard deviation over seeds 0, 1, ..., on all 10,000 test images, with the "
        f"weights of the last step. The test split was not used for model selection. The seeds of "
        f"`cnn` were trained one by one, those of the others together by `sweep`. Times are those "
        f"of one run of `main`, but {times} runs. {'. '.join(parts)}."
    )


def measured(result: Result) -> str:
    """Returns the `Measured` paragraph of a configuration's docstring."""
    tests = percent(result, "test_accuracy")
    losses = [seed["test_loss"] for seed in result.seeds]
    said = result.conditions[0]
    return (
        f"Measured: test accuracy {spread(tests, 2)} %, loss {spread(losses, 4)}\n"
        f"({len(tests)} seeds, lowest {min(tests):.2f} %); "
        f"{_median(result, 'total_seconds'):.0f} s in total on {said['device']},\n"
        f"jax {said['versions']['jax']}, commit {said['commit']}."
    )


def write_docstring(name: str, result: Result) -> None:
    """Replaces the last paragraph of a configuration's docstring, `Measured: ...`."""
    path = readme.ROOT / "configs" / f"{name}.py"
    text = path.read_text()
    without = re.sub(r'\n\nMeasured: .*?\n"""', '\n"""', text, count=1, flags=re.S)
    head, mark, tail = without[3:].partition('\n"""')
    path.write_text(f'"""{head}\n\n{measured(result)}{mark}{tail}')


def main() -> None:
    """Trains missing runs if asked to, then writes the table and the docstrings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="first train the missing runs")
    parser.add_argument(
        "--only", nargs="*", default=NAMES, metavar="NAME", help="train only these configurations"
    )
    arguments = parser.parse_args()
    if arguments.train:
        train(tuple(arguments.only))
    results = collect(NAMES)
    readme.replace("results", table(results))
    for name, result in results.items():
        write_docstring(name, result)
    print(table(results))


if __name__ == "__main__":
    main()
