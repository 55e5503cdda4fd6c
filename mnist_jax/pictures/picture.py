"""A picture as an array of whole numbers, in colour and in grey."""

import functools
from dataclasses import dataclass

import numpy as np

UNIT = 16  # units per grey level: colours and grey are whole numbers from 0 to 255 * UNIT


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of workable size."""

    values: np.ndarray  # [H, W, C] float64, whole numbers; C is 1 for grey, 3 for red, green, blue

    @functools.cached_property
    def grey(self) -> np.ndarray:
        """The brightness `[H, W]`, with the weights of ITU-R BT.601."""
        red, green, blue = np.moveaxis(self.colours, -1, 0)
        return np.floor((299 * red + 587 * green + 114 * blue) / 1000 + 0.5)

    @property
    def is_grey(self) -> bool:
        """True if no pixel has a colour."""
        return bool((self.values == self.values[..., :1]).all())

    @property
    def colours(self) -> np.ndarray:
        """Red, green and blue `[H, W, 3]`."""
        return np.broadcast_to(self.values, (*self.values.shape[:2], 3))
