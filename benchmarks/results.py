"""Trains configurations over seeds, and writes README's results table from their result.json files.

  python -m benchmarks.results --train --seeds=3      trains what is missing, then writes
  python -m benchmarks.results                        writes only

The runs are kept in runs/results/<configuration>-<seed>. Beside README, the `Measured` paragraph of
each configuration's docstring is written. Nothing is chosen here: every seed counts, with the
weights of its last step.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "results"
NAMES = ("logistic", "mlp_tiny", "mlp", "mlp_wide", "cnn")
START, END = "<!-- results: start -->", "<!-- results: end -->"

Results = dict[str, list[dict[str, Any]]]  # by configuration, in the order of seeds


def train(names: tuple[str, ...], seeds: int) -> None:
    """Runs `main` for each configuration and seed; a finished run is not repeated."""
    for name in names:
        for seed in range(seeds):
            command = [sys.executable, "-m", "mnist_jax.main", f"--config=configs/{name}.py"]
            arguments = [f"--config.seed={seed}", f"--workdir={RUNS / f'{name}-{seed}'}"]
            subprocess.run(command + arguments, cwd=ROOT, check=True)


def collect(names: tuple[str, ...]) -> Results:
    """The results there are."""
    found = {}
    for name in names:
        files = sorted(RUNS.glob(f"{name}-[0-9]*/result.json"), key=lambda f: seed_of(f))
        if files:
            found[name] = [json.loads(file.read_text()) for file in files]
    return found


def seed_of(file: Path) -> int:
    """The seed of `<name>-<seed>/result.json`."""
    return int(file.parent.name.rpartition("-")[2])


def table(results: Results) -> str:
    """The table in Markdown, and under it what it was measured with."""
    lines = [
        "| configuration | parameters | epochs | seeds | test accuracy, % | lowest | test loss "
        "| training, s | in all, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [row(name, runs) for name, runs in results.items()]
    return "\n".join([*lines, "", conditions(results)])


def row(name: str, runs: list[dict[str, Any]]) -> str:
    """A configuration's row."""
    accuracies = [100 * run["test_accuracy"] for run in runs]
    cells = [
        f"[`{name}`](configs/{name}.py)",
        f"{runs[0]['parameters']:,}",
        f"{runs[0]['epochs']}",
        f"{len(runs)}",
        spread(accuracies, 2),
        f"{min(accuracies):.2f}",
        spread([run["test_loss"] for run in runs], 4),
        f"{statistics.median(run['train_seconds'] for run in runs):.1f}",
        f"{statistics.median(run['total_seconds'] for run in runs):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def spread(values: list[float], digits: int) -> str:
    """Mean and standard deviation over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def conditions(results: Results) -> str:
    """Hardware, versions and commit; all of them, where runs differ."""
    runs = [run for runs in results.values() for run in runs]
    versions = {
        " ".join([f"Python {v['python']},", *(f"{n} {v[n]}," for n in ("jax", "flax"))]).rstrip(",")
        for v in (run["versions"] for run in runs)
    }
    said = [{run["device"] for run in runs}, versions]
    commits = {f"commit {run['commit']}" for run in runs}
    parts = ["; ".join(sorted(part)) for part in [*said, commits]]
    return (
        f"Mean ± standard deviation over seeds 0, 1, ..., all 10,000 test images, the last step's "
        f"weights; the test split chose nothing. Times are medians. {'. '.join(parts)}."
    )


def measured(runs: list[dict[str, Any]]) -> str:
    """The `Measured` paragraph of a configuration's docstring."""
    accuracies = [100 * run["test_accuracy"] for run in runs]
    seconds = statistics.median(run["total_seconds"] for run in runs)
    return (
        f"Measured: test accuracy {spread(accuracies, 2)} %, loss "
        f"{spread([run['test_loss'] for run in runs], 4)}\n"
        f"({len(runs)} seeds, lowest {min(accuracies):.2f} %); {seconds:.0f} s in all "
        f"on {runs[0]['device']},\njax {runs[0]['versions']['jax']}, commit {runs[0]['commit']}."
    )


def write_readme(results: Results) -> None:
    """Replaces what stands between README's two marks."""
    path = ROOT / "README.md"
    before, _, rest = path.read_text().partition(START)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{START}\n{table(results)}\n{END}{after}")


def write_docstring(name: str, runs: list[dict[str, Any]]) -> None:
    """Replaces the last paragraph of the configuration's docstring, `Measured: ...`."""
    path = ROOT / "configs" / f"{name}.py"
    text = path.read_text()
    without = re.sub(r'\n\nMeasured: .*?\n"""', '\n"""', text, count=1, flags=re.S)
    head, mark, tail = without[3:].partition('\n"""')
    path.write_text(f'"""{head}\n\n{measured(runs)}{mark}{tail}')


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="train what is missing first")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to N - 1; default 3")
    parser.add_argument("--only", nargs="*", default=NAMES, metavar="NAME", help="configurations")
    arguments = parser.parse_args()
    if arguments.train:
        train(tuple(arguments.only), arguments.seeds)
    results = collect(NAMES)
    write_readme(results)
    for name, runs in results.items():
        write_docstring(name, runs)
    print(table(results))


if __name__ == "__main__":
    main()
