"""Measures how networks read digits of other writers than MNIST's, and writes README's tables.

  python -m benchmarks.outside --train           trains and measures all, then writes
  python -m benchmarks.outside --train --only mlp     one configuration; the other rows stay
  python -m benchmarks.outside                   only writes

Each configuration is trained with three seeds, as are the candidates of configs/sweeps/robust.py.
These are ranked by their accuracy on corrupted images of the validation split alone;
`configs/robust.py` is the best of them. The outside test chooses nothing. The runs are kept in
runs/results/outside/, the measurements in benchmarks/measured/outside.json.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import measured, readme
from mnist_jax import settings
from mnist_jax.config import Augment
from mnist_jax.config_file import import_file, load
from mnist_jax.evaluations import outside, robustness
from mnist_jax.training import network, sweepdir
from mnist_jax.training.network import Network
from mnist_jax.training.restored import restore

RUNS = readme.ROOT / "runs" / "results" / "outside"
FILE = measured.FOLDER / "outside.json"
NAMES = ("logistic", "mlp_tiny", "mlp", "mlp_wide", "fast")
SWEEP, SWEPT = "sweeps/robust", ("cnn", "robust")  # whose members are these two and others
SEEDS = 3
VALIDATION, TEST = "train[55000:]", "test"


def trained(name: str) -> dict[str, list[Network]]:
    """Trains the seeds of a configuration or a sweep; returns the networks by architecture."""
    folder = RUNS / name.replace("/", "-")
    module = [sys.executable, "-m", "mnist_jax.sweep", f"--config=configs/{name}.py"]
    arguments = [f"--seeds={SEEDS}", f"--workdir={folder}"]
    subprocess.run([*module, *arguments], cwd=readme.ROOT, check=True)
    found: dict[str, list[Network]] = {}
    for architecture, seed in sweepdir.finished(sweepdir.populations(folder)):
        found.setdefault(architecture, []).append(network.find(folder, architecture, seed))
    return found


def measure(name: str) -> dict[str, Any]:
    """Returns the measurements of one configuration, or of the candidates and those among them."""
    found = trained(name)
    if name != SWEEP:
        (networks,) = found.values()
        return {name: _row(networks)}
    corrupted = {its: [_corrupted(one, VALIDATION) for one in found[its]] for its in found}
    rows = {"cnn": _row(found["as in cnn"]), "robust": _row(found[_best(corrupted)])}
    return rows | {SWEEP: {"candidates": corrupted}}


def _best(candidates: dict[str, list[float]]) -> str:
    return max(candidates, key=lambda its: statistics.mean(candidates[its]))


def check(found: dict[str, Any]) -> None:
    """Raises SystemExit unless configs/robust.py is the best of the candidates."""
    best = _best(found[SWEEP]["candidates"])
    config = import_file(str(readme.ROOT / "configs/robust.py")).get_config()
    sweep = import_file(str(readme.ROOT / "configs/sweeps/robust.py"))
    if config != sweep.candidate(best):
        raise SystemExit(f"configs/robust.py is not the best candidate, {best!r}: change it")


def _row(networks: Sequence[Network]) -> dict[str, Any]:
    digits = [outside.examined(restore(one)).correct.mean() for one in networks]
    return {
        "outside": [float(accuracy) for accuracy in digits],
        "corrupted": [_corrupted(one, TEST) for one in networks],
        "test": [(one.result or {})["test"]["accuracy"] for one in networks],
    }


def _corrupted(one: Network, split: str) -> float:
    """Returns the mean accuracy over all corruptions and strengths."""
    _, cells, _ = robustness.measure(one, "latest", split)
    return statistics.mean(cell.accuracy for cell in cells)


def tables(found: dict[str, Any]) -> str:
    """Returns both tables in Markdown, with what they say and the conditions under them."""
    rows = [found[name] for name in (*NAMES, *SWEPT)]
    candidates = found[SWEEP]["candidates"]
    order = sorted(candidates, key=lambda its: -statistics.mean(candidates[its]))
    conditions = {f"{row['device']}: {row['date']}, commit {row['commit']}" for row in rows}
    lines = [
        "| configuration | outside test, % | corrupted test images, % | test images, % |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| [`{name}`](configs/{name}.py) | {_spread(row['outside'])} "
            f"| {_spread(row['corrupted'])} | {_spread(row['test'])} |"
            for name, row in zip((*NAMES, *SWEPT), rows, strict=True)
        ),
        "",
        "| augmentation | corrupted validation images, % |",
        "| --- | ---: |",
        *(f"| {name} | {_spread(candidates[name])} |" for name in order),
        "",
        f"{_conclusion(found)}",
        "",
        f"Mean ± standard deviation over {SEEDS} seeds, with the weights of the last step. "
        f"{'; '.join(sorted(conditions))}.",
    ]
    return "\n".join(lines)


def _conclusion(found: dict[str, Any]) -> str:
    best = max((*NAMES, *SWEPT), key=lambda name: statistics.mean(found[name]["outside"]))
    words = {"corrupted": "corrupted images", "outside": "other writers", "test": "clean digits"}
    gains = []
    for kind, what in words.items():
        robust, cnn = (statistics.mean(found[name][kind]) for name in ("robust", "cnn"))
        gains.append(f"{100 * (robust - cnn):+.2f} on {what}")
    augmented, plain = [], []
    for name in (*NAMES, *SWEPT):
        config = load(str(readme.ROOT / f"configs/{name}.py"))
        side = augmented if config.augment != Augment() else plain
        side.append(statistics.mean(found[name]["outside"]))
    return (
        f"`{best}` reads the digits of other writers best. Configurations with augmentation read "
        f"{100 * min(augmented):.1f} to {100 * max(augmented):.1f} % of them, those without "
        f"{100 * min(plain):.1f} to {100 * max(plain):.1f} %. `robust` has the augmentation that "
        f"does best on corrupted validation images, and is trained like `cnn`; its difference from "
        f"it, in percentage points: {', '.join(gains)}."
    )


def _spread(values: list[float]) -> str:
    percent = [100 * value for value in values]
    return f"{statistics.mean(percent):.2f} ± {statistics.stdev(percent):.2f}"


def main() -> None:
    """Trains and measures if asked to, then writes README's part from all measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="first train and measure")
    parser.add_argument("--only", nargs="*", default=(SWEEP, *NAMES), metavar="NAME")
    arguments = parser.parse_args()
    found = measured.read(FILE) if FILE.exists() else {}
    with settings.own():
        conditions = measured.conditions()  # before its own file changes
        where = {name: conditions[name] for name in ("device", "date", "commit")}
        for name in arguments.only if arguments.train else ():
            found |= {name: row | where for name, row in measure(name).items()}
            measured.save(found, FILE)
    if missing := [name for name in (*NAMES, *SWEPT, SWEEP) if name not in found]:
        raise SystemExit(f"not measured yet: {', '.join(missing)}; run with --train")
    check(found)
    text = tables(found)
    readme.replace("outside", text)
    print(text)


if __name__ == "__main__":
    main()
