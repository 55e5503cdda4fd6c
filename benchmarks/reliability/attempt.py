"""Tries a case so that the others are tried, too, whatever becomes of it."""

from collections.abc import Callable

SHOWN = 300  # characters of a message


def lines(what: str, case: Callable[[], list[str]]) -> list[str]:
    """Returns what a case says is wrong with it, each with its name in front.

    A case that hangs, or leaves what cannot be read, is one line.
    """
    try:
        return [f"{what}: {wrong}" for wrong in case()]
    except Exception as error:  # a lost case must not end the measurement of the others
        message = " ".join(str(error).split())
        return [f"{what}: {type(error).__name__}: {message[-SHOWN:]}"]
