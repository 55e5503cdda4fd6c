"""Traces a few training steps for the profilers xprof and Perfetto."""

from pathlib import Path

import jax
import numpy as np

from mnist_jax.files import make_folder, writing
from mnist_jax.training.program import Program

STEPS = 5


def write(program: Program, folder: Path) -> None:
    """Writes a trace of the first `STEPS` steps to `folder`.

    The steps run on a state of their own and do not affect the training. Open the trace with
    `xprof --logdir`, or its `perfetto_trace.json.gz` at ui.perfetto.dev.
    """
    chunk = next(iter(program.feed.chunks(epoch=0)))
    rows = jax.tree.map(lambda x: x[:, :STEPS], chunk.rows)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), rows)
    steps, _ = program.compile(shapes)
    make_folder(folder)
    active = np.ones(len(program.configs), np.bool_)
    for traced in (False, True):  # an untraced call first, for one-time costs
        state = program.start()
        if traced:
            jax.profiler.start_trace(str(folder), create_perfetto_trace=True)
        jax.block_until_ready(steps(state, program.numbers, active, rows, program.feed.resident))
    with writing(folder):
        jax.profiler.stop_trace()
    print(f"trace of {min(STEPS, chunk.stop - chunk.start)} steps: {folder}")
