"""Leaves out the whole reports of runs and sweeps, with their figures and files.

python -m benchmarks.unreported mnist_jax.main --config=configs/mlp.py
"""

import runpy
import sys
from typing import Any


def leave_out_reports() -> None:
    """Lets the functions that write the reports of this process return at once."""
    from mnist_jax import compare, experiment

    nothing: Any = lambda *arguments, **keywords: {}  # noqa: E731
    experiment.publish = compare.compare = nothing


def main() -> None:
    """Runs the command that follows on the command line."""
    leave_out_reports()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
