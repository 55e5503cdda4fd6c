"""Defines the exceptions that commands show as a message instead of a traceback, and warnings."""

import sys
from collections.abc import Iterator


class UserError(ValueError):
    """An error that the user can correct; its text says what is wrong, where, and what to do."""


class StoppedError(Exception):
    """A training ended early, and all progress is saved; the same command goes on with it."""


class LostError(Exception):
    """A training ended because another of its processes is gone; its last checkpoint is sound."""


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and then those that have led to it, each once."""
    seen: set[int] = set()  # an error that is raised again may be its own context
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def print_warning(text: str) -> None:
    """Prints `warning: TEXT` on standard error, at once."""
    print(f"warning: {text}", file=sys.stderr, flush=True)
