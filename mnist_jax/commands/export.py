"""Exports a trained network for other programs, and checks the file against the network.

  python -m mnist_jax.export --workdir=runs/cnn --format=html
  python -m mnist_jax.export --workdir=runs/looped-sweep --member=best --format=stablehlo

Writes to DIR/export/, with a model card that says what the network was trained on, and how good it
is. The formats are listed below.
"""

from argparse import Namespace

from mnist_jax.commands import cli
from mnist_jax.exporting import formats


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="folder of a run or a sweep"
    )
    parser.add_argument("--format", required=True, choices=tuple(formats.FORMATS))
    cli.add_checkpoint(parser)
    cli.add_member(parser)
    parser.epilog = f"formats:\n{formats.listed()}"


def main(arguments: Namespace) -> None:
    """Writes the file, and prints its path and how far its probabilities differ."""
    from mnist_jax import exporting  # imported late: --help does not need it
    from mnist_jax.training import network

    found = network.find(arguments.workdir, arguments.member, arguments.seed)
    print(exporting.export(found, arguments.checkpoint, arguments.format))


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    cli.run(main, __doc__, define)
