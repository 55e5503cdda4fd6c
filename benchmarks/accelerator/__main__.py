"""Times complete trainings on one accelerator: XLA flags, precision, and populations of seeds.

  python -m benchmarks.accelerator --write
  python -m benchmarks.accelerator --config=configs/mlp.py --quick --json=found.json

Each combination of XLA flags and precision runs in a process of its own. The script measures the
time of setup (building the network and loading the data), of compilation, of the first training
from its first to its last step, and of further trainings. The data and the state are on the device,
and each chunk of steps is one call. Populations are trained as `sweep` trains them. Without an
accelerator, nothing is measured unless --on_cpu is given, which tests the script on a CPU.
"""

import sys
from argparse import Namespace
from typing import Any

from benchmarks import measured
from benchmarks.accelerator import settings
from benchmarks.accelerator.table import table
from mnist_jax import config_file
from mnist_jax.commands import cli
from mnist_jax.errors import UserError

CONFIGURATION = "configs/fast.py"
MEMBERS, QUICK_MEMBERS = (1, 16, 64), (16,)
REPEATS = 5


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument("--config", default=CONFIGURATION, metavar="FILE", help="configuration")
    parser.add_argument(
        "--members", type=int, nargs="*", metavar="N", help="sizes of the populations to train"
    )
    parser.add_argument("--on_cpu", action="store_true", help="test the script on a CPU")
    measured.define(
        parser,
        quick="two repeats, float32 only, one population",
        write="save the results and update benchmarks/README.md (full runs only)",
    )


def main(arguments: Namespace) -> None:
    """Measures or reads the measurements, prints them, and writes them if asked to."""
    found = measured.find(arguments, lambda: _find(arguments), table)
    if arguments.write:
        write(found)


def _find(arguments: Namespace) -> dict[str, Any]:
    """Measures in other processes, so that this one does not hold the accelerator's memory."""
    rows, failed = settings.ask("described()")
    if failed:
        raise UserError(f"JAX does not start here: {failed}")
    (said,) = rows
    quick = arguments.quick
    members = QUICK_MEMBERS if quick else MEMBERS
    asked = {
        "config": arguments.config,
        "overrides": arguments.overrides,
        "members": list(members if arguments.members is None else arguments.members),
        "repeats": 2 if quick else REPEATS,
    }
    measurable = said["platform"] != "cpu" or arguments.on_cpu
    if measurable:
        config_file.load(arguments.config, arguments.overrides)  # reports mistakes here, once
    return {
        "conditions": said,
        "asked": asked,
        "command": " ".join(["python -m benchmarks.accelerator", *sys.argv[1:]]),
        "rows": settings.measure_all(asked, said["platform"], quick) if measurable else [],
    }


def write(found: dict[str, Any]) -> None:
    """Saves the measurements in benchmarks/measured/, and the table in benchmarks/README.md.

    Raises:
      UserError: the measurements are incomplete, or empty while there are saved ones.
    """
    file = measured.FOLDER / "accelerator.json"
    if found["rows"] and not _is_whole(found):
        raise UserError("--write: is only for full runs on an accelerator, without options")
    if not found["rows"] and file.exists() and measured.load("accelerator")["rows"]:
        raise UserError(
            f"--write: there is no accelerator, and {file} holds measurements of one; "
            f"run without --write"
        )
    measured.keep("accelerator", found, table(found))


def _is_whole(found: dict[str, Any]) -> bool:
    whole = {"config": CONFIGURATION, "overrides": [], "members": [*MEMBERS], "repeats": REPEATS}
    trained = any("failed" not in row and row["members"] is None for row in found["rows"])
    return found["asked"] == whole and trained and found["conditions"]["platform"] != "cpu"


if __name__ == "__main__":
    cli.run(main, __doc__, define)
