"""A row of the table in RELIABILITY.md."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """What was tried of one kind, how often, and what came of it."""

    what: str  # was tried, as the table says it: `main` killed at every write
    tried: int  # cases
    found: str  # what came of them, in one sentence with its figures
    lost: list[str] = field(default_factory=list)  # one line per case that the promise did not hold
    promised: bool = True  # False: nothing is, so that nothing can be lost
