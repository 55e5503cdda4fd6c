"""Evaluates a trained run: figures, plots and the report.

  python -m mnist_jax.evaluate --workdir=runs/cnn
  python -m mnist_jax.evaluate --workdir=runs/cnn --checkpoint=best --split='train[55000:]'

Restores the weights on whatever devices there are. Writes evaluation.json, plots/ and report.html.
"""

from argparse import Namespace
from pathlib import Path

from mnist_jax import cli, imports


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


def main(arguments: Namespace) -> None:
    """Evaluates and prints the headline figures."""
    from mnist_jax import data  # --help needs none of it
    from mnist_jax.training.workdir import read_config

    data.read_ahead(read_config(arguments.workdir).data.name)
    with imports.without("IPython"):  # Flax would ask it whether this is a notebook
        from mnist_jax.training.restored import evaluate_checkpoint

    figures = evaluate_checkpoint(arguments.workdir, arguments.checkpoint, arguments.split)
    print(
        f"checkpoint {figures['checkpoint']}, {figures['split']}: "
        f"{figures['accuracy']:.2%} of {figures['count']:,}, loss {figures['loss']:.4f}\n"
        f"{arguments.workdir / 'report.html'}"
    )


if __name__ == "__main__":
    cli.run(main, __doc__, define)
