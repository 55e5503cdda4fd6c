"""Trains many networks, those of the same shapes together, and compares them.

  python -m mnist_jax.sweep --config=configs/sweeps/looped.py
  python -m mnist_jax.sweep --config=configs/mlp.py --seeds=10
  python -m mnist_jax.sweep --compare runs/mlp runs/cnn --workdir=runs/mlp-and-cnn

--config=FILE names a sweep, or a configuration to train over --seeds. --config.FIELD=VALUE sets a
field of every member. Run again, it goes on where it was; with further members or seeds, only those
are trained. Ctrl-C or SIGTERM: it saves and ends with status 75 after the chunk of steps under way;
the same command goes on.
--compare makes the same tables, pictures and report of finished runs of mnist_jax.main.
"""

import os
from argparse import Namespace
from pathlib import Path

from mnist_jax import STARTED
from mnist_jax.commands import cli
from mnist_jax.errors import UserError


def define(parser: cli.Parser) -> None:
    """The command's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE", help="e.g. configs/sweeps/depth.py")
    what.add_argument(
        "--compare", nargs="+", type=Path, metavar="DIR", help="finished runs of mnist_jax.main"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="of each architecture")
    parser.add_argument(
        "--workdir",
        type=Path,
        metavar="DIR",
        help="default: runs/<stem of FILE>-sweep; for --compare: runs/comparison",
    )


def main(arguments: Namespace) -> int:
    """Trains or compares; the exit status."""
    _use_all_cores()
    from mnist_jax import config, data, members  # --help needs none of it

    if arguments.compare:
        if arguments.seeds is not None or arguments.overrides:
            raise UserError("--compare takes finished runs as they are: no --seeds, no --config.")
        from mnist_jax.compare import compare_runs

        compare_runs(arguments.compare, arguments.workdir or Path("runs/comparison"))
        return 0
    plan = members.load(arguments.config, arguments.overrides, arguments.seeds)
    data.read_ahead(plan[0].config.data.name)
    experiment = cli.experiment()

    workdir = arguments.workdir or Path("runs") / f"{config.stem(arguments.config)}-sweep"
    if not experiment.run_sweep(plan, workdir, started=STARTED):
        print(f"{workdir} holds this sweep, finished; nothing to do")
    return 0


def _use_all_cores() -> None:
    """A CPU counts as one device; members run side by side when each core is one."""
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(_cores()))


def _cores() -> int:
    """Those that this process may use, where the system tells (macOS does not)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def command() -> None:
    """The command, from the shell to its exit."""
    cli.run(main, __doc__, define)
