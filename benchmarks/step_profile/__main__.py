"""Measures where the time of a training step goes: its pieces, its layers, its instructions.

  python -m benchmarks.step_profile --config=configs/cnn.py
  python -m benchmarks.step_profile --config=mine.py --config.batch_size=256 --json=profile.json
  python -m benchmarks.step_profile --write      the profiles of benchmarks/README.md

Pieces are measured by programs that execute more and more of a step, each in a `lax.scan` as in
training; the time of a piece is the difference between its program and the one before. Layers are
measured one by one on inputs of the right shapes: the forward pass, and the forward pass together
with the gradients that training needs. Instructions are those of the program that XLA compiled.
All programs are timed in turn, A B C A B C, on one device. Floating-point operations are counted by
XLA. The limit is the speed of a large matrix product, measured in the same run.
"""

from argparse import Namespace
from typing import Any

from benchmarks import measured
from benchmarks.step_profile.profile import profile
from benchmarks.step_profile.tables import report
from mnist_jax.commands import cli
from mnist_jax.errors import UserError

CONFIGURATIONS = ("configs/mlp.py", "configs/peers/flax_cnn.py", "configs/cnn.py")


def measure(arguments: Namespace) -> dict[str, Any]:
    """Measures the profiles of all configurations, or of the one that `--config` names.

    Raises:
      UserError: the configuration does not exist or is not valid.
    """
    files = [arguments.config] if arguments.config else CONFIGURATIONS
    return {
        "conditions": measured.conditions(),
        "quick": arguments.quick,
        "profiles": [profile(file, arguments.overrides, arguments.quick) for file in files],
    }


def write(found: dict[str, Any]) -> None:
    """Saves the measurements in benchmarks/measured/, and the tables in benchmarks/README.md.

    Raises:
      UserError: the measurements are incomplete, because of `--quick` or `--config`.
    """
    if found["quick"] or [profile["config"] for profile in found["profiles"]] != [*CONFIGURATIONS]:
        raise UserError("--write: is only for full runs, without --quick, --config and its fields")
    measured.keep("profile", found, f"```text\n{report(found)}\n```")


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"configuration to profile; default: {', '.join(CONFIGURATIONS)}",
    )
    measured.define(
        parser,
        quick="shorter repeats",
        write="save the results and update benchmarks/README.md (full runs only)",
    )


def main(arguments: Namespace) -> None:
    """Measures or reads the measurements, prints them, and writes them if asked to."""
    found = measured.find(arguments, lambda: measure(arguments), report)
    if arguments.write:
        write(found)


if __name__ == "__main__":
    cli.run(main, __doc__, define)
