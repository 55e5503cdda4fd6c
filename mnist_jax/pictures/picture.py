"""A picture as an array of whole numbers, in colour and in grey."""

import functools
from dataclasses import dataclass

import numpy as np

WITH_ALPHA = (2, 4)  # numbers of channels of which the last is the opacity
UNIT = 16  # units per grey level: colours and grey are whole numbers from 0 to 255 * UNIT


def on_white(image: np.ndarray) -> np.ndarray:
    """Returns an image `[h, w, c]` uint8 without its opacity, if it has one: it lies on white.

    Two channels are grey and alpha, four are red, green, blue and alpha.
    """
    if image.shape[-1] not in WITH_ALPHA:
        return image
    opacity = image[..., -1:] / 255
    return (255 - opacity * (255 - image[..., :-1])).round().astype(np.uint8)


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
