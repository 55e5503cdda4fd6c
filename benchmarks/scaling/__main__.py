"""Times a step against batch size, width, population and devices, each doubled again and again.

  python -m benchmarks.scaling --write             all of it, into benchmarks/: some 6 minutes
  python -m benchmarks.scaling --quick             fewer points: under a minute
  python -m benchmarks.scaling --only=population   one of batch, width, population, devices

The points of a picture are timed in turn, A B C A B C, so that a machine that slows down meanwhile
does not look like scaling. Devices are virtual ones of a CPU, a process each.
"""

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import measured
from benchmarks.scaling import plot, points
from benchmarks.scaling.curves import curves
from benchmarks.scaling.dimensions import DIMENSIONS
from benchmarks.scaling.tables import table
from mnist_jax.commands import cli
from mnist_jax.compilation import keep_programs
from mnist_jax.errors import UserError


def measure(names: Iterable[str], quick: bool) -> dict[str, Any]:
    """The points of these dimensions: `conditions quick points`."""
    found: dict[str, Any] = {"conditions": measured.conditions(), "quick": quick, "points": []}
    keep_programs()
    for name in names:
        found["points"] += points.measure(name, quick)
    return found


def write(found: dict[str, Any]) -> None:
    """Keeps all of it in benchmarks/measured/, and the table in benchmarks/README.md.

    Raises:
      UserError: it is not the whole.
    """
    if found["quick"] or list(curves(found["points"])) != list(DIMENSIONS):
        raise UserError("--write: is for full runs, without --quick and --only")
    picture = "![Time of a step against size](measured/scaling.png)"
    measured.keep("scaling", found, f"{picture}\n\n{table(found)}")
    plot.draw(found, measured.FOLDER / "scaling.png")


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    parser.add_argument("--only", nargs="*", default=DIMENSIONS, choices=DIMENSIONS)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as PNG")
    measured.define(parser, quick="fewer points", write="into benchmarks/: full runs only")


def main(arguments: Namespace) -> None:
    """Measures, or reads what was measured, and shows it."""
    found = measured.find(arguments, lambda: measure(arguments.only, arguments.quick), table)
    if arguments.plot:
        print(plot.draw(found, arguments.plot))
    if arguments.write:
        write(found)


if __name__ == "__main__":
    cli.run(main, __doc__, define)
