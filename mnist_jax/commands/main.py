"""Trains the network of a configuration, and evaluates it on the test split.

  python -m mnist_jax.main --config=configs/cnn.py
  python -m mnist_jax.main --config=configs/mlp.py --config.seed=1 --workdir=runs/mlp-1

--config.FIELD=VALUE overrides a field of the configuration, e.g. --config.model.hidden=64,32.
Run again, it goes on from the last checkpoint in the workdir. Ctrl-C or SIGTERM: it saves and ends
with status 75 after the chunk of steps under way; the same command goes on.
"""

from argparse import Namespace
from pathlib import Path

from mnist_jax import STARTED
from mnist_jax.commands import cli


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="a configuration, e.g. configs/cnn.py"
    )
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="default: runs/<stem of FILE>")
    parser.add_argument(
        "--profile", action="store_true", help="write a trace of a few steps to DIR/profile"
    )


def main(arguments: Namespace) -> int:
    """Trains; the exit status."""
    from mnist_jax import config, data  # --help needs none of it

    asked = config.load(arguments.config, arguments.overrides)
    data.read_ahead(asked.data.name)
    experiment = cli.experiment()

    workdir = arguments.workdir or Path("runs") / config.stem(arguments.config)
    if not experiment.run(asked, workdir, started=STARTED, profile=arguments.profile):
        print(f"{workdir} holds this run, finished; nothing to do")
    return 0


def command() -> None:
    """The command, from the shell to its exit."""
    cli.run(main, __doc__, define)
