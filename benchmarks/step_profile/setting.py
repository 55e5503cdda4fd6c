"""Prepares what is profiled: the training of a configuration on one device."""

from dataclasses import dataclass
from typing import Any

import jax

from mnist_jax import data
from mnist_jax.config import Config
from mnist_jax.data.feed import Feed, open_feed
from mnist_jax.training import layout, task
from mnist_jax.training.state import TrainState, init_state
from mnist_jax.training.task import Task

# Images in the steps of one compiled call, which has at least two steps, because XLA compiles a
# single step without a loop.
IMAGES = 2048


@dataclass(frozen=True)
class Setting:
    """A configuration on one device, with its initial state and the rows of a chunk of steps."""

    config: Config
    task: Task
    feed: Feed
    state: TrainState
    rows: Any  # arrays `[S, B, ...]` for the feed's `fetch`: steps, batch
    steps: int


def set_up(asked: Config) -> Setting:
    """Builds what a configuration names, and compiles only the initialisation.

    Raises:
      UserError: the configuration is not valid.
    """
    on_one = layout.for_batch(asked, jax.devices()[:1])
    feed = open_feed(asked, on_one.replicate)
    built = task.build(asked, data.spec(asked.data.name), feed.steps_per_epoch)
    chunk = next(iter(feed.chunks(epoch=0)))
    steps = min(chunk.stop - chunk.start, max(2, IMAGES // asked.batch_size))
    rows = jax.device_put(jax.tree.map(lambda x: x[0, :steps], chunk.rows), on_one.shared)
    state = jax.jit(lambda: init_state(built, asked.seed))()
    return Setting(asked, built, feed, state, rows, steps)
