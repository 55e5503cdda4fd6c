"""Keeps a command running when its output is closed, broken, or cannot encode a character.

A training outlives the reader of its lines: after `main | head -1`, or when the terminal is gone,
it goes on, and its further lines are dropped. So the exit status is that of the training.
"""

import contextlib
import os
import sys
from typing import Any


def make_lasting() -> None:
    """Makes the standard streams of this process lasting, and opens those that are closed."""
    _fill_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, open to the end
        replace_unknown(stream)
        setattr(sys, name, _Lasting(stream))


def replace_unknown(stream: Any) -> None:
    """Makes a stream show `?` for a character that its encoding lacks, if it would raise."""
    if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")


def is_terminal() -> bool:
    """True if standard output is a terminal; a process or a notebook may have no such stream."""
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):  # it is None, is closed, or has no such method
        return False


def _fill_descriptors() -> None:
    """Opens the null device in the place of closed descriptors.

    Otherwise the next file that is opened has the number of standard output, and the lines of a
    library that writes to this number end up in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


class _Lasting:
    """A stream that drops its text once it cannot be written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        """Lets the descriptor, also for libraries that write to it, be the null device."""
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
