"""Checks every checkpoint against the digests that were saved with it.

  python -m mnist_jax.verify --workdir=runs/cnn
  python -m mnist_jax.verify --workdir=runs/looped-sweep
  python -m mnist_jax.verify --workdir=runs/looped-sweep --member='256 relu softmax' --seed=1

Prints one line per checkpoint of a run, of all populations of a sweep, or of one network of a
sweep. Exits with status 1 if a checkpoint is damaged. Warns if your own code, which the
configuration names, has changed since the run began. Changes no files.
"""

from argparse import Namespace

from mnist_jax.commands import cli


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="folder of a run or a sweep"
    )
    cli.add_member(parser)


def main(arguments: Namespace) -> int:
    """Checks the checkpoints and prints one line for each; returns the exit status."""
    from mnist_jax.training import own_code, verification  # imported late: --help does not need it

    own_code.warn_of_changes(arguments.workdir)
    sound = True
    for name, problem in verification.verify(arguments.workdir, arguments.member, arguments.seed):
        print(f"{name}: {'DAMAGED: ' + problem if problem else 'sound'}", flush=True)
        sound = sound and not problem
    return int(not sound)


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    cli.run(main, __doc__, define)
