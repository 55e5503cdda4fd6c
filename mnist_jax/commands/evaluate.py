"""Evaluates a trained network and writes its metrics, plots and report.

  python -m mnist_jax.evaluate --workdir=runs/cnn
  python -m mnist_jax.evaluate --workdir=runs/cnn --checkpoint=best --split='train[55000:]'
  python -m mnist_jax.evaluate --workdir=runs/cnn --outside
  python -m mnist_jax.evaluate --workdir=runs/looped-sweep --member='256 relu softmax' --seed=1

Restores the weights on the available devices. Writes evaluation.json, plots/ and report.html: to
DIR for the test split, to DIR/evaluations/ for another split or the outside test, and to
DIR/members/ for a network of a sweep. In DIR/evaluations/, --robustness writes robustness.json,
robustness.csv and plots/robustness.png, and --ensemble writes ensemble.json and report.html. Warns
if your own code, which the configuration names, has changed since the run began.
"""

from argparse import Namespace
from typing import TYPE_CHECKING

from mnist_jax.commands import cli
from mnist_jax.errors import UserError

TEST = "test"

if TYPE_CHECKING:
    from mnist_jax.training.network import Network


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="folder of a run or a sweep"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--robustness", action="store_true", help="accuracy on images that are corrupted"
    )
    kind.add_argument(
        "--outside",
        action="store_true",
        help="accuracy on scikit-learn's digits, of other writers (extra [outside])",
    )
    kind.add_argument(
        "--ensemble",
        action="store_true",
        help="the networks of a sweep together, or the seeds of the --member",
    )
    cli.add_checkpoint(parser)
    parser.add_argument("--split", help="any split string of TensorFlow Datasets; default: test")
    cli.add_member(parser)


def main(arguments: Namespace) -> None:
    """Evaluates the network, and prints its accuracy, its loss and the report's path."""
    if arguments.outside and arguments.split is not None:
        raise UserError("--outside: is a test of its own; leave out --split=")
    from mnist_jax import data  # imported late: --help does not need it
    from mnist_jax.training import network

    if arguments.ensemble:
        _evaluate_together(arguments)
        return
    found = network.find(arguments.workdir, arguments.member, arguments.seed)
    data.read_ahead(found.config.data.name)
    cli.experiment()
    if arguments.robustness:
        _evaluate_corrupted(found, arguments)
        return
    if arguments.outside:
        from mnist_jax.evaluations import outside  # late: only this needs SciPy

        figures, folder = outside.evaluate(found, arguments.checkpoint)
    else:
        from mnist_jax.evaluations import split

        figures, folder = split.evaluate(found, arguments.checkpoint, arguments.split or TEST)
    print(
        f"checkpoint {figures['checkpoint']}, split {figures['split']}: "
        f"accuracy {figures['accuracy']:.2%} of {figures['count']:,} images, "
        f"loss {figures['loss']:.4f}\n"
        f"{folder / 'report.html'}"
    )


def _evaluate_corrupted(found: "Network", arguments: Namespace) -> None:
    from mnist_jax.analysis.run.robustness import tell
    from mnist_jax.evaluations import robustness

    figures, cells, folder = robustness.measure(
        found, arguments.checkpoint, arguments.split or TEST
    )
    print(
        f"checkpoint {figures['checkpoint']}, split {figures['split']}: accuracy in % of "
        f"{figures['count']:,} images, {100 * figures['clean']:.2f} without corruption\n"
        f"{tell(cells)}\n"
        f"mean over corruptions and strengths: {figures['accuracy']:.2%}\n"
        f"{folder / 'plots' / 'robustness.png'}"
    )


def _evaluate_together(arguments: Namespace) -> None:
    from mnist_jax.evaluations import ensemble
    from mnist_jax.training.network import BEST

    if arguments.seed is not None:
        raise UserError("--ensemble takes all seeds together; leave out --seed=")
    if arguments.member == BEST:
        raise UserError(
            "--ensemble takes several networks together, and --member=best names one; give an "
            "architecture, or leave out --member="
        )
    figures, folder = ensemble.measure(
        arguments.workdir, arguments.member, arguments.checkpoint, arguments.split or TEST
    )
    alone = [row["accuracy"] for row in figures["members"]]
    print(
        f"{len(alone)} networks together, split {figures['split']}: accuracy "
        f"{figures['accuracy']:.2%} of {figures['count']:,} images, loss {figures['loss']:.4f}; "
        f"alone {sum(alone) / len(alone):.2%} on average, {max(alone):.2%} at best on this split\n"
        f"{folder / 'report.html'}"
    )


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    cli.run(main, __doc__, define)
