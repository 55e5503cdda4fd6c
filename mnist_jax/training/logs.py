"""Writes one row of metrics per epoch to JSON Lines, CSV and TensorBoard.

Each log also calls `on_row` with every new row, after it is written. An epoch that an earlier
process has passed to `on_row` is not passed again, even if it has to be trained again.
"""

import contextlib
import csv
import io
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mnist_jax import imports
from mnist_jax.errors import UserError
from mnist_jax.files import append, make_durable, reading, reason, write_text, writing
from mnist_jax.metrics import Metric, columns
from mnist_jax.presence import exists
from mnist_jax.training import sound

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


class NoLog:
    """A log that writes nothing, for all processes of a run but the first."""

    def show(self, rows: Sequence[Sequence[Row]]) -> None:
        """Does nothing."""

    def keep(self) -> None:
        """Does nothing."""

    def __enter__(self) -> "NoLog":
        return self

    def __exit__(self, *exception: object) -> None:
        pass


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

    The checkpoint holds the rows. When a run resumes, the files are replaced by what it holds, so
    that they never hold an epoch twice, or one that was lost, and are never empty meanwhile.
    """

    def __init__(self, workdir: Path, metrics: Sequence[Metric], on_row: OnRow = nothing) -> None:
        self._jsonl, self._csv = workdir / "metrics.jsonl", workdir / "metrics.csv"
        self._fields = fields(metrics)
        self._workdir = workdir
        self._on_row = on_row
        self._shown: int | None = None  # rows written; None: the files are an earlier process's
        self._earlier = 0  # epochs that earlier processes passed to `on_row`
        self._board: _Board | None = None

    def show(self, rows: Sequence[Sequence[Row]]) -> None:
        """Appends the new rows of the one network; the first call replaces the files.

        Raises:
          UserError: a file cannot be written.
        """
        (its,) = rows
        new, first = its[self._shown or 0 :], self._shown is None
        if first:
            self._earlier = max(len(its), *(row["epoch"] for row in _written(self._jsonl)), 0)
            write_text(self._jsonl, _jsonl(new), durable=False)
            write_text(self._csv, self._lines(new, head=True), durable=False)
            self._board = _Board.open(self._workdir / "tensorboard")
        elif new:
            append(self._jsonl, _jsonl(new))
            append(self._csv, self._lines(new))
        self._shown = len(its)
        for row in new:
            if self._board is not None:
                self._board.add({name: row[name] for name in self._fields[2:]}, row["step"])
            if row["epoch"] > self._earlier:
                self._on_row(row)

    def _lines(self, rows: Sequence[Row], *, head: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._fields, lineterminator="\r\n")
        if head:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def keep(self) -> None:
        """Waits until all rows are on the disk; `result.json` then says that the run is finished.

        Raises:
          UserError: a file cannot be written.
        """
        make_durable(self._jsonl)
        make_durable(self._csv)

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

    When a sweep resumes, the lines of each population are replaced by those that its checkpoint
    holds, as by `RunLog`. Epochs that are not in the file yet are passed to `on_row`, even if they
    are in the checkpoint: another process of the sweep has trained them.
    """

    def __init__(self, workdir: Path, on_row: OnRow = nothing) -> None:
        self._path = workdir / "sweep.jsonl"
        self._on_row = on_row
        # All that the file holds.
        self._lines = _lines_of_networks(self._path)
        self._told = _epochs(self._lines)  # epochs that were passed to `on_row`
        if not exists(self._path):
            write_text(self._path, "", durable=False)

    def of(self, names: Sequence[Name]) -> "SweepPart":
        """Returns the log of one population, whose networks have these names."""
        return SweepPart(self, names)

    def replace(self, names: Container[Name], lines: Sequence[Row]) -> None:
        """Replaces all lines of some networks; the file changes only if the lines do."""
        if [line for line in self._lines if _name(line) in names] != lines:
            self._lines = [line for line in self._lines if _name(line) not in names] + [*lines]
            write_text(self._path, _jsonl(self._lines), durable=False)

    def append(self, lines: Sequence[Row]) -> None:
        """Adds lines at the end."""
        self._lines += lines
        append(self._path, _jsonl(lines))

    def tell(self, line: Row) -> None:
        """Passes a line to `on_row`, unless its epoch was passed before."""
        if line["epoch"] > self._told[_name(line)]:
            self._told[_name(line)] = line["epoch"]
            self._on_row(line)

    def keep(self, names: Container[Name]) -> None:
        """Waits until all lines of these networks, and no others, are on the disk."""
        self._lines = [line for line in self._lines if _name(line) in names]
        with reading(self._path):
            there = self._path.read_bytes()
        if there != (text := _jsonl(self._lines)).encode():  # it was edited, or damaged
            write_text(self._path, text, durable=False)
        make_durable(self._path)


