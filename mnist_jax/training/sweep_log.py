"""`sweep.jsonl`: a line a member and epoch, while a sweep trains."""

import json
from collections.abc import Sequence
from pathlib import Path

from mnist_jax.files import write_text
from mnist_jax.members import Planned
from mnist_jax.training.history import Row


class SweepLog:
    """Lines as they come: `architecture`, `seed`, and the row as in `metrics.jsonl`.

    The checkpoints hold the rows; the file is written from them when a sweep is taken up again, so
    that it never holds an epoch twice or one that was lost.
    """

    def __init__(self, workdir: Path) -> None:
        self._path = workdir / "sweep.jsonl"
        self._shown: list[int] = []  # rows of each member of the population under way
        write_text(self._path, "")

    def begin(self) -> None:
        """The next population."""
        self._shown = []

    def show(self, members: Sequence[Planned], rows: Sequence[Sequence[Row]]) -> None:
        """Adds what is new in the `rows` of the population's `members`."""
        shown = self._shown or [0] * len(members)
        new = [
            {"architecture": member.architecture, "seed": member.config.seed} | row
            for member, old, its in zip(members, shown, rows, strict=True)
            for row in its[old:]
        ]
        with self._path.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in sorted(new, key=_epoch))
        self._shown = [len(its) for its in rows]


def _epoch(row: Row) -> int:
    return row["epoch"]
