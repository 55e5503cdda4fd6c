"""What a start that something befalls may do, besides ending as if nothing had happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.reliability.failing.ending import Ending


@dataclass(frozen=True)
class Promise:
    """The ends that are no loss; without arguments: one message that names what was disturbed."""

    reason: str = ""  # words that have to be in the message
    names: bool = True  # False: the message need not name a file
    harmless: bool = False  # True: what befalls it is no reason to end
    taken: bool = False  # True: checkpoints are taken away from it
    others: Mapping[int, Ending] = field(default_factory=dict)  # by status, neither 0 nor 1
