"""Numbers that the members of a population vary: inside their compiled program they are traced.

The same code builds a network or an optimizer from a configuration of plain numbers and, inside a
traced function, from one in which some of them are tracers. It may compute with them; where it asks
whether something is on at all, it asks here.
"""

import sys
from typing import Any


def is_lifted(value: Any) -> bool:
    """Whether `value` stands for a number that each member has of its own."""
    if "jax" not in sys.modules:  # a configuration is read before JAX is imported: no tracer yet
        return False
    from jax.core import Tracer

    return isinstance(value, Tracer)


def active(strength: Any) -> bool:
    """Whether a strength, 0 for none, is to be applied; a lifted one is always."""
    return is_lifted(strength) or strength != 0.0


class Held:
    """A number that a module keeps among its static values, which JAX hashes and compares.

    Tracers can be neither hashed nor compared by what they stand for: a tracer equals itself alone.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> Any:
        return id(self.value) if is_lifted(self.value) else self.value
