"""Arrays one after the other, of which only what is asked for is copied."""

import math
from collections.abc import Sequence

import numpy as np


class Joined:
    """Behaves like the concatenation of arrays along their first axis, without making it.

    Of NumPy's interface it has what readers of images use: the shape, and indexing by a number, a
    slice or an array of numbers.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        """Takes at least one array; they are equal in dtype and in all axes but the first."""
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *map(len, self._parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the concatenation."""
        return (len(self), *self._parts[0].shape[1:])

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that the concatenation would have."""
        return math.prod(self.shape) * self._parts[0].itemsize

    def __getitem__(self, which: int | slice | np.ndarray) -> np.ndarray:
        """Returns a copy of the entries that are asked for."""
        asked = np.arange(len(self))[which]
        found = np.empty((*asked.shape, *self.shape[1:]), self._parts[0].dtype)
        for start, part in zip(self._starts[:-1], self._parts, strict=True):
            inside = (start <= asked) & (asked < start + len(part))
            found[inside] = part[asked[inside] - start]
        return found
