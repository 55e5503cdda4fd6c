"""The rows of networks as texts, which checkpoints hold: a line of columns, then a line per epoch.

Each checkpoint holds all rows so far. Converting them all for each would take ever longer: of
10,000 epochs, a fifth of a second. As text, a row is converted once.
"""

import json
from collections.abc import Sequence

from mnist_jax.training.logs import Row


class RowTexts:
    """Keeps the texts of M networks, and adds to them the rows that are new."""

    def __init__(self, networks: int) -> None:
        self._texts = [""] * networks
        self._counts = [0] * networks

    def of(self, rows: Sequence[Sequence[Row]]) -> list[str]:
        """Returns the text of each of the M networks, given all its rows so far."""
        for i, its in enumerate(rows):
            for row in its[self._counts[i] :]:
                self._texts[i] += "" if self._texts[i] else _line([*row])
                self._texts[i] += _line([*row.values()])
            self._counts[i] = len(its)
        return [*self._texts]


def rows_of(text: str) -> list[Row]:
    """Returns the rows that a text holds."""
    columns, *lines = map(json.loads, text.splitlines() or ["[]"])
    return [dict(zip(columns, line, strict=True)) for line in lines]


def _line(values: list) -> str:
    return json.dumps(values, separators=(",", ":")) + "\n"
