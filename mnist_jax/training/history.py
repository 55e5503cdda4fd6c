"""The metrics of each epoch, where people and programs look for them."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_jax import imports

Row = dict[str, Any]
FIELDS: tuple[str, ...] = (
    "epoch",
    "step",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
    "images_per_second",
)


def make_row(
    *,
    epoch: int,
    step: int,
    sums: Mapping[str, float],
    validation: tuple[float, float] | None,
    learning_rate: float | None,
    seconds: float,
) -> Row:
    """An epoch's row.

    Args:
      epoch: finished epochs.
      step: steps done.
      sums: `loss`, `correct` and `count` over the examples that it trained on.
      validation: mean loss and accuracy; `None` without a validation split.
      learning_rate: of the last step, where the optimizer tells it.
      seconds: of training alone.
    """
    val_loss, val_accuracy = validation or (None, None)
    return {
        "epoch": epoch,
        "step": step,
        "train_loss": sums["loss"] / sums["count"],
        "train_accuracy": sums["correct"] / sums["count"],
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "learning_rate": learning_rate,
        "seconds": seconds,
        "images_per_second": sums["count"] / seconds,
    }


class History:
    """Rows of `metrics.jsonl` and `metrics.csv`, and of TensorBoard where that extra is installed.

    The checkpoint holds the rows; the files are written from it when a run is taken up again, so
    that they never hold an epoch twice or one that was lost.
    """

    def __init__(self, workdir: Path, rows: list[Row]) -> None:
        self.rows = list(rows)
        self._jsonl = workdir / "metrics.jsonl"
        self._csv = workdir / "metrics.csv"
        self._jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with self._csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(rows)
        self._board = _tensorboard(workdir)
        for row in rows:
            self._show(row)

    def append(self, row: Row) -> None:
        """Adds an epoch; `row` has the keys `FIELDS`."""
        self.rows.append(row)
        with self._jsonl.open("a") as file:
            file.write(json.dumps(row) + "\n")
        with self._csv.open("a", newline="") as file:
            csv.DictWriter(file, FIELDS).writerow(row)
        self._show(row)

    def _show(self, row: Row) -> None:
        if self._board is None:
            return
        for name in FIELDS[2:]:
            if row[name] is not None:
                self._board.add_scalar(name, row[name], row["step"])
        self._board.flush()

    def close(self) -> None:
        """Lets go of TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _tensorboard(workdir: Path) -> Any:
    try:
        with imports.without("torch"):  # seconds and 500 MB, for tensors that are never given
            from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(workdir / "tensorboard"), purge_step=0)
