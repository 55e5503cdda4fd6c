"""Measures how networks read digits of other writers than MNIST's, and writes README's tables.

  python -m benchmarks.outside --train    trains what is missing, then measures and writes
  python -m benchmarks.outside            measures and writes what is trained

The configurations are trained with three seeds each. The candidates of configs/sweeps/robust.py are
ranked by their accuracy on corrupted images of the validation split alone; `configs/robust.py` is
the best of them. The outside test chooses nothing. The runs are kept in runs/results/.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import measured, readme
from mnist_jax import settings
from mnist_jax.evaluations import outside, robustness
from mnist_jax.training import network, sweepdir
from mnist_jax.training.restored import restore

RUNS = readme.ROOT / "runs" / "results" / "outside"
NAMES = ("logistic", "mlp_tiny", "mlp", "mlp_wide", "fast", "cnn", "robust")
CANDIDATES = "sweeps/robust"
SEEDS = 3
VALIDATION, TEST = "train[55000:]", "test"


def train(name: str) -> None:
    """Trains the seeds of a configuration; a finished one is not repeated."""
    module = [sys.executable, "-m", "mnist_jax.sweep", f"--config=configs/{name}.py"]
    seeds = [] if name == CANDIDATES else [f"--seeds={SEEDS}"]  # the sweep has its own
    subprocess.run([*module, *seeds, f"--workdir={_folder(name)}"], cwd=readme.ROOT, check=True)


def _folder(name: str) -> Path:
    return RUNS / name.replace("/", "-")


def _networks(name: str) -> list[network.Network]:
    """Returns the networks of a finished sweep; empty if it is not finished."""
    folder = _folder(name)
    if not (folder / "result.json").exists():
        return []
    found = sweepdir.finished(sweepdir.populations(folder))
    return [network.find(folder, architecture, seed) for architecture, seed in found]


def candidates() -> str:
    """Returns the table of the candidates, best first; empty if they are not trained."""
    found: dict[str, list[float]] = {}
    for one in _networks(CANDIDATES):
        name = one.title.rpartition(", seed ")[0]
        found.setdefault(name, []).append(_corrupted(one, VALIDATION))
    if not found:
        return ""
    order = sorted(found.items(), key=lambda item: -statistics.mean(item[1]))
    rows = [f"| {name} | {_spread(values)} |" for name, values in order]
    return "\n".join(["| augmentation | corrupted validation images, % |", "| --- | ---: |", *rows])


def configurations() -> str:
    """Returns the table of the configurations that are trained."""
    rows = [
        "| configuration | outside test, % | corrupted test images, % | test images, % |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in NAMES:
        if networks := _networks(name):
            digits = [outside.examined(restore(one, "latest")).correct.mean() for one in networks]
            cells = [
                _spread([float(value) for value in digits]),
                _spread([_corrupted(one, TEST) for one in networks]),
                _spread([(one.result or {})["test"]["accuracy"] for one in networks]),
            ]
            rows.append(f"| [`{name}`](configs/{name}.py) | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    return "\n".join(rows)


def _corrupted(one: network.Network, split: str) -> float:
    """Returns the mean accuracy over all corruptions and strengths."""
    _, cells, _ = robustness.measure(one, "latest", split)
    return statistics.mean(cell.accuracy for cell in cells)


def _spread(values: list[float]) -> str:
    percent = [100 * value for value in values]
    return f"{statistics.mean(percent):.2f} ± {statistics.stdev(percent):.2f}"


def main() -> None:
    """Trains missing networks if asked to, then measures and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="first train the missing networks")
    parser.add_argument("--only", nargs="*", default=(CANDIDATES, *NAMES), metavar="NAME")
    arguments = parser.parse_args()
    for name in arguments.only if arguments.train else ():
        train(name)
    with settings.own():
        tables = [configurations(), candidates()]
    note = (
        f"Mean ± standard deviation over {SEEDS} seeds. {measured.sentence(measured.conditions())}"
    )
    text = "\n\n".join(filter(None, [*tables, note]))
    readme.replace("outside", text)
    print(text)


if __name__ == "__main__":
    main()
