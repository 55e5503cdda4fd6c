"""Times a whole training on one accelerator: flags, precision, and populations of seeds.

  python -m benchmarks.accelerator --write
  python -m benchmarks.accelerator --config=configs/mlp.py --quick --json=found.json

Each setting of XLA's flags and of the precision has a process of its own. What is timed: building
and loading, compiling, the first training from its first step to its last, and further ones. The
data and the state are on the device; a chunk of steps is one call. A population is trained as
`sweep` does. Without an accelerator the table says so; --on_cpu tries the script on a CPU.
"""

import sys
from argparse import Namespace
from typing import Any

from benchmarks import measured
from benchmarks.accelerator import settings
from benchmarks.accelerator.table import table
from mnist_jax import config
from mnist_jax.commands import cli
from mnist_jax.errors import UserError

CONFIGURATION = "configs/fast.py"
MEMBERS, QUICK_MEMBERS = (1, 16, 64), (16,)
REPEATS = 5


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    parser.add_argument("--config", default=CONFIGURATION, metavar="FILE")
    parser.add_argument("--members", type=int, nargs="*", metavar="N", help="of populations")
    parser.add_argument("--on_cpu", action="store_true", help="try the script where there is none")
    measured.define(
        parser,
        quick="two repeats, float32, one population",
        write="into benchmarks/: full runs only",
    )


def main(arguments: Namespace) -> None:
    """Measures, or reads what was measured, and shows it."""
    found = measured.find(arguments, lambda: _find(arguments), table)
    if arguments.write:
        write(found)


def _find(arguments: Namespace) -> dict[str, Any]:
    """Asks processes alone: this one must not take the accelerator's memory from them."""
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
        config.load(arguments.config, arguments.overrides)  # a mistake in it is said here, once
    return {
        "conditions": said,
        "asked": asked,
        "command": " ".join(["python -m benchmarks.accelerator", *sys.argv[1:]]),
        "rows": settings.measure_all(asked, said["platform"], quick) if measurable else [],
    }


def write(found: dict[str, Any]) -> None:
    """Keeps it in benchmarks/measured/, and the table in benchmarks/README.md.

    Raises:
      UserError: it is not the whole, or would take the place of numbers with none.
    """
    file = measured.FOLDER / "accelerator.json"
    if found["rows"] and not _is_whole(found):
        raise UserError("--write: is for full runs on an accelerator, without options")
    if not found["rows"] and file.exists() and measured.load("accelerator")["rows"]:
        raise UserError(f"--write: there is no accelerator, and {file} holds what one measured")
    measured.keep("accelerator", found, table(found))


def _is_whole(found: dict[str, Any]) -> bool:
    whole = {"config": CONFIGURATION, "overrides": [], "members": [*MEMBERS], "repeats": REPEATS}
    trained = any("failed" not in row and row["members"] is None for row in found["rows"])
    return found["asked"] == whole and trained and found["conditions"]["platform"] != "cpu"


if __name__ == "__main__":
    cli.run(main, __doc__, define)
