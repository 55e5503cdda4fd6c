"""The background of a gallery."""

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.pixels import fill

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)


def drawn(put) -> np.ndarray:
    with canvas.styled():
        figure = canvas.new_figure(120 / canvas.DPI, 60 / canvas.DPI)
        put(figure)
        figure.text(0.5, 0.5, "on top")
        figure.draw_without_rendering()
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba())


def test_pixels_are_those_of_figimage_text_on_top():
    ours = drawn(lambda figure: fill(figure, IMAGE))
    np.testing.assert_array_equal(
        ours, drawn(lambda figure: figure.figimage(IMAGE, origin="upper"))
    )
    np.testing.assert_array_equal(ours[:10, :, :3], IMAGE[:10])
    assert (ours[..., :3] != IMAGE).any()
