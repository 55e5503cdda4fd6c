"""Judges whether a message about a number that is not finite names the step in which it came."""

import re
from dataclasses import dataclass

from benchmarks.reliability.planting.poison import Dose
from benchmarks.reliability.planting.trainings import CHUNK, STEPS

# A value that is spoilt between two steps shows in the next one, a moment in the one after it.
LATER = {"first moment": 2, "second moment": 2, "step count of Adam": 2}
AT_ONCE = ("image", "target", "loss", "gradient")
VALIDATION = "output in validation"
SPOILT = re.compile(r"diverged in epoch (\d+), (?:steps? (\d+)(?: to (\d+))?|validation): ")


@dataclass
class Named:
    """Counts how exactly the messages name the step."""

    exactly: int = 0
    later: int = 0
    within: int = 0

    def __str__(self) -> str:
        return (
            f"the message names the step in {self.exactly:,}, the next or the one after it, in "
            f"which it first shows, in {self.later:,}, and the chunk's steps in {self.within:,}"
        )


def judged(place: str, dose: Dose, said: str, setting: str, named: Named) -> tuple[int, list[str]]:
    """Returns the epoch of a dose, from 1, and what is wrong with the message about it.

    Args:
      place: where the dose was put.
      dose: the dose.
      said: the message.
      setting: of the training.
      named: what the message names is added to this.
    """
    if place == VALIDATION:
        epoch, first = dose.step + 1, 0
    else:
        epoch, first = dose.step // STEPS + 1, dose.step + 1
    found = SPOILT.search(said)
    if found is None:
        return epoch, [f"not named: {said[-300:]!r}"]
    told, start, stop = (int(text) if text else 0 for text in found.groups())
    if place == VALIDATION:
        right = start == 0
    elif stop:
        named.within += 1
        length = STEPS if setting == "no chunks" else CHUNK
        right = start <= first <= stop < start + length
    else:
        named.exactly += start == first
        named.later += start > first
        later = 0 if place in AT_ONCE else LATER.get(place, 1)
        right = first <= start <= first + later
    return epoch, [] if right and told == epoch else [f"named wrongly: {found[0]!r}"]
