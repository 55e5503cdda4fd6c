"""The end of an epoch: validation, its row of figures, and what patience remembers."""

import jax.numpy as jnp
import numpy as np

from mnist_jax.analysis.evaluation import evaluate
from mnist_jax.errors import UserError
from mnist_jax.training.history import Row, make_row
from mnist_jax.training.inference import Inference
from mnist_jax.training.position import Position
from mnist_jax.training.run import Run
from mnist_jax.training.state import TrainState, evaluation_weights, zero_sums


def refuse_non_finite(at: Position) -> None:
    """Ends a run that has lost its numbers; its last checkpoint is sound."""
    step = int(at.state["bad_step"])
    if step >= 0:
        raise _non_finite(at, f"step {step + 1}: the loss or the gradient")


def validation(validate: Inference, at: Position) -> tuple[float, float]:
    """Mean loss and accuracy of the validation split."""
    predictions = validate(*evaluation_weights(at.state))
    if not (np.isfinite(predictions.losses).all() and np.isfinite(predictions.probabilities).all()):
        raise _non_finite(at, "validation: an output of the network")
    figures = evaluate(predictions)
    return figures["loss"], figures["accuracy"]


def _non_finite(at: Position, what: str) -> UserError:
    return UserError(
        f"epoch {len(at.rows) + 1}, {what} is not finite. Nothing of this epoch was saved. "
        f"Try a lower learning rate, or clip the gradient: --config.clip_norm=1"
    )


def end_epoch(run: Run, at: Position) -> Row:
    """Validates, closes the epoch's sums and turns them into its row."""
    sums = {name: np.asarray(value).item() for name, value in at.state["sums"].items()}
    row = make_row(
        epoch=len(at.rows) + 1,
        step=int(at.state["step"]),
        sums=sums,
        validation=None if run.validate is None else validation(run.validate, at),
        learning_rate=_learning_rate(run, int(at.state["step"]) - 1),
        seconds=at.seconds,
    )
    at.rows.append(row)
    noted = note_validation(at.state, row["val_loss"])
    at.state = run.place({**noted, "sums": zero_sums()})
    at.seconds = 0.0
    return row


def _learning_rate(run: Run, step: int) -> float | None:
    return None if run.task.learning_rate is None else float(run.task.learning_rate(step))


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
