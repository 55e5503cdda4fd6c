"""Times 32 seeds in one sweep beside 32 processes of `main`, and writes README's table of it.

  python -m benchmarks.population             mlp_tiny and mlp: about half an hour on two cores
  python -m benchmarks.population --seeds=4   quick; writes nothing

The processes of `main` run one after the other, and then two at a time. Sweeps are run before and
after them; theirs is the median. Everything is the whole process, from the shell to its exit.
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
    """Seconds of one sweep, and of as many processes."""
    with tempfile.TemporaryDirectory() as folder:
        _sweep(name, 2, Path(folder) / "first")  # the data, and the programs of both commands
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
    """The table in Markdown, and under it what it was measured with."""
    seeds = found[0]["seeds"]
    lines = [
        f"| {seeds} seeds of | one `sweep`, s | {seeds} `main`, one after the other, s | ratio "
        f"| two at a time, s | ratio |",
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
            f"Whole processes, in one run; of three sweeps the median. {provenance.device()}. "
            f"Python {versions['python']}, jax {versions['jax']}. commit {provenance.commit()}.",
        ]
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", nargs="*", default=CONFIGURATIONS, metavar="NAME")
    arguments = parser.parse_args()
    found = [measure(name, arguments.seeds) for name in arguments.only]
    print(table(found))
    print(json.dumps(found))
    if arguments.seeds == SEEDS and tuple(arguments.only) == CONFIGURATIONS:
        readme.replace("population", table(found))


if __name__ == "__main__":
    main()
