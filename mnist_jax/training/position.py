"""Where the networks of a run stand."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mnist_jax.members import DIVERGED
from mnist_jax.models import Tree
from mnist_jax.training.logs import Row
from mnist_jax.training.state import TrainState

TRAINING = "training"


@dataclass
class Position:
    """What changes while M networks train. Lists hold a value for each of them."""

    state: TrainState  # [P, ...], on the devices
    best: (
        Tree  # [M, ...], on the host: evaluation weights of each one's best epoch; {}: none ranked
    )
    rows: list[list[Row]]  # of each, one per finished epoch
    status: list[str]  # training, finished, or "diverged in ..." with what happened
    step: int = 0  # done; a network that no longer trains has stayed behind
    epochs: int = 0  # done
    seconds: float = 0.0  # trained in the epoch under way, all networks together

    @property
    def training(self) -> np.ndarray:
        """True for those that still train: [M] bool."""
        return np.asarray([status == TRAINING for status in self.status])

    @property
    def diverged(self) -> np.ndarray:
        """True for those that have lost their numbers: [M] bool."""
        return np.asarray([status.startswith(DIVERGED) for status in self.status])

    def record(self) -> dict[str, Any]:
        """All but the arrays, as plain JSON; `Position(state, best, **record)` reads it."""
        names = ("rows", "status", "step", "epochs", "seconds")
        return {name: getattr(self, name) for name in names}
