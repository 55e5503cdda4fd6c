"""The endings of a case: those that keep every promise, and what is wrong with the others."""

from enum import Enum
from typing import NamedTuple

from benchmarks.reliability.trial import Operation

ON = "and the next start went on to the same bits"


class Ending(Enum):
    """How a case ends that loses nothing, with what the table says of it."""

    HARMLESS = "changed nothing"
    MESSAGE = f"ended with status 1 and one message, {ON}"
    STOPPED = f"ended by the signal that they were sent, {ON}"
    ABORTED = f"were ended by the system without a message, {ON}"
    UNMET = "were not met by what was to happen to them, and are not counted"


class End(NamedTuple):
    """How a case ended, or what is wrong with its end."""

    ending: Ending | None = None  # None only if something is wrong
    wrong: str = ""  # a sentence; empty: it has kept its promise
    met: Operation | None = None  # that was disturbed first; None: none, or it was no case of one
