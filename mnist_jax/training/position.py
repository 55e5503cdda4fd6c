"""The progress of a run: state, best weights, rows and status of its networks."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mnist_jax.members import DIVERGED
from mnist_jax.models import Tree
from mnist_jax.training.logs import Row
from mnist_jax.training.state import TrainState

TRAINING = "training"
RECORDED = ("status", "step", "epochs", "seconds")


@dataclass
class Position:
    """The progress of M networks, updated in place as they train; lists have M entries."""

    state: TrainState  # [P, ...], on the devices
    # Evaluation weights of each network's best epoch, [M, ...] on the host; {} without validation.
    best: Tree
    rows: list[list[Row]]  # per network, one row per finished epoch
    status: list[str]  # "training", "finished", or "diverged in ..." with the cause
    step: int = 0  # steps done; a network that stopped training earlier did fewer
    epochs: int = 0  # finished epochs
    seconds: float = 0.0  # training time in the current epoch, of all networks together

    @property
    def training(self) -> np.ndarray:
        """The mask of networks that still train, `[M]` bool."""
        return np.asarray([status == TRAINING for status in self.status])

    @property
    def diverged(self) -> np.ndarray:
        """The mask of networks that have diverged, `[M]` bool."""
        return np.asarray([status.startswith(DIVERGED) for status in self.status])

    def record(self) -> dict[str, Any]:
        """Returns all fields but the arrays and the rows, as JSON."""
        return {name: getattr(self, name) for name in RECORDED}
