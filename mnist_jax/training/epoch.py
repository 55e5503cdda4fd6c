"""Ends epochs (validation, rows, best weights, patience) and stops networks that diverged."""

from typing import Any

import jax
import numpy as np

from mnist_jax.members import DIVERGED, FINISHED
from mnist_jax.metrics import best_epoch, of_column
from mnist_jax.training.inference import Outputs
from mnist_jax.training.logs import Row, make_row
from mnist_jax.training.position import Position
from mnist_jax.training.program import Program
from mnist_jax.training.state import SOME_STEP, evaluation_weights

LOST = "the loss or the gradient is not finite"
LOST_WITHIN = "the parameters, batch statistics, an average or the optimizer's state are not finite"


def take_out_diverged(program: Program, at: Position, steps: int) -> None:
    """Stops networks in which a number became NaN or infinite; others continue.

    Args:
      program: the compiled networks.
      at: the networks' position, after a chunk of steps.
      steps: the number of steps in that chunk.
    """
    bad = program.layout.members(at.state["bad_step"])
    found = {i: f"step {bad[i] + 1}: {LOST}" for i in np.flatnonzero(bad >= 0)}
    within = f"{_span(at.step - steps + 1, at.step)}: {LOST_WITHIN}"
    _take_out(program, at, found | dict.fromkeys(np.flatnonzero(bad == SOME_STEP), within))


def _span(first: int, last: int) -> str:
    return f"step {last}" if first == last else f"steps {first} to {last}"


def end_epoch(program: Program, at: Position) -> None:
    """Validates, adds a row to each network that still trains, and keeps the best weights.

    A network is finished after the last epoch of its configuration, or once `config.patience`
    epochs have passed since its best one.
    """
    outputs = _validate(program, at)
    sums = program.layout.members(at.state["sums"])
    rates = program.learning_rates(at.step - 1)
    means = None if outputs is None else outputs.means()
    for i in np.flatnonzero(at.training):
        row = make_row(
            epoch=at.epochs + 1,
            step=at.step,
            sums={name: values[i].item() for name, values in sums.items()},
            validation={} if means is None else means[i],
            metrics=program.task.metrics,
            learning_rate=rates[i],
            seconds=at.seconds / int(at.training.sum()),
        )
        at.rows[i].append(row)
    at.epochs += 1
    at.seconds = 0.0
    at.state = {**at.state, "sums": program.layout.place(jax.tree.map(np.zeros_like, sums))}
    _keep_best(program, at)
    for i in np.flatnonzero(at.training):
        if at.epochs == program.config.num_epochs or out_of_patience(program, at.rows[i]):
            at.status[i] = FINISHED


def _validate(program: Program, at: Position) -> Outputs | None:
    """Evaluates the validation split; stops networks that have NaN or infinite outputs."""
    if program.validate is None:
        return None
    outputs = program.validate(evaluation_weights(at.state))
    lost = np.flatnonzero(~outputs.finite)
    _take_out(program, at, dict.fromkeys(lost, "validation: an output is not finite"))
    return outputs


def _best(program: Program, rows: list[Row]) -> int | None:
    column = program.config.best
    return best_epoch(rows, column, of_column(program.task.metrics, column))


def _keep_best(program: Program, at: Position) -> None:
    """Copies to `at.best` the weights of networks whose last epoch is their best so far."""
    latest = [
        trains and _best(program, rows) == len(rows) - 1
        for trains, rows in zip(at.training, at.rows, strict=True)
    ]
    if not any(latest):
        return
    weights = program.layout.members(evaluation_weights(at.state))

    def kept(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        # A new array, because the checkpoint being written may still use `old`.
        return np.where(np.reshape(latest, (-1,) + (1,) * (new.ndim - 1)), new, old)

    at.best = jax.tree.map(kept, weights, at.best)


def out_of_patience(program: Program, rows: list[Row]) -> bool:
    """True if `config.patience` epochs have passed since the best one; 0 means no limit."""
    if not program.config.patience:
        return False
    best = _best(program, rows)
    return len(rows) - (0 if best is None else best + 1) >= program.config.patience


def _take_out(program: Program, at: Position, lost: dict[Any, str]) -> None:
    """Marks networks as diverged and zeroes their state, so that no NaN enters a checkpoint."""
    lost = {i: what for i, what in lost.items() if at.training[i]}
    if not lost:
        return
    for i, what in lost.items():
        at.status[i] = f"{DIVERGED} in epoch {at.epochs + 1}, {what}"

    def without(leaf: np.ndarray) -> np.ndarray:
        leaf = np.array(leaf)
        leaf[list(lost)] = 0
        return leaf

    at.state = program.layout.place(jax.tree.map(without, program.layout.members(at.state)))
