"""Handles lifted numbers: hyperparameters that vary between members of one compiled program.

Such numbers are JAX tracers inside the program. The same code builds a network or an optimizer from
plain numbers and, inside a traced function, from tracers. It may compute with both. Only to decide
whether something is applied at all it must call `active`, as a tracer has no truth value.
"""

import sys
from typing import Any


def is_lifted(value: Any) -> bool:
    """True if `value` is a tracer, which stands for a different number in each member."""
    if "jax" not in sys.modules:  # no tracers yet: a configuration is read before JAX is imported
        return False
    from jax.core import Tracer

    return isinstance(value, Tracer)


def active(strength: Any) -> bool:
    """True if a strength is to be applied: it is not 0, or it is lifted."""
    return is_lifted(strength) or strength != 0.0


class Held:
    """Wraps a plain or lifted number so that JAX can hash and compare it as a static value.

    A tracer can be neither hashed nor compared by value, so a wrapped one equals only itself.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> Any:
        return id(self.value) if is_lifted(self.value) else self.value
