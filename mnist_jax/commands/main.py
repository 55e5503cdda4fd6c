"""Trains the network of a configuration and evaluates it on the test split.

  python -m mnist_jax.main --config=configs/cnn.py
  python -m mnist_jax.main --config=configs/mlp.py --config.seed=1 --workdir=runs/mlp-1

--config.FIELD=VALUE overrides a field of the configuration, e.g. --config.model.hidden=64,32.
If DIR holds checkpoints, training resumes from the last one. After Ctrl-C or SIGTERM the command
finishes the current chunk of steps, saves a checkpoint and exits with status 75; the same command
resumes the run. If your own code, which the configuration names, has changed since the run began,
the run resumes only with --accept_code.
"""

from argparse import Namespace
from pathlib import Path

from mnist_jax import STARTED
from mnist_jax.commands import cli


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="a configuration file, e.g. configs/cnn.py"
    )
    parser.add_argument("--workdir", metavar="DIR", help="default: runs/<stem of FILE>")
    parser.add_argument(
        "--profile", action="store_true", help="write a profiler trace of some steps to DIR/profile"
    )
    cli.add_accept_code(parser)
    cli.add_processes(parser, one_backend=True)


def main(arguments: Namespace) -> int:
    """Trains and evaluates the network; returns the exit status."""
    from mnist_jax import config_file, data  # imported late: --help does not need it

    asked = config_file.load(arguments.config, arguments.overrides)
    data.read_ahead(asked.data.name)
    experiment = cli.experiment()

    workdir = arguments.workdir or Path("runs") / config_file.stem(arguments.config)
    trained = experiment.run(
        asked,
        workdir,
        started=STARTED,
        profile=arguments.profile,
        accept_code=arguments.accept_code,
    )
    if not trained:
        print(f"{workdir} holds this run, already finished; nothing to do")
    return 0


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    cli.run(main, __doc__, define)
