"""Compares what two machines, a CPU and an accelerator, reached with the same commands.

  python -m benchmarks.parity runs/results FOLDER --write

Each folder holds folders of finished runs, named as `benchmarks.results --train` names them:
`cnn-0` and `cnn-1` by `main` with the seeds 0 and 1, `mlp-sweep` by `sweep`. Run the same commands
on both machines, and copy one machine's folder to the other. Runs that only one of them holds are
ignored.
"""

import csv
import json
import statistics
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from benchmarks import measured
from mnist_jax.commands import cli
from mnist_jax.errors import UserError

Found = dict[str, Any]
TIMES = ("train_seconds", "total_seconds")


def define(parser: ArgumentParser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "folders", nargs=2, type=Path, metavar="FOLDER", help="holds folders of finished runs"
    )
    parser.add_argument(
        "--write", action="store_true", help="save the results and update benchmarks/README.md"
    )


def main(arguments: Namespace) -> None:
    """Compares the runs in both folders, prints the table, and writes it if asked to."""
    found = compare(*arguments.folders)
    print(table(found))
    if arguments.write:
        write(found)


def write(found: Found) -> None:
    """Saves the results in benchmarks/measured/, and their table in benchmarks/README.md."""
    measured.keep("parity", found, table(found))


def compare(one: Path, other: Path) -> Found:
    """Returns the conditions of each machine, and the runs that both folders hold, by name.

    Raises:
      UserError: the folders have no finished run in common, or one of the same name has another
        configuration.
    """
    sides = [
        {file.parent.name: _read(file.parent) for file in root.glob("*/result.json")}
        for root in (one, other)
    ]
    common = sorted(sides[0].keys() & sides[1].keys())
    if not common:
        raise UserError(f"{one} and {other} have no finished run in common")
    for name in common:
        if sides[0][name]["config"] != sides[1][name]["config"]:
            raise UserError(f"{one / name} and {other / name} differ in their configurations")
    return {"machines": [_machine(side, common) for side in sides]}


def _read(folder: Path) -> Found:
    """Returns a result; its `networks` are the test accuracies of each finished network."""
    result = json.loads((folder / "result.json").read_text())
    config = result.get("config", {})
    if (folder / "sweep.csv").exists():
        with (folder / "sweep.csv").open(newline="") as file:
            networks = [_network(row) for row in csv.DictReader(file) if row["test_accuracy"]]
    else:
        its = {"architecture": "", "seed": config["seed"], "test_accuracy": result["test_accuracy"]}
        networks = [its]
    return result | {"config": config, "networks": networks}


def _network(row: dict[str, str]) -> Found:
    seed, accuracy = int(row["seed"]), float(row["test_accuracy"])
    return {"architecture": row["architecture"], "seed": seed, "test_accuracy": accuracy}


def _machine(side: dict[str, Found], common: list[str]) -> Found:
    runs = [side[name] for name in common]
    said = {key: list(dict.fromkeys(run[key] for run in runs)) for key in ("device", "commit")}
    return {
        "conditions": {**said, "versions": runs[0]["versions"]},
        "runs": {name: {key: side[name][key] for key in (*TIMES, "networks")} for name in common},
    }


def table(found: Found) -> str:
    """Returns the table in Markdown, with both machines' conditions under it."""
    one, other = found["machines"]
    names = [_device(machine) for machine in (one, other)]
    lines = [
        f"| trained | networks | test accuracy, %: {names[0]} | {names[1]} | difference, points "
        f"| training, s: {names[0]} | {names[1]} | total, s: {names[0]} | {names[1]} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_row(name, run, other["runs"][name]) for name, run in one["runs"].items()]
    return "\n".join([*lines, "", *(_sentence(machine) for machine in (one, other))])


def _device(machine: Found) -> str:
    return "CPU" if machine["conditions"]["device"][0].startswith("CPU") else "accelerator"


def _row(name: str, run: Found, other: Found) -> str:
    accuracies = [_by_network(one) for one in (run, other)]
    common = sorted(accuracies[0].keys() & accuracies[1].keys())
    both = [[its[network] for network in common] for its in accuracies]
    means = [f"{statistics.mean(its):.2f}" if its else "none" for its in both]
    cells = [
        f"`{name}`",
        f"{len(common)}",
        *means,
        _difference([b - a for a, b in zip(*both, strict=True)]),
        *(f"{one[seconds]:.1f}" for seconds in TIMES for one in (run, other)),
    ]
    return f"| {' | '.join(cells)} |"


def _by_network(run: Found) -> dict[tuple[str, int], float]:
    return {(n["architecture"], n["seed"]): 100 * n["test_accuracy"] for n in run["networks"]}


def _difference(values: list[float]) -> str:
    """Formats mean and standard error of the differences between the same networks."""
    if len(values) < 2:
        return f"{values[0]:+z.2f}" if values else "none in common"
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):+z.2f} ± {error:.2f}"


def _sentence(machine: Found) -> str:
    said = machine["conditions"]
    versions = said["versions"]
    return (
        f"{_device(machine)}: "
        f"{'; '.join(said['device'])}. Python {versions['python']}, "
        f"jax {versions['jax']}, commit {'; '.join(map(str, said['commit']))}."
    )


if __name__ == "__main__":
    cli.run(main, __doc__, define)
