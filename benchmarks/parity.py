"""Compares what two machines trained, a CPU and an accelerator: accuracy and time.

  python -m benchmarks.parity runs/results FOLDER --write

Each folder holds runs, named as `benchmarks.results --train` names them: `cnn-0`, `cnn-1` by `main`
with the seeds 0 and 1, `mlp-sweep` by `sweep`. Run the same commands on both machines, and copy
one's folder to the other. Names that only one of them holds are left out.
"""

import json
import statistics
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas

from benchmarks import measured
from mnist_jax.commands import cli
from mnist_jax.errors import UserError

Found = dict[str, Any]


def define(parser: ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("folders", nargs=2, type=Path, metavar="FOLDER", help="of finished runs")
    parser.add_argument("--write", action="store_true", help="into benchmarks/README.md")


def main(arguments: Namespace) -> None:
    """Reads what was trained on both machines, and shows it."""
    found = compare(*arguments.folders)
    print(table(found))
    if arguments.write:
        write(found)


def write(found: Found) -> None:
    """Keeps the figures in benchmarks/measured/ and their table in benchmarks/README.md."""
    measured.keep("parity", found, table(found))


def compare(one: Path, other: Path) -> Found:
    """The runs that both folders hold: of each machine its conditions, and each run by its name.

    Raises:
      UserError: the folders have no finished run in common.
    """
    sides = [{folder.name: _read(folder) for folder in _finished(root)} for root in (one, other)]
    common = sorted(sides[0].keys() & sides[1].keys())
    if not common:
        raise UserError(f"{one} and {other} have no finished run in common")
    return {"machines": [_machine(side, common) for side in sides]}


def _finished(root: Path) -> Iterable[Path]:
    return (file.parent for file in sorted(root.glob("*/result.json")))


def _read(folder: Path) -> Found:
    """A run's or a sweep's result without its configuration; `networks` has its test accuracies."""
    result = json.loads((folder / "result.json").read_text())
    result.pop("config", None)
    if (folder / "sweep.csv").exists():
        rows = pandas.read_csv(folder / "sweep.csv")
        networks = rows[["architecture", "seed", "test_accuracy"]].to_dict("records")
    else:
        networks = [{"architecture": "", "seed": 0, "test_accuracy": result["test_accuracy"]}]
    return result | {"networks": networks}


def _machine(side: dict[str, Found], common: list[str]) -> Found:
    kept = ("train_seconds", "compile_seconds", "total_seconds", "networks")
    first = side[common[0]]
    return {
        "conditions": {name: first[name] for name in ("device", "versions", "commit")},
        "runs": {name: {k: side[name][k] for k in kept if k in side[name]} for name in common},
    }


def table(found: Found) -> str:
    """The table in Markdown, and under it what was trained on what."""
    one, other = found["machines"]
    names = [_device(machine) for machine in (one, other)]
    lines = [
        f"| trained | networks | test accuracy, %: {names[0]} | {names[1]} | difference, points "
        f"| training, s: {names[0]} | {names[1]} | in all, s: {names[0]} | {names[1]} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_row(name, run, other["runs"][name]) for name, run in one["runs"].items()]
    return "\n".join([*lines, "", *(_sentence(machine) for machine in (one, other))])


def _device(machine: Found) -> str:
    return "CPU" if machine["conditions"]["device"].startswith("CPU") else "accelerator"


def _row(name: str, run: Found, other: Found) -> str:
    accuracies = [100 * pandas.Series(_by_network(one)) for one in (run, other)]
    differences = (accuracies[1] - accuracies[0]).dropna()
    both = [one[differences.index] for one in accuracies]
    cells = [
        f"`{name}`",
        f"{len(differences)}",
        *(f"{one.mean():.2f}" for one in both),
        _difference(list(differences)),
        *(f"{one['train_seconds']:.1f}" for one in (run, other)),
        *(f"{one['total_seconds']:.1f}" for one in (run, other)),
    ]
    return f"| {' | '.join(cells)} |"


def _by_network(run: Found) -> dict[tuple[str, int], float]:
    return {(n["architecture"], n["seed"]): n["test_accuracy"] for n in run["networks"]}


def _difference(values: list[float]) -> str:
    """Mean and standard error of the differences, network by network."""
    if len(values) == 1:
        return f"{values[0]:+.2f}"
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):+.2f} ± {error:.2f}"


def _sentence(machine: Found) -> str:
    said = machine["conditions"]
    versions = said["versions"]
    return (
        f"{_device(machine)}: {said['device']}, Python {versions['python']}, "
        f"jax {versions['jax']}, commit {said['commit']}."
    )


if __name__ == "__main__":
    cli.run(main, __doc__, define)
