"""Evaluates a trained network and writes its metrics, plots and report.

  python -m mnist_jax.evaluate --workdir=runs/cnn
  python -m mnist_jax.evaluate --workdir=runs/cnn --checkpoint=best --split='train[55000:]'
  python -m mnist_jax.evaluate --workdir=runs/cnn --outside
  python -m mnist_jax.evaluate --workdir=runs/looped-sweep --member='256 relu softmax' --seed=1

Restores the weights on the available devices. Writes evaluation.json, plots/ and report.html: to
DIR for the test split, to DIR/evaluations/ for another split or the outside test, and to
DIR/members/ for a network of a sweep. Warns if your own code, which the configuration names, has
changed since the run began.
"""

from argparse import Namespace

from mnist_jax.commands import cli
from mnist_jax.errors import UserError


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="folder of a run or a sweep"
    )
    parser.add_argument(
        "--checkpoint",
        default="latest",
        metavar="latest|best|STEP",
        help="default: latest; if that is damaged, the newest undamaged one",
    )
    parser.add_argument("--split", help="any split string of TensorFlow Datasets; default: test")
    parser.add_argument(
        "--outside",
        action="store_true",
        help="evaluate on scikit-learn's digits, of other writers (extra [outside])",
    )
    cli.add_member(parser)


def main(arguments: Namespace) -> None:
    """Evaluates the network, and prints its accuracy, its loss and the report's path."""
    if arguments.outside and arguments.split is not None:
        raise UserError("--outside: is a test of its own; leave out --split=")
    from mnist_jax import data  # imported late: --help does not need it
    from mnist_jax.training import network

    found = network.find(arguments.workdir, arguments.member, arguments.seed)
    data.read_ahead(found.config.data.name)
    experiment = cli.experiment()

    if arguments.outside:
        figures, folder = experiment.evaluate_outside(found, arguments.checkpoint)
    else:
        split = arguments.split or experiment.TEST
        figures, folder = experiment.evaluate(found, arguments.checkpoint, split)
    print(
        f"checkpoint {figures['checkpoint']}, split {figures['split']}: "
        f"accuracy {figures['accuracy']:.2%} of {figures['count']:,} images, "
        f"loss {figures['loss']:.4f}\n"
        f"{folder / 'report.html'}"
    )


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    cli.run(main, __doc__, define)
