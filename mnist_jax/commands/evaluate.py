"""Evaluates a trained network: figures, plots and the report.

  python -m mnist_jax.evaluate --workdir=runs/cnn
  python -m mnist_jax.evaluate --workdir=runs/cnn --checkpoint=best --split='train[55000:]'
  python -m mnist_jax.evaluate --workdir=runs/looped-sweep --member='256 relu softmax' --seed=1

Restores the weights on whatever devices there are. Writes evaluation.json, plots/ and report.html:
of the test split into DIR, of another split into DIR/evaluations/, of a network of a sweep into
DIR/members/.
"""

from argparse import Namespace
from pathlib import Path

from mnist_jax.commands import cli


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="of the run")
    parser.add_argument(
        "--checkpoint",
        default="latest",
        metavar="latest|best|STEP",
        help="default: latest, or the newest sound one before it",
    )
    parser.add_argument("--split", default="test", help="any split of tfds; default: test")
    cli.add_member(parser)


def main(arguments: Namespace) -> None:
    """Evaluates and prints the headline figures."""
    from mnist_jax import data  # --help needs none of it
    from mnist_jax.training import network

    found = network.find(arguments.workdir, arguments.member, arguments.seed)
    data.read_ahead(found.config.data.name)
    experiment = cli.experiment()

    figures, folder = experiment.evaluate(found, arguments.checkpoint, arguments.split)
    print(
        f"checkpoint {figures['checkpoint']}, {figures['split']}: "
        f"{figures['accuracy']:.2%} of {figures['count']:,}, loss {figures['loss']:.4f}\n"
        f"{folder / 'report.html'}"
    )


def command() -> None:
    """The command, from the shell to its exit."""
    cli.run(main, __doc__, define)
