"""Draws an image as the background of a matplotlib figure, without resampling its pixels."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import FigureImage


class Pixels(FigureImage):
    """A background image of exactly the figure's size in pixels; what is drawn later lies on top.

    `Figure.figimage` draws the same pixels, but takes a tenth of a second to resample and blend.
    """

    def draw(self, renderer: Any) -> None:
        """Copies the image to the canvas of an Agg renderer, whose size may be rounded down."""
        canvas = np.asarray(renderer.buffer_rgba())
        image: Any = self.get_array()
        canvas[..., :3] = image[: canvas.shape[0], : canvas.shape[1]]


def fill(figure: Figure, image: np.ndarray) -> None:
    """Puts an image behind everything else in a figure.

    Args:
      figure: the figure.
      image: `[height, width, 3]` uint8, of the figure's size in pixels.
    """
    pixels = Pixels(figure, origin="upper")
    pixels.set_data(image)
    figure.images.append(pixels)
