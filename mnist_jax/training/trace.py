"""A trace of a few steps, for xprof or Perfetto."""

from pathlib import Path

import jax
import numpy as np

from mnist_jax.training.program import Program

STEPS = 5


def write(program: Program, folder: Path) -> None:
    """Traces the first `STEPS` steps on a state of their own; the run itself is as before.

    The trace is for `xprof --logdir`, and its `perfetto_trace.json.gz` for ui.perfetto.dev.
    """
    chunk = next(iter(program.feed.chunks(epoch=0)))
    rows = jax.tree.map(lambda x: x[:, :STEPS], chunk.rows)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), rows)
    steps, _ = program.compile(shapes)
    active = np.ones(len(program.configs), np.bool_)
    for traced in (False, True):  # the first call pays for what is not of the steps
        state = program.start()
        if traced:
            jax.profiler.start_trace(str(folder), create_perfetto_trace=True)
        jax.block_until_ready(steps(state, program.numbers, active, rows, program.feed.resident))
    jax.profiler.stop_trace()
    print(f"trace of {STEPS} steps: {folder}")
