"""Measures the time per step while batch size, width, population or devices are doubled repeatedly.

  python -m benchmarks.scaling --write             all points, about 6 minutes; updates benchmarks/
  python -m benchmarks.scaling --quick             fewer points: under a minute
  python -m benchmarks.scaling --only=population   one of batch, width, population, devices

The points of a plot are timed in turn, A B C A B C, so that a slowdown of the machine is not
mistaken for scaling. The devices are virtual CPU devices, with one process per number of devices.
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
    """Measures the points of these dimensions.

    Returns:
      `{"conditions": ..., "quick": ..., "points": [...]}`.
    """
    found: dict[str, Any] = {"conditions": measured.conditions(), "quick": quick, "points": []}
    keep_programs()
    for name in names:
        found["points"] += points.measure(name, quick)
    return found


def write(found: dict[str, Any]) -> None:
    """Saves measurements and plot in benchmarks/measured/, and the table in benchmarks/README.md.

    Raises:
      UserError: the measurements are incomplete, because of `--quick` or `--only`.
    """
    if found["quick"] or list(curves(found["points"])) != list(DIMENSIONS):
        raise UserError("--write: is only for full runs, without --quick and --only")
    picture = "![Time per step against size](measured/scaling.png)"
    measured.keep("scaling", found, f"{picture}\n\n{table(found)}")
    plot.draw(found, measured.FOLDER / "scaling.png")


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--only", nargs="*", default=DIMENSIONS, choices=DIMENSIONS, help="what to measure"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="save a plot as PNG")
    measured.define(
        parser,
        quick="measure fewer points",
        write="save the results and update benchmarks/README.md (full runs only)",
    )


def main(arguments: Namespace) -> None:
    """Measures or reads the measurements, prints, plots and writes them as asked."""
    found = measured.find(arguments, lambda: measure(arguments.only, arguments.quick), table)
    if arguments.plot:
        print(plot.draw(found, arguments.plot))
    if arguments.write:
        write(found)


if __name__ == "__main__":
    cli.run(main, __doc__, define)
