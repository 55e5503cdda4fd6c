"""Runs the sweeps `looped` and `depth` over ten seeds, and writes their results into README.

  python -m benchmarks.sweeps --train      runs the missing sweeps, then writes
  python -m benchmarks.sweeps              only writes

For `depth`, the results are the answers to its three questions; for `looped`, the architecture that
is best on the validation split. The runs are kept in runs/results/.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks import readme
from mnist_jax.analysis.sweep.claims import Claim, examine
from mnist_jax.analysis.sweep.comparison import Member, Statistic, architectures, ranked
from mnist_jax.training import sweepdir

RUNS = readme.ROOT / "runs" / "results"
SEEDS = 10
NAMES = ("looped", "depth")


def train(name: str) -> None:
    """Runs a sweep; a finished one is not repeated."""
    module = [sys.executable, "-m", "mnist_jax.sweep", f"--config=configs/sweeps/{name}.py"]
    arguments = [f"--seeds={SEEDS}", f"--workdir={RUNS / name}"]
    subprocess.run([*module, *arguments], cwd=readme.ROOT, check=True)


def members(folder: Path) -> list[Member]:
    """Returns the members of a finished sweep.

    Raises:
      SystemExit: the sweep is not finished.
    """
    if not (folder / "result.json").exists():
        raise SystemExit(f"{folder} holds no finished sweep; run with --train")
    return [
        Member(**result)
        for population in sweepdir.populations(folder)
        for result in population.results or []
    ]


def text(looped: list[Member], depth: list[Member], results: list[dict]) -> str:
    """Returns the results of both sweeps in Markdown, with the measuring conditions."""
    versions = results[0]["versions"]
    commits = "; ".join(sorted({str(result["commit"]) for result in results}))
    return "\n".join(
        [
            _best(looped),
            "",
            "The sweep `depth` tests three claims with which one of the notebooks concludes:",
            "",
            "| claim | contrast | difference ± standard error, percentage points | verdict |",
            "| --- | --- | ---: | --- |",
            *(_row(claim) for claim in examine(depth)),
            "",
            f"{len({m.seed for m in depth})} seeds. {results[0]['device']}. "
            f"Python {versions['python']}, jax {versions['jax']}. commit {commits}.",
        ]
    )


def _best(looped: list[Member]) -> str:
    best = ranked(architectures(looped))[0]
    epochs = best.members[0].epochs
    val, test = best.statistic("val_accuracy"), best.statistic("test_accuracy")
    return (
        f"Of the {len(architectures(looped))} architectures of `looped`, the best on the "
        f"validation split after {epochs} epochs is `{best.name}`: validation accuracy "
        f"{_percent(val)}, test accuracy {_percent(test)}."
    )


def _percent(found: Statistic) -> str:
    return f"{100 * (found.mean or 0.0):.2f} ± {100 * (found.deviation or 0.0):.2f} %"


def _row(claim: Claim) -> str:
    found = "" if claim.difference is None else f"{100 * claim.difference:+.3f}"
    found += "" if claim.standard_error is None else f" ± {100 * claim.standard_error:.3f}"
    return f"| {claim.sentence} | {claim.contrast} | {found} | {claim.verdict} |"


def main() -> None:
    """Runs missing sweeps if asked to, then writes the results into README.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="first run the missing sweeps")
    arguments = parser.parse_args()
    if arguments.train:
        for name in NAMES:
            train(name)
    looped, depth = (members(RUNS / name) for name in NAMES)
    results = [json.loads((RUNS / name / "result.json").read_text()) for name in NAMES]
    readme.replace("sweeps", text(looped, depth, results))
    print(text(looped, depth, results))


if __name__ == "__main__":
    main()