class SweepPart:
    """Writes the lines of one population to `sweep.jsonl`."""

    def __init__(self, log: SweepLog, names: Sequence[Name]) -> None:
        """Takes the log of the whole sweep and the names of the networks; writes nothing."""
        self._log, self._names = log, names
        self._shown: list[int] | None = None  # rows written; None: none, not even earlier ones

    def show(self, rows: Sequence[Sequence[Row]]) -> None:
        """Appends the new rows of the population's networks, ordered by epoch."""
        first, shown = self._shown is None, self._shown or [0] * len(rows)
        new = [
            named(name, row)
            for name, old, its in zip(self._names, shown, rows, strict=True)
            for row in its[old:]
        ]
        self._shown = [len(its) for its in rows]
        new.sort(key=lambda row: row["epoch"])
        if first:
            self._log.replace(self._names, new)
        else:
            self._log.append(new)
        for row in new:
            self._log.tell(row)


def epochs_written(workdir: Path) -> Counter[Name]:
    """Returns how many epochs of each network of a sweep are in `sweep.jsonl`."""
    return _epochs(_lines_of_networks(workdir / "sweep.jsonl"))


def _lines_of_networks(path: Path) -> list[Row]:
    return [line for line in _written(path) if {"architecture", "seed"} <= {*line}]


def _epochs(lines: Sequence[Row]) -> Counter[Name]:
    found: Counter[Name] = Counter()
    for line in lines:
        found[_name(line)] = max(found[_name(line)], line["epoch"])
    return found


def named(name: Name, row: Row) -> Row:
    """Returns a line of `sweep.jsonl`: a row with its network's architecture and seed."""
    return {"architecture": name[0], "seed": name[1]} | row


def _name(line: Row) -> Name:
    return line["architecture"], line["seed"]


def _jsonl(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _written(path: Path) -> list[Row]:
    """Returns the rows that an earlier process wrote; what is not a row is skipped.

    Raises:
      UserError: the system refuses to read the file.
    """
    try:
        lines = path.read_bytes().split(b"\n") if exists(path) else []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from error
    rows = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            rows.append(json.loads(line))
    return [row for row in rows if sound.is_row(row)]


class _Board:
    """Writes TensorBoard's file.

    tensorboardX's own writer does so in a thread that ends at the first error; whoever writes then
    waits for it for ever.
    """

    def __init__(self, folder: Path, board: Any) -> None:
        self._folder, self._board = folder, board
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = board.event_file_writer.EventsWriter(str(folder / "events"))
        # TensorBoard shall forget what earlier processes wrote.
        start = board.proto.event_pb2.SessionLog(status=1)
        try:
            self._write(step=0, session_log=start)
        except UserError:
            self._writer.close()
            raise

    @classmethod
    def open(cls, folder: Path) -> "_Board | None":
        """Creates a file in `folder`; returns None if tensorboardX is not installed."""
        try:
            with imports.without("torch"):  # saves seconds and 500 MB; no torch tensor is logged
                import tensorboardX
        except ImportError:
            return None
        return cls(folder, tensorboardX)

    def add(self, values: Mapping[str, float | None], step: int) -> None:
        """Adds the values of a step, by name; those that are None are left out."""
        for name, value in values.items():
            if value is not None:
                self._write(step=step, summary=self._board.summary.scalar(name, value))
        with writing(self._folder):
            self._writer.flush()

    def _write(self, **content: Any) -> None:
        event = self._board.proto.event_pb2.Event(wall_time=time.time(), **content)
        with writing(self._folder):
            self._writer.write_event(event)

    def close(self) -> None:
        """Closes the file."""
        with writing(self._folder):
            self._writer.close()
