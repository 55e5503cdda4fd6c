"""Compares the time of one sweep over 32 seeds with 32 runs of `main`; writes README's table.

  python -m benchmarks.population             mlp_tiny and mlp: about half an hour on two cores
  python -m benchmarks.population --seeds=4   a quick test that writes nothing

The runs of `main` are executed one after the other, and then two at a time. Sweeps are run before,
between and after them, and their median is reported. All times are those of whole processes, from
the shell to their exit.
"""

import argparse
import concurrent.futures
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import readme
from mnist_jax.training import provenance

CONFIGURATIONS = ("mlp_tiny", "mlp")
SEEDS = 32


def measure(name: str, seeds: int) -> dict[str, float | str]:
    """Returns the seconds that one sweep takes, and that as many runs of `main` take."""
    with tempfile.TemporaryDirectory() as folder:
        # These two runs prepare the data and fill the caches of compiled programs.
        _sweep(name, 2, Path(folder) / "first")
        _main(name, 0, Path(folder) / "first-main")
        sweeps = [_sweep(name, seeds, Path(folder) / "before")]
        after_another = sum(_main(name, s, Path(folder) / f"one-{s}") for s in range(seeds))
        sweeps.append(_sweep(name, seeds, Path(folder) / "between"))
        started = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            folders = [Path(folder) / f"two-{s}" for s in range(seeds)]
            list(pool.map(_main, [name] * seeds, range(seeds), folders))
        two_at_a_time = time.perf_counter() - started
        sweeps.append(_sweep(name, seeds, Path(folder) / "after"))
    return {
        "name": name,
        "seeds": seeds,
        "sweep": statistics.median(sweeps),
        "one": after_another,
        "two": two_at_a_time,
    }


def _sweep(name: str, seeds: int, workdir: Path) -> float:
    return _seconds("sweep", name, f"--seeds={seeds}", f"--workdir={workdir}")


def _main(name: str, seed: int, workdir: Path) -> float:
    return _seconds("main", name, f"--config.seed={seed}", f"--workdir={workdir}")


def _seconds(command: str, name: str, *arguments: str) -> float:
    module = [sys.executable, "-m", f"mnist_jax.{command}", f"--config=configs/{name}.py"]
    started = time.perf_counter()
    subprocess.run([*module, *arguments], cwd=readme.ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def table(found: list[dict]) -> str:
    """Returns the table in Markdown, with the measuring conditions under it."""
    seeds = found[0]["seeds"]
    lines = [
        f"| {seeds} seeds of | one `sweep`, s | {seeds} runs of `main`, one at a time, s | ratio "
        f"| two runs of `main` at a time, s | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| [`{f['name']}`](configs/{f['name']}.py) | {f['sweep']:.0f} | {f['one']:.0f} "
        f"| {f['sweep'] / f['one']:.2f} | {f['two']:.0f} | {f['sweep'] / f['two']:.2f} |"
        for f in found
    ]
    versions = provenance.versions()
    return "\n".join(
        [
            *lines,
            "",
            f"Times of whole processes, from the shell to the exit; the time of `sweep` is the "
            f"median of three. A ratio is the time of `sweep` divided by that of the runs of "
            f"`main`. {provenance.device()}. "
            f"Python {versions['python']}, jax {versions['jax']}. commit {provenance.commit()}.",
        ]
    )


def main() -> None:
    """Measures, prints the table, and writes it into README.md after a full run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="default: %(default)s")
    parser.add_argument(
        "--only",
        nargs="*",
        default=CONFIGURATIONS,
        metavar="NAME",
        help=f"configurations to train; default: {', '.join(CONFIGURATIONS)}",
    )
    arguments = parser.parse_args()
    found = [measure(name, arguments.seeds) for name in arguments.only]
    print(table(found))
    print(json.dumps(found))
    if arguments.seeds == SEEDS and tuple(arguments.only) == CONFIGURATIONS:
        readme.replace("population", table(found))


if __name__ == "__main__":
    main()
