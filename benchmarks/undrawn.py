"""Leaves out the plots of runs and sweeps, which take longer than a short training.

What else a report holds is written; `unreported` leaves out all of it.

python -m benchmarks.undrawn mnist_jax.main --config=configs/mlp.py
"""

import runpy
import sys
from collections.abc import Callable
from typing import Any


def leave_out_plots(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Lets the functions that draw return at once; a test gives `monkeypatch.setattr`."""
    from mnist_jax import compare
    from mnist_jax.analysis.network import drawing
    from mnist_jax.analysis.run import probe, report
    from mnist_jax.analysis.sweep import report as of_sweep

    replace(report, "write_plots", lambda folder, view: [])
    replace(of_sweep, "write_plots", lambda folder, comparison: [])
    replace(drawing, "draw_network", lambda model, folder: [])
    replace(probe, "probe", lambda model, weights, predictions: None)
    replace(compare, "_drawings", lambda results, folder: {})


if __name__ == "__main__":
    leave_out_plots()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
