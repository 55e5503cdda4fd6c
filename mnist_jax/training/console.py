"""Prints the progress of training: one line per epoch, and a progress bar on a terminal."""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from mnist_jax.metrics import Metric
from mnist_jax.streams import is_terminal

SILENCE = 10.0  # minimum seconds between two lines of `Console.say`


class Console:
    """Prints progress to standard output; shows a progress bar only on a terminal."""

    def __init__(self, num_epochs: int, steps_per_epoch: int, title: str = "") -> None:
        self._num_epochs = num_epochs
        self._steps = steps_per_epoch
        self._title = f"{title}  " if title else ""
        self._bar: tqdm | None = None
        self._headed = False
        self._said = time.monotonic()

    def start_epoch(self, epoch: int, done: int) -> None:
        """Shows the progress bar of an epoch, counted from 0, with `done` steps done already."""
        if is_terminal():
            self._bar = tqdm(
                total=self._steps,
                initial=done,
                desc=f"{self._title}epoch {epoch + 1}/{self._num_epochs}",
                unit="step",
                leave=False,
                dynamic_ncols=True,
                file=sys.stdout,
            )

    def update(self, steps: int) -> None:
        """Advances the progress bar by `steps` steps."""
        if self._bar is not None:
            self._bar.update(steps)

    def clear(self) -> None:
        """Removes the progress bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """Prints a line that shows progress, but at most one line per `SILENCE` seconds."""
        now = time.monotonic()
        if now - self._said > SILENCE:
            self._said = now
            self.clear()
            print(text, flush=True)

    def end_epoch(self, row: dict[str, Any], metrics: Sequence[Metric]) -> None:
        """Prints an epoch's row as a line; prints the column heads above the first one."""
        self.clear()
        width = shutil.get_terminal_size().columns if is_terminal() else 1000
        heads, texts = zip(*cells(row, metrics, self._num_epochs), strict=True)
        if not self._headed:
            print(fit(heads, width))
            self._headed = True
        print(fit(texts, width), flush=True)


def cells(row: dict[str, Any], metrics: Sequence[Metric], num_epochs: int) -> list[tuple[str, str]]:
    """Formats an epoch's row as `(head, text)` pairs of equal width, one per column."""
    table = [("epoch".rjust(7), f"{row['epoch']}/{num_epochs}")]
    for split in ("train", "val"):
        for i, metric in enumerate(metrics):
            head = f"{'' if i else split + ' '}{metric.label}{metric.unit}"
            table.append((head, metric.number(row[f"{split}_{metric.name}"])))
    table.append(("seconds", f"{row['seconds']:.2f}"))
    table.append((" images/s", f"{row['images_per_second']:,.0f}"))
    return [(head, text.rjust(len(head))) for head, text in table]


def fit(texts: tuple[str, ...], width: int) -> str:
    """Joins texts to a line of at most `width` characters; drops last texts that do not fit."""
    texts = texts[
        : next(n for n in range(len(texts), -1, -1) if len("  ".join(texts[:n])) <= width)
    ]
    return "  ".join(texts)
