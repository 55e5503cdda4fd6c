"""What a person sees while networks train: a bar on a terminal, a line per epoch anywhere."""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from mnist_jax.metrics import Metric

SILENCE = 10.0  # seconds


class Console:
    """Prints to standard output; the bar of the epoch under way is there on a terminal only."""

    def __init__(self, num_epochs: int, steps_per_epoch: int, title: str = "") -> None:
        self._num_epochs = num_epochs
        self._steps = steps_per_epoch
        self._title = f"{title}  " if title else ""
        self._bar: tqdm | None = None
        self._headed = False
        self._said = time.monotonic()

    def start_epoch(self, epoch: int, done: int) -> None:
        """`epoch` counts from 0; `done` steps of it are behind already."""
        if sys.stdout.isatty():
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
        """`steps` more are done."""
        if self._bar is not None:
            self._bar.update(steps)

    def clear(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """A line where none came for a while: a log tells that the training goes on."""
        now = time.monotonic()
        if now - self._said > SILENCE:
            self._said = now
            self.clear()
            print(text, flush=True)

    def end_epoch(self, row: dict[str, Any], metrics: Sequence[Metric]) -> None:
        """Prints the epoch's line; above the first one, what its columns are."""
        self.clear()
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
        heads, texts = zip(*cells(row, metrics, self._num_epochs), strict=True)
        if not self._headed:
            print(fit(heads, width))
            self._headed = True
        print(fit(texts, width), flush=True)


def cells(row: dict[str, Any], metrics: Sequence[Metric], num_epochs: int) -> list[tuple[str, str]]:
    """An epoch's row as `(head, text)` of equal width, column by column."""
    table = [("epoch".rjust(7), f"{row['epoch']}/{num_epochs}")]
    for split in ("train", "val"):
        for i, metric in enumerate(metrics):
            head = f"{'' if i else split + ' '}{metric.label}{metric.unit}"
            table.append((head, metric.number(row[f"{split}_{metric.name}"])))
    table.append(("seconds", f"{row['seconds']:.2f}"))
    table.append((" images/s", f"{row['images_per_second']:,.0f}"))
    return [(head, text.rjust(len(head))) for head, text in table]


def fit(texts: tuple[str, ...], width: int) -> str:
    """The texts on one line of at most `width` characters; what does not fit is left out."""
    texts = texts[
        : next(n for n in range(len(texts), -1, -1) if len("  ".join(texts[:n])) <= width)
    ]
    return "  ".join(texts)
