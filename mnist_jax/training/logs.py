"""The rows of each epoch, where people and programs look for them."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mnist_jax import imports
from mnist_jax.files import write_text
from mnist_jax.metrics import Metric, columns

Row = dict[str, Any]
OnEpoch = Callable[[list[Row]], None]
Name = tuple[str, int]  # of a network in a sweep: architecture and seed


class Log(Protocol):
    """Where rows are written."""

    def show(self, rows: Sequence[Sequence[Row]]) -> None:
        """Adds what is new among all the rows so far of each of the M networks."""
        ...


def make_row(
    *,
    epoch: int,
    step: int,
    sums: Mapping[str, float],
    validation: Mapping[str, float | None],
    metrics: Sequence[Metric],
    learning_rate: float | None,
    seconds: float,
) -> Row:
    """The row of an epoch: named numbers, `None` where there is none.

    Args:
      epoch: finished epochs.
      step: steps done.
      sums: `count`, and of each metric its sum over the examples that the epoch trained on.
      validation: the mean of each metric; empty without a validation split.
      metrics: loss and accuracy first.
      learning_rate: of the last step, where the optimizer tells it.
      seconds: of training alone.
    """
    means = {
        "train": {m.name: sums[m.name] / sums["count"] for m in metrics},
        "val": {m.name: validation.get(m.name) for m in metrics},
    }
    figures = {
        f"{split}_{name}": value if value is None or math.isfinite(value) else None
        for split, its in means.items()
        for name, value in its.items()
    }
    others = {
        "epoch": epoch,
        "step": step,
        "learning_rate": learning_rate,
        "seconds": seconds,
        "images_per_second": sums["count"] / seconds,
    }
    return {name: (figures | others)[name] for name in fields(metrics)}


def fields(metrics: Sequence[Metric]) -> list[str]:
    """The names of a row's numbers, in order: those of further metrics stand at the end."""
    always, further = metrics[:2], metrics[2:]
    return [
        "epoch",
        "step",
        *columns(always, "train"),
        *columns(always, "val"),
        "learning_rate",
        "seconds",
        "images_per_second",
        *(f"{split}_{metric.name}" for metric in further for split in ("train", "val")),
    ]


class RunLog:
    """`metrics.jsonl` and `metrics.csv` of one network, and TensorBoard where it is installed.

    The checkpoint holds the rows; the files are written from it when a run is taken up again, so
    that they never hold an epoch twice or one that was lost.
    """

    def __init__(self, workdir: Path, metrics: Sequence[Metric]) -> None:
        self._jsonl, self._csv = workdir / "metrics.jsonl", workdir / "metrics.csv"
        self._fields = fields(metrics)
        self._workdir = workdir
        self._shown: int | None = None  # rows; None: the files are of an earlier process
        self._board: Any = None

    def show(self, rows: Sequence[Sequence[Row]]) -> None:
        """Adds what is new among the rows of the one network; at first, writes the files anew."""
        (its,) = rows
        if self._shown is None:
            write_text(self._jsonl, "")
            write_text(self._csv, self._lines([], head=True))
            self._board, self._shown = _tensorboard(self._workdir), 0
        new, self._shown = its[self._shown :], len(its)
        with self._jsonl.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in new)
        with self._csv.open("a", newline="") as file:
            file.write(self._lines(new))
        for row in new:
            self._show_board(row)

    def _lines(self, rows: Sequence[Row], *, head: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._fields, lineterminator="\r\n")
        if head:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _show_board(self, row: Row) -> None:
        if self._board is None:
            return
        for name in self._fields[2:]:
            if row[name] is not None:
                self._board.add_scalar(name, row[name], row["step"])
        self._board.flush()

    def close(self) -> None:
        """Lets go of TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class SweepLog:
    """`sweep.jsonl`: a line per network and epoch, while a sweep trains.

    Written anew from the rows when a sweep is taken up again, as `RunLog` is.
    """

    def __init__(self, workdir: Path) -> None:
        self._path = workdir / "sweep.jsonl"
        write_text(self._path, "")

    def of(self, names: Sequence[Name]) -> "SweepPart":
        """The log of one population, whose networks have these names."""
        return SweepPart(self._path, names)


class SweepPart:
    """The lines of one population in `sweep.jsonl`."""

    def __init__(self, path: Path, names: Sequence[Name]) -> None:
        self._path, self._names = path, names
        self._shown = [0] * len(names)

    def show(self, rows: Sequence[Sequence[Row]]) -> None:
        """Adds what is new, epoch by epoch."""
        new = [
            named(name, row)
            for name, old, its in zip(self._names, self._shown, rows, strict=True)
            for row in its[old:]
        ]
        self._shown = [len(its) for its in rows]
        new.sort(key=lambda row: row["epoch"])
        with self._path.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in new)


def named(name: Name, row: Row) -> Row:
    """A line of `sweep.jsonl`."""
    return {"architecture": name[0], "seed": name[1]} | row


def _tensorboard(workdir: Path) -> Any:
    try:
        with imports.without("torch"):  # seconds and 500 MB, for tensors that are never given
            from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(workdir / "tensorboard"), purge_step=0)
