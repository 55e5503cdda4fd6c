"""What a person sees while a run trains: a bar on a terminal, a line an epoch anywhere."""

import shutil
import sys
from typing import Any

from tqdm import tqdm


class Progress:
    """Prints to standard output; the bar of the epoch under way is there on a terminal only."""

    def __init__(self, num_epochs: int, steps_per_epoch: int) -> None:
        self._num_epochs = num_epochs
        self._steps = steps_per_epoch
        self._bar: tqdm | None = None

    def start_epoch(self, epoch: int, done: int) -> None:
        """`epoch` counts from 0; `done` steps of it are behind already."""
        if sys.stdout.isatty():
            self._bar = tqdm(
                total=self._steps,
                initial=done,
                desc=f"epoch {epoch + 1}/{self._num_epochs}",
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

    def end_epoch(self, row: dict[str, Any]) -> None:
        """The epoch's line, as much of it as the terminal is wide."""
        self.clear()
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
        print(epoch_line(row, self._num_epochs, width), flush=True)


def epoch_line(row: dict[str, Any], num_epochs: int, width: int = 1000) -> str:
    """`row` in words; what does not fit into `width` characters is left out, the least first."""
    digits = len(str(num_epochs))
    parts = [
        f"epoch {row['epoch']:>{digits}}/{num_epochs}",
        f"train {row['train_accuracy']:7.2%} loss {row['train_loss']:.4f}",
    ]
    if row["val_loss"] is not None:
        parts.append(f"val {row['val_accuracy']:7.2%} loss {row['val_loss']:.4f}")
    parts += [f"{row['seconds']:6.2f} s", f"{row['images_per_second']:9,.0f} images/s"]
    while len(parts) > 2 and len("  ".join(parts)) > width:
        parts.pop()
    return "  ".join(parts)[:width]
