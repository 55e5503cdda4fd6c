"""A picture's pixels as they are, drawn by matplotlib without a look at each of them."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import FigureImage


class Pixels(FigureImage):
    """The background of a figure of just this size in pixels; what is drawn later lies on top.

    `Figure.figimage` draws the same pixels, but resamples and blends them: a tenth of a second.
    """

    def draw(self, renderer: Any) -> None:
        """Copies the image; the renderer is Agg's, whose canvas may have been rounded down."""
        canvas = np.asarray(renderer.buffer_rgba())
        image: Any = self.get_array()
        canvas[..., :3] = image[: canvas.shape[0], : canvas.shape[1]]


def fill(figure: Figure, image: np.ndarray) -> None:
    """Puts `[height, width, 3]` uint8, of the figure's own size in pixels, behind all else."""
    pixels = Pixels(figure, origin="upper")
    pixels.set_data(image)
    figure.images.append(pixels)
