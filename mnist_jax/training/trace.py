"""A trace of a few steps, for xprof or Perfetto."""

from pathlib import Path

import jax

from mnist_jax.training.run import Run
from mnist_jax.training.state import copied

STEPS = 5


def write(run: Run, folder: Path) -> None:
    """Traces the first `STEPS` steps on a copy of the state; the run itself is as before.

    The trace is for `xprof --logdir`, and its `perfetto_trace.json.gz` for ui.perfetto.dev.
    """
    chunk = next(iter(run.feed.chunks(epoch=0)))
    batches = jax.tree.map(lambda x: x[:STEPS], chunk.batches)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batches)
    program = run.compile(shapes)
    for traced in (False, True):  # the first call pays for what is not of the steps
        state = run.place(copied(run.initial))
        if traced:
            jax.profiler.start_trace(str(folder), create_perfetto_trace=True)
        jax.block_until_ready(program(state, run.feed.resident, batches))
    jax.profiler.stop_trace()
    print(f"trace of {STEPS} steps: {folder}")
