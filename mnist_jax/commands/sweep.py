"""Trains many networks and compares them; networks with the same shapes train together.

  python -m mnist_jax.sweep --config=configs/sweeps/looped.py
  python -m mnist_jax.sweep --config=configs/mlp.py --seeds=10
  python -m mnist_jax.sweep --compare runs/mlp runs/cnn --workdir=runs/mlp-and-cnn

--config=FILE names a sweep, or a configuration to train with several --seeds. --config.FIELD=VALUE
sets a field of every member. The same command resumes an unfinished sweep. If members or seeds were
added to a finished one, it trains only those. After Ctrl-C or SIGTERM the command finishes the
current chunk of steps, saves checkpoints and exits with status 75. If your own code, which the
configurations name, has changed since the sweep began, it resumes only with --accept_code.
--compare writes the same tables, plots and report for finished runs of mnist_jax.main.
"""

import os
from argparse import Namespace
from pathlib import Path

from mnist_jax import STARTED, processes, processors
from mnist_jax.commands import cli
from mnist_jax.errors import UserError


def define(parser: cli.Parser) -> None:
    """Adds the command's arguments to the parser."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE", help="a sweep, e.g. configs/sweeps/depth.py")
    what.add_argument("--compare", nargs="+", metavar="DIR", help="finished runs of mnist_jax.main")
    parser.add_argument("--seeds", type=int, metavar="N", help="number of seeds per architecture")
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="default: runs/<stem of FILE>-sweep; with --compare: runs/comparison",
    )
    cli.add_accept_code(parser)
    cli.add_processes(parser, one_backend=False)


def main(arguments: Namespace) -> int:
    """Trains or compares networks; returns the exit status."""
    from mnist_jax import config_file, data, members  # imported late: --help does not need it

    if arguments.compare:
        if arguments.seeds is not None or arguments.overrides:
            raise UserError(
                "--compare takes finished runs as they are; give no --seeds and no --config.FIELD"
            )
        from mnist_jax.compare import compare_runs

        if processes.is_first():
            compare_runs(arguments.compare, arguments.workdir or Path("runs/comparison"))
        return 0
    asked = members.read(arguments.config)
    plan = members.plan(asked, arguments.config, arguments.overrides, arguments.seeds)
    data.read_ahead(plan[0].config.data.name)
    experiment = cli.experiment()

    workdir = arguments.workdir or Path("runs") / f"{config_file.stem(arguments.config)}-sweep"
    trained = experiment.run_sweep(
        plan,
        workdir,
        started=STARTED,
        analysis=asked.analysis,
        accept_code=arguments.accept_code,
    )
    if not trained:
        print(f"{workdir} holds this sweep, already finished; nothing to do")
    return 0


def _use_all_cores() -> None:
    """Makes each usable CPU core a JAX device, so that members train in parallel.

    JAX reads the number when it is imported. A number that the environment gives is kept.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(processors.count()))


def command() -> None:
    """Runs the command with the arguments of the process, and exits with its status."""
    _use_all_cores()
    cli.run(main, __doc__, define)
