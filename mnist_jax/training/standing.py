"""Where the members of a population stand."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax.analysis.comparison import FINISHED
from mnist_jax.training.history import Row, make_row
from mnist_jax.training.population import Population, Score
from mnist_jax.training.state import TrainState, copied
from mnist_jax.training.warm_start import warm_start

TRAINING = "training"


@dataclass
class Standing:
    """What changes while a population trains. Lists hold a value for each of its M members."""

    states: TrainState  # [P, ...]
    rows: list[list[Row]]  # of each member, one a finished epoch
    status: list[str]  # training, finished, or where it diverged
    step: int = 0  # done; a member that no longer trains has stayed behind
    epochs: int = 0
    seconds: float = 0.0  # trained in the epoch under way, all members together

    @property
    def active(self) -> np.ndarray:
        """Which members still train: [M] bool."""
        return np.asarray([status == TRAINING for status in self.status])


def begin(population: Population) -> Standing:
    """Before the first step."""
    members = len(population.configs)
    states = _warm(copied(population.initial), population.configs[0].init_from)
    states = population.layout.place(states)
    return Standing(states, [[] for _ in range(members)], [TRAINING] * members)


def _warm(states: TrainState, init_from: str) -> TrainState:
    """All members with the weights of the run in the workdir `init_from`, where there is one."""
    if not init_from:
        return states
    first = warm_start(jax.tree.map(lambda x: x[0], states), init_from)

    def alike(tree: Any) -> Any:
        return jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * len(states["step"])), tree)

    return {
        **states,
        "params": alike(first["params"]),
        "variables": alike(first["variables"]),
        "average": alike(first["average"]),
    }


def note_divergence(population: Population, at: Standing) -> None:
    """Takes out members that have lost their numbers; the others go on."""
    bad = np.asarray(at.states["bad_step"])[: len(at.status)] >= 0
    _take_out(population, at, bad)


def end_epoch(population: Population, at: Standing) -> None:
    """Validates, closes the epoch's sums and adds a row to each member that still trains."""
    score = None if population.validate is None else population.validate(at.states)
    if score is not None:
        _take_out(population, at, ~score.finite)
    sums = {name: np.asarray(values) for name, values in at.states["sums"].items()}
    rates = population.learning_rates(at.step - 1)
    seconds = at.seconds / max(1, at.active.sum())
    for i in np.flatnonzero(at.active):
        row = make_row(
            epoch=at.epochs + 1,
            step=at.step,
            sums={name: values[i].item() for name, values in sums.items()},
            validation=None if score is None else (score.loss[i].item(), score.accuracy[i].item()),
            learning_rate=rates[i],
            seconds=seconds,
        )
        at.rows[i].append(row)
    at.epochs += 1
    at.seconds = 0.0
    _close(population, at, score)


def _close(population: Population, at: Standing, score: Score | None) -> None:
    """New sums, what patience remembers, and who is finished."""
    best, stale = population.members_of((at.states["best_loss"], at.states["stale_epochs"]))
    if score is not None:
        better = score.loss.astype(np.float32) < best
        best = np.where(better, score.loss, best).astype(np.float32)
        stale = np.where(at.active, np.where(better, 0, stale + 1), stale).astype(np.int32)
    at.states = {
        **at.states,
        "sums": population.layout.place(jax.tree.map(jnp.zeros_like, at.states["sums"])),
        "best_loss": population.place(best),
        "stale_epochs": population.place(stale),
    }
    patience = population.configs[0].patience
    for i in np.flatnonzero(at.active):
        exhausted = 0 < patience <= stale[i]
        if exhausted or at.epochs == population.configs[0].num_epochs:
            at.status[i] = FINISHED


def _take_out(population: Population, at: Standing, which: np.ndarray) -> None:
    """Ends the training of members; their numbers, infinite or none, go to no checkpoint."""
    lost = np.flatnonzero(which & at.active)
    if not len(lost):
        return
    for i in lost:
        at.status[i] = f"diverged in epoch {at.epochs + 1}"

    def without(leaf: np.ndarray) -> np.ndarray:
        leaf = leaf.copy()
        leaf[lost] = 0
        return leaf

    at.states = population.place(jax.tree.map(without, population.members_of(at.states)))
