"""Where a run stands."""

from dataclasses import dataclass

from mnist_jax.training.history import Row
from mnist_jax.training.run import Run
from mnist_jax.training.state import TrainState


@dataclass
class Position:
    """What changes while a run trains."""

    state: TrainState
    rows: list[Row]  # one a finished epoch
    seconds: float = 0.0  # trained in the epoch under way


def finished(run: Run, at: Position) -> bool:
    """Whether there is nothing left to train."""
    patience = run.config.patience
    exhausted = 0 < patience <= int(at.state["stale_epochs"])
    return exhausted or len(at.rows) == run.config.num_epochs


def steps_done(run: Run, at: Position) -> int:
    """Steps behind `at` in the epoch under way."""
    return int(at.state["step"]) - len(at.rows) * run.feed.steps_per_epoch
