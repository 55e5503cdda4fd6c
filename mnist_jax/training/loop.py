"""Training: from where a run stands to the end of its last epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from mnist_jax.analysis.evaluation import evaluate
from mnist_jax.errors import UserError
from mnist_jax.training.history import Row
from mnist_jax.training.inference import Inference
from mnist_jax.training.progress import Progress
from mnist_jax.training.run import Run
from mnist_jax.training.state import TrainState, evaluation_weights, zero_sums
from mnist_jax.training.stop import StoppedError, StopSignal


@dataclass
class Position:
    """Where a run stands."""

    state: TrainState
    rows: list[Row]  # one a finished epoch
    seconds: float = 0.0  # trained in the epoch under way


def train(run: Run, at: Position, stop: StopSignal, save: Callable[[Position], None]) -> None:
    """Trains `at`, in place, until the last epoch or until patience is exhausted.

    Args:
      run: the run made ready.
      at: where it stands.
      stop: asked after each chunk of steps.
      save: keeps a checkpoint, after each epoch and where the run is told to stop.

    Raises:
      StoppedError: `stop` was requested; everything is saved.
      UserError: a loss or a gradient was not finite; nothing of it was saved.
    """
    progress = Progress(run.config.num_epochs, run.feed.steps_per_epoch)
    while not finished(run, at):
        if stop.requested:
            raise StoppedError
        train_epoch(run, at, stop, progress)
        if steps_done(run, at) == run.feed.steps_per_epoch:
            progress.end_epoch(end_epoch(run, at))
        save(at)


def finished(run: Run, at: Position) -> bool:
    """Whether there is nothing left to train."""
    patience = run.config.patience
    exhausted = 0 < patience <= int(at.state["stale_epochs"])
    return exhausted or len(at.rows) == run.config.num_epochs


def steps_done(run: Run, at: Position) -> int:
    """Steps behind `at` in the epoch under way."""
    return int(at.state["step"]) - len(at.rows) * run.feed.steps_per_epoch


def train_epoch(run: Run, at: Position, stop: StopSignal, progress: Progress) -> None:
    """The chunks of an epoch that are left; ends early where the run is told to stop."""
    progress.start_epoch(len(at.rows), steps_done(run, at))
    before = time.perf_counter()
    for chunk in run.feed.chunks(len(at.rows), steps_done(run, at)):
        at.state = run.advance(at.state, chunk)
        at.seconds += time.perf_counter() - before
        before = time.perf_counter()
        refuse_non_finite(at)
        progress.update(chunk.stop - chunk.start)
        if stop.requested:
            break
    progress.clear()


def refuse_non_finite(at: Position) -> None:
    """Ends a run that has lost its numbers; its last checkpoint is sound."""
    step = int(at.state["bad_step"])
    if step >= 0:
        raise _non_finite(at, f"step {step + 1}: the loss or the gradient")


def validation(validate: Inference, at: Position) -> dict[str, Any]:
    """The figures of the validation split."""
    predictions = validate(*evaluation_weights(at.state))
    if not (np.isfinite(predictions.losses).all() and np.isfinite(predictions.probabilities).all()):
        raise _non_finite(at, "validation: an output of the network")
    return evaluate(predictions)


def _non_finite(at: Position, what: str) -> UserError:
    return UserError(
        f"epoch {len(at.rows) + 1}, {what} is not finite. Nothing of this epoch was saved. "
        f"Try a lower learning rate, or clip the gradient: --config.clip_norm=1"
    )


def end_epoch(run: Run, at: Position) -> Row:
    """Validates, closes the epoch's sums and turns them into its row."""
    sums = {name: np.asarray(value).item() for name, value in at.state["sums"].items()}
    row: Row = {
        "epoch": len(at.rows) + 1,
        "step": int(at.state["step"]),
        "train_loss": sums["loss"] / sums["count"],
        "train_accuracy": sums["correct"] / sums["count"],
        "val_loss": None,
        "val_accuracy": None,
        "learning_rate": float(run.learning_rate(int(at.state["step"]) - 1)),
        "seconds": at.seconds,
        "images_per_second": sums["count"] / at.seconds,
    }
    if run.validate is not None:
        figures = validation(run.validate, at)
        row |= {"val_loss": figures["loss"], "val_accuracy": figures["accuracy"]}
    at.rows.append(row)
    noted = note_validation(at.state, row["val_loss"])
    at.state = run.place({**noted, "sums": zero_sums()})
    at.seconds = 0.0
    return row


def note_validation(state: TrainState, loss: float | None) -> TrainState:
    """Counts the epochs since the validation loss was last better."""
    if loss is None:
        return state
    best = float(state["best_loss"])
    better = np.float32(loss) < best
    return {
        **state,
        "best_loss": jnp.float32(loss if better else best),
        "stale_epochs": jnp.int32(0 if better else state["stale_epochs"] + 1),
    }
