"""Times this project and its peers in turn, in one run, and prints tables of times and ratios.

  python -m benchmarks.peers --quick               under 3 minutes; the numbers are rough
  python -m benchmarks.peers --json peers.json     all parts: about an hour on two cores
  python -m benchmarks.peers --write               the same, and updates the two README files
  python -m benchmarks.peers --only mlp whole --without torch_compile
  python -m benchmarks.peers --only recipe --json peers.json     replaces one part in the file

The parts are the networks, which all contestants train by turns of one epoch; `recipe`, the time to
99 % test accuracy; and `whole`, processes from the shell to the exit. Install the peers with
pip install -e '.[peers]'; the tables name those that are missing. The exit status is 1 if a
contestant does not reach the accuracy of the others.
"""

import argparse
import importlib.metadata
import math
import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measured, readme
from benchmarks.peers import race, recipe, record, tables, whole
from benchmarks.peers.contestants import CONTESTANTS, Contestant
from benchmarks.peers.networks import NETWORKS
from benchmarks.peers.parts import parts
from benchmarks.peers.racer import say
from benchmarks.peers.record import PARTS, Found
from mnist_jax.errors import UserError

QUICK_PARTS = ("mlp", "flax_cnn")
EXAMPLES, ROUNDS, QUICK_ROUNDS = 55_000, 5, 3
QUICK_SECONDS = 90  # after this time, a quick run starts no further part or round
PEERS = ("torch", "keras", "tensorflow")
# Many processes share an accelerator, so none may allocate all of its memory.
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def measure(arguments: Namespace) -> Found:
    """Measures the parts that the arguments ask for; saves after each part if a file is named."""
    deadline = time.perf_counter() + (QUICK_SECONDS if arguments.quick else math.inf)
    found = record.begin(arguments.json if arguments.only else None, quick=arguments.quick)
    measured_on = conditions()
    record.require_same(found, measured_on)
    for part in _asked(arguments):
        if time.perf_counter() > deadline:
            found["left_out"].append(part)
        else:
            record.enter(found, part, measured_on, complete=_is_complete(arguments))
            _measure(part, arguments, found, deadline)
        if arguments.json:
            measured.save(found, arguments.json)
    return found


def _asked(arguments: Namespace) -> Sequence[str]:
    return arguments.only or (QUICK_PARTS if arguments.quick else PARTS)


def _measure(part: str, arguments: Namespace, found: Found, deadline: float) -> None:
    """Measures a part and adds it to `found`."""
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else _rounds(part))
    without = arguments.without
    if part == "recipe":
        found["recipe"] = recipe.compare(arguments.recipe, without=without, rounds=rounds)
    elif part == "whole":
        for job in whole.JOBS[:1] if arguments.quick else whole.JOBS:
            name = job.network.name
            found["whole"][name] = whole.compare(job, without=without, rounds=rounds)
    else:
        network = NETWORKS[part]
        platform = _platform()
        found["networks"][part] = race.race(
            network,
            contestants(without, platform),
            platform=platform,
            examples=network.quick_examples if arguments.quick else EXAMPLES,
            rounds=rounds,
            trial=not arguments.quick,
            deadline=deadline,
        )


def _rounds(part: str) -> int:
    return NETWORKS[part].rounds if part in NETWORKS else ROUNDS


def _platform() -> str:
    """Returns JAX's name of the platform: cpu, gpu or tpu."""
    import jax  # only after the environment variables are set

    return jax.default_backend()


def contestants(without: list[str], platform: str) -> list[Contestant]:
    """Returns the contestants that make sense on this platform, except those in `without`."""
    kind = "cpu" if platform == "cpu" else "accelerator"
    return [
        one
        for one in CONTESTANTS.values()
        if one.name not in without and one.platform in ("", kind)
    ]


def conditions() -> Found:
    """Returns the date, hardware, commit and versions, including those of the peers."""
    found = measured.conditions()
    for name in PEERS:
        try:
            found["versions"][name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            say(f"{name} is not installed: its rows will be empty; run pip install -e '.[peers]'")
    return found


def _is_complete(arguments: Namespace) -> bool:
    """Returns True if the requested parts are measured in the way that the README files show."""
    asked = (arguments.quick, arguments.without, arguments.recipe != recipe.CONFIG)
    return not any(asked) and (arguments.rounds or ROUNDS) >= ROUNDS


def _require(complete: bool) -> None:
    if not complete:
        raise UserError(
            f"--write: the README files show all parts and contestants, with at least {ROUNDS} "
            f"rounds; run without --quick, --without and --recipe, and use --only together with a "
            f"--json file that holds the other parts"
        )


def _require_that_it_will_be_complete(arguments: Namespace) -> None:
    """Raises UserError if `--write` would be refused after the measurement, which takes an hour."""
    found = record.begin(arguments.json if arguments.only else None, quick=arguments.quick)
    for part in _asked(arguments):
        record.enter(found, part, {}, complete=_is_complete(arguments))
    _require(record.is_complete(found))
    _require_peers()


def _require_peers() -> None:
    missing = {one.missing() for one in CONTESTANTS.values()} - {""}
    if missing:
        raise UserError(f"--write: the README files show all peers; {'; '.join(sorted(missing))}")


def write(found: Found) -> None:
    """Saves the measurements in benchmarks/measured/, and writes tables into the README files.

    Raises:
      UserError: the measurements are incomplete.
    """
    _require(record.is_complete(found))
    measured.save(found, measured.FOLDER / "peers.json")
    readme.replace("peers", tables.whole(found), file="benchmarks/README.md")
    readme.replace("peers", tables.short(found))


def _run(arguments: Namespace) -> int:
    if arguments.write and not arguments.source:
        _require_that_it_will_be_complete(arguments)
    found = measured.read(arguments.source) if arguments.source else measure(arguments)
    print(tables.whole(found))
    failures = [why for part in parts(found) for why in part.failures().values()]
    for why in failures:
        say(f"failed to train: {why}")
    if arguments.write and not failures:
        write(found)
    return 1 if failures else 0


def _parse() -> Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--quick",
        action="store_true",
        help=f"train parts of epochs; by default only the parts {' and '.join(QUICK_PARTS)}",
    )
    add(
        "--only",
        nargs="+",
        choices=PARTS,
        metavar="PART",
        help=f"parts to measure: {', '.join(PARTS)}",
    )
    add(
        "--without",
        nargs="+",
        choices=CONTESTANTS,
        default=[],
        metavar="NAME",
        help=f"contestants to leave out: {', '.join(CONTESTANTS)}",
    )
    add(
        "--rounds",
        type=int,
        help=f"rounds per part; default: at least {ROUNDS}, with --quick {QUICK_ROUNDS}",
    )
    add(
        "--recipe",
        default=recipe.CONFIG,
        metavar="FILE",
        help="configuration for the part `recipe`; default: %(default)s",
    )
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="save the measurements; with --only, keep the other parts of an existing file",
    )
    add(
        "--from",
        type=Path,
        dest="source",
        metavar="FILE",
        help="use the measurements that --json saved, instead of measuring",
    )
    add("--write", action="store_true", help="write the tables into the README files")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error(f"--rounds: must be at least 1, got {arguments.rounds}")
    return arguments


def main() -> int:
    """Runs the command and returns its exit status."""
    os.environ.update(SHARED)
    arguments = _parse()
    try:
        return _run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
