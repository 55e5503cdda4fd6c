"""Writes one row of metrics per epoch to JSON Lines, CSV and TensorBoard.

Each log also calls `on_row` with every new row, after it is written. An epoch that an earlier
process has passed to `on_row` is not passed again, even if it has to be trained again.
"""

import contextlib
import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mnist_jax import imports
from mnist_jax.errors import UserError
from mnist_jax.files import write_text
from mnist_jax.metrics import Metric, columns

Row = dict[str, Any]
OnEpoch = Callable[[list[Row]], None]
OnRow = Callable[[Row], None]
Name = tuple[str, int]  # a sweep's network: architecture and seed


class Log(Protocol):
    """Writes the rows of M networks."""

    def show(self, rows: Sequence[Sequence[Row]]) -> None:
        """Writes the rows that are new; `rows` holds all rows so far of each of the M networks."""
        ...


def nothing(row: Row) -> None:
    """Does nothing; the default of `on_row`."""


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
    """Returns the row of an epoch: numbers by column; `None` if missing or not finite.

    Args:
      epoch: number of finished epochs.
      step: number of steps done.
      sums: `count`, and the sum of each metric over the training examples of the epoch.
      validation: mean of each metric; empty without a validation split.
      metrics: the configured metrics; loss and accuracy come first.
      learning_rate: of the last step; `None` if the optimizer uses its own.
      seconds: time of training, without validation.
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
    """Returns the column names of a row, in order; those of further metrics come last."""
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
    """Writes `metrics.jsonl` and `metrics.csv` of one network, and TensorBoard if installed.

    The checkpoint holds the rows. When a run resumes, the files are rewritten from it, so that they
    never hold an epoch twice, or one that was lost.
    """

    def __init__(self, workdir: Path, metrics: Sequence[Metric], on_row: OnRow = nothing) -> None:
        self._jsonl, self._csv = workdir / "metrics.jsonl", workdir / "metrics.csv"
        self._fields = fields(metrics)
        self._workdir = workdir
        self._on_row = on_row
        self._shown: int | None = None  # rows written; None: the files are an earlier process's
        self._earlier = 0  # epochs that earlier processes passed to `on_row`
        self._board: Any = None

    def show(self, rows: Sequence[Sequence[Row]]) -> None:
        """Appends the new rows of the one network; the first call rewrites the files."""
        (its,) = rows
        if self._shown is None:
            self._earlier = max(len(its), *(row["epoch"] for row in _written(self._jsonl)), 0)
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
            if row["epoch"] > self._earlier:
                self._on_row(row)

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
        """Closes TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class SweepLog:
    """Writes `sweep.jsonl`: one line per network and epoch of a sweep.

    When a sweep resumes, the file is rewritten from the checkpoints' rows, as by `RunLog`.
    """

    def __init__(self, workdir: Path, on_row: OnRow = nothing) -> None:
        self._path = workdir / "sweep.jsonl"
        self._on_row = on_row
        self._earlier: Counter[Name] = Counter()  # epochs that earlier processes wrote
        for row in _written(self._path):
            name = row["architecture"], row["seed"]
            self._earlier[name] = max(self._earlier[name], row["epoch"])
        write_text(self._path, "")

    def of(self, names: Sequence[Name]) -> "SweepPart":
        """Returns the log of one population, whose networks have these names."""
        return SweepPart(self._path, {name: self._earlier[name] for name in names}, self._on_row)


class SweepPart:
    """Writes the lines of one population to `sweep.jsonl`."""

    def __init__(self, path: Path, earlier: Mapping[Name, int], on_row: OnRow) -> None:
        """Prepares the log; writes nothing.

        Args:
          path: of `sweep.jsonl`.
          earlier: how many epochs of each network earlier processes passed to `on_row`.
          on_row: called with each later line.
        """
        self._path, self._earlier, self._on_row = path, dict(earlier), on_row
        self._shown: list[int] | None = None  # rows written; None: none, not even earlier ones

    def show(self, rows: Sequence[Sequence[Row]]) -> None:
        """Appends the new rows of the population's networks, ordered by epoch."""
        if self._shown is None:
            for name, its in zip(self._earlier, rows, strict=True):
                self._earlier[name] = max(self._earlier[name], len(its))
            self._shown = [0] * len(rows)
        new = [
            named(name, row)
            for name, old, its in zip(self._earlier, self._shown, rows, strict=True)
            for row in its[old:]
        ]
        self._shown = [len(its) for its in rows]
        new.sort(key=lambda row: row["epoch"])
        with self._path.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in new)
        for row in new:
            if row["epoch"] > self._earlier[row["architecture"], row["seed"]]:
                self._on_row(row)


def named(name: Name, row: Row) -> Row:
    """Returns a line of `sweep.jsonl`: a row with its network's architecture and seed."""
    return {"architecture": name[0], "seed": name[1]} | row


def _written(path: Path) -> list[Row]:
    """Returns the rows that an earlier process wrote; a line that it left unfinished is skipped.

    Raises:
      UserError: the system refuses to read the file.
    """
    try:
        lines = path.read_text().splitlines() if path.exists() else []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    rows = []
    for line in lines:
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def _tensorboard(workdir: Path) -> Any:
    try:
        with imports.without("torch"):  # saves seconds and 500 MB; no torch tensor is logged
            from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(workdir / "tensorboard"), purge_step=0)
