"""Runs the sweeps `looped`, `depth` and `families`, and writes their results into README.

  python -m benchmarks.sweeps --train                    runs the missing sweeps, then writes
  python -m benchmarks.sweeps                            only writes, of the finished sweeps
  python -m benchmarks.sweeps --train --only families    does so for one part of README

The part `sweeps` has the best architecture of `looped` on the validation split, and the answers of
`depth` to its three questions, over ten seeds. The part `families` compares dense and convolutional
networks of the same size. The runs are kept in runs/results/.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from benchmarks import readme
from mnist_jax.analysis.sweep.contrasts import by_seed, contrast
from mnist_jax.analysis.sweep.table import Comparison, mean_and_deviation, records
from mnist_jax.config_file import import_file
from mnist_jax.training import sweepdir

RUNS = readme.ROOT / "runs" / "results"
SEEDS = {"looped": 10, "depth": 10, "families": 3}
NAMES = ("looped", "depth")  # the sweeps of the part `sweeps`
PARTS = {"sweeps": NAMES, "families": ("families",)}
SIMILAR = 1.25  # largest ratio of the numbers of parameters of networks of similar size


def train(name: str) -> None:
    """Runs a sweep; a finished one is not repeated."""
    module = [sys.executable, "-m", "mnist_jax.sweep", f"--config=configs/sweeps/{name}.py"]
    arguments = [f"--seeds={SEEDS[name]}", f"--workdir={RUNS / name}"]
    subprocess.run([*module, *arguments], cwd=readme.ROOT, check=True)


def finished(name: str) -> bool:
    """True if the sweep is finished."""
    return (RUNS / name / "result.json").exists()


def compared(name: str) -> Comparison:
    """Returns the tables of a finished sweep."""
    folders = sweepdir.populations(RUNS / name)
    return Comparison([result for folder in folders for result in folder.results or []])


def conditions(name: str, *others: str) -> str:
    """Returns the number of seeds, and the conditions under which the sweeps were run."""
    results = [json.loads((RUNS / one / "result.json").read_text()) for one in (name, *others)]
    versions = results[0]["versions"]
    commits = "; ".join(sorted({str(result["commit"]) for result in results}))
    return (
        f"{compared(name).networks['seed'].nunique()} seeds. {results[0]['device']}. "
        f"Python {versions['python']}, jax {versions['jax']}. commit {commits}."
    )


# The part `sweeps`


def sweeps(looped: Comparison, depth: Comparison) -> str:
    """Returns the results of `looped` and `depth` in Markdown."""
    claims = import_file("configs/sweeps/depth_claims.py").examine(depth.networks)
    rows = [
        f"| {claim.sentence} | {claim.contrast} | {claim.found.points if claim.found else ''} "
        f"| {claim.verdict} |"
        for claim in claims
    ]
    best = records(looped.ranked)[0]
    lines = [
        f"Of the {len(looped.architectures)} architectures of `looped`, the best on the validation "
        f"split after {best['epochs']:.0f} epochs is `{best['architecture']}`: validation accuracy "
        f"{_accuracy(looped, best, 'val')}, test accuracy {_accuracy(looped, best)}.",
        "",
        "The sweep `depth` tests three claims with which one of the notebooks concludes:",
        "",
        "| claim | contrast | difference ± standard error, percentage points | verdict |",
        "| --- | --- | ---: | --- |",
        *rows,
    ]
    return "\n".join(lines)


def _accuracy(its: Comparison, row: dict[str, Any], split: str = "test") -> str:
    column = f"{split}_accuracy"
    return f"{mean_and_deviation(row, column, its.results[column])} %"


# The part `families`


def families(its: Comparison) -> str:
    """Returns a table of all architectures and a conclusion in Markdown."""
    order = records(its.ranked)
    lines = [
        "| network | parameters | validation accuracy | test accuracy | training, s |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| `{row['architecture']}` | {row['parameters']:,} | {_accuracy(its, row, 'val')} "
            f"| {_accuracy(its, row)} | {row['seconds']:.1f} |"
            for row in records(its.architectures)
        ),
        "",
        f"- {_of_similar_size(its, order)}",
        f"- {_augmentation(its)}",
        "- Best for their number of parameters (no smaller network has a higher validation "
        f"accuracy): {_named(_front(order, 'parameters'))}.",
        "- Best for their training time (no network that trains faster has a higher validation "
        f"accuracy): {_named(_front(order, 'seconds'))}.",
    ]
    return "\n".join(lines)


def _of_similar_size(its: Comparison, order: list[dict[str, Any]]) -> str:
    """Compares the best dense network with the best convolutional one of its size."""
    dense = next(row for row in order if row["model.name"] == "mlp" and row["model.hidden"])
    sizes = dense["parameters"] / SIMILAR, dense["parameters"] * SIMILAR
    cnn = next(
        row
        for row in order
        if row["model.name"] == "cnn" and sizes[0] <= row["parameters"] <= sizes[1]
    )
    errors = (1 - dense["test_accuracy"]) / (1 - cnn["test_accuracy"])
    times = cnn["seconds"] / dense["seconds"]
    return (
        f"The dense network with the best validation accuracy is `{dense['architecture']}`: "
        f"{dense['parameters']:,} parameters, test accuracy {_accuracy(its, dense)}. Of the "
        f"convolutional networks of similar size, `{cnn['architecture']}` is the best: "
        f"{cnn['parameters']:,} parameters, test accuracy {_accuracy(its, cnn)}. The dense network "
        f"makes {errors:.1f} times as many errors; the convolutional one trains {times:.1f} times "
        f"as long."
    )


def _augmentation(its: Comparison) -> str:
    """Tells by how much augmentation changes the test accuracy of each network."""
    end = import_file("configs/sweeps/families.py").AUGMENTED
    accuracy = by_seed(its.networks, ["architecture"])
    plain = [name for name in its.architectures.index if f"{name}{end}" in accuracy]
    gains = (
        f"`{name}` {contrast(accuracy[f'{name}{end}'] - accuracy[name]).points}" for name in plain
    )
    return (
        "Change of the test accuracy by augmentation, in percentage points (mean ± standard error "
        f"of the paired difference over seeds): {', '.join(gains)}."
    )


def _front(order: list[dict[str, Any]], cost: str) -> list[str]:
    """Returns the architectures that are more accurate than all that cost less."""
    best, front = 0.0, []
    for row in sorted(order, key=lambda row: row[cost]):  # of equal costs the best comes first
        if row["val_accuracy"] > best:
            best = row["val_accuracy"]
            front.append(row["architecture"])
    return front


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> None:
    """Runs missing sweeps if asked to, then writes the results of finished ones into README.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="first run the missing sweeps")
    parser.add_argument(
        "--only", nargs="*", choices=PARTS, default=PARTS, help="parts of README; default: all"
    )
    arguments = parser.parse_args()
    for part in arguments.only:
        names = PARTS[part]
        for name in names if arguments.train else ():
            train(name)
        if left := [name for name in names if not finished(name)]:
            print(f"{part}: not finished: {', '.join(left)}; run with --train")
            continue
        write = {"sweeps": sweeps, "families": families}[part]
        text = f"{write(*map(compared, names))}\n\n{conditions(*names)}"
        readme.replace(part, text)
        print(text)


if __name__ == "__main__":
    main()
