"""Defines the exception that commands show as a message instead of a traceback, and warnings."""

import sys


class UserError(ValueError):
    """An error that the user can correct; its text says what is wrong, where, and what to do."""


def print_warning(text: str) -> None:
    """Prints `warning: TEXT` on standard error, at once."""
    print(f"warning: {text}", file=sys.stderr, flush=True)
