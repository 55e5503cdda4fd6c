"""Checks every checkpoint against the digests that were saved with it.

  python -m mnist_jax.verify --workdir=runs/cnn
  python -m mnist_jax.verify --workdir=runs/looped-sweep
  python -m mnist_jax.verify --workdir=runs/looped-sweep --member='256 relu softmax' --seed=1

Prints a line per checkpoint: of a run, of all populations of a sweep, or of one network of it. Exit
status 1 if one is damaged. Changes nothing.
"""

from argparse import Namespace
from pathlib import Path

from mnist_jax.commands import cli


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--workdir", type=Path, required=True, metavar="DIR", help="of the run or the sweep"
    )
    cli.add_member(parser)


def main(arguments: Namespace) -> int:
    """Prints what it finds; the exit status."""
    from mnist_jax.training import verification  # --help needs none of it

    found = list(verification.verify(arguments.workdir, arguments.member, arguments.seed))
    for name, problem in found:
        print(f"{name}: {'DAMAGED: ' + problem if problem else 'sound'}")
    return int(any(problem for _, problem in found))


def command() -> None:
    """The command, from the shell to its exit."""
    cli.run(main, __doc__, define)
