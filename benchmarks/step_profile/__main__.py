"""Where the time of a training step goes: its pieces, its layers, and what XLA has made of it.

  python -m benchmarks.step_profile --config=configs/cnn.py
  python -m benchmarks.step_profile --config=mine.py --config.batch_size=256 --json=profile.json
  python -m benchmarks.step_profile --write      those of benchmarks/README.md

Pieces: programs that stop a step earlier and earlier, each in a `lax.scan` as in training; a piece
is what its program takes longer than the one before. Layers: each alone, on inputs of its shapes,
forward, and with the gradient that training needs of it. Everything is timed in turn, A B C A B C,
on one device. FLOPs are XLA's count; the limit is that of a large matrix product, in the same run.
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
    """The profiles of all configurations, or of the one that is named.

    Raises:
      UserError: it asks for something that is not there.
    """
    files = [arguments.config] if arguments.config else CONFIGURATIONS
    return {
        "conditions": measured.conditions(),
        "quick": arguments.quick,
        "profiles": [profile(file, arguments.overrides, arguments.quick) for file in files],
    }


def write(found: dict[str, Any]) -> None:
    """Keeps all of it in benchmarks/measured/, and the tables in benchmarks/README.md.

    Raises:
      UserError: it is not the whole.
    """
    if found["quick"] or [profile["config"] for profile in found["profiles"]] != [*CONFIGURATIONS]:
        raise UserError("--write: is for full runs, without --quick, --config and its fields")
    measured.keep("profile", found, f"```text\n{report(found)}\n```")


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    parser.add_argument("--config", metavar="FILE", help=f"default: {', '.join(CONFIGURATIONS)}")
    measured.define(parser, quick="shorter repeats", write="into benchmarks/: all of them")


def main(arguments: Namespace) -> None:
    """Measures, or reads what was measured, and shows it."""
    found = measured.find(arguments, lambda: measure(arguments), report)
    if arguments.write:
        write(found)


if __name__ == "__main__":
    cli.run(main, __doc__, define)
