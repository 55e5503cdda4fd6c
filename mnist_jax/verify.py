"""Checks every checkpoint of a run against the digests that were saved with it.

  python -m mnist_jax.verify --workdir=runs/cnn

A line a checkpoint; exit status 1 if one is damaged. Changes nothing.
"""

from argparse import Namespace
from pathlib import Path

from mnist_jax import cli
from mnist_jax.errors import UserError


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="of the run")


def main(arguments: Namespace) -> int:
    """Prints what it finds; the exit status."""
    from mnist_jax.training import checkpoint  # --help needs none of it

    found = list(checkpoint.verify(arguments.workdir / "checkpoints"))
    if not found:
        raise UserError(f"{arguments.workdir / 'checkpoints'} holds no checkpoint")
    for step, problem in found:
        print(f"{step}: {'DAMAGED: ' + problem if problem else 'sound'}")
    return int(any(problem for _, problem in found))


if __name__ == "__main__":
    cli.run(main, __doc__, define)
