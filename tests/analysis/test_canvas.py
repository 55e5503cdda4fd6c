"""What all figures share: images, heads, lengths of texts, and failures."""

import numpy as np
import pytest

from mnist_jax.analysis import canvas
from mnist_jax.errors import UserError


@pytest.mark.parametrize(
    ("pixel", "shown"),
    [
        ([200], [55, 55, 55]),
        ([200, 255], [200, 200, 200]),
        ([200, 0], [255, 255, 255]),
        ([10, 20, 30], [10, 20, 30]),
        ([10, 20, 30, 255], [10, 20, 30]),
        ([10, 20, 30, 0], [255, 255, 255]),
        ([0, 100, 200, 51], [204, 224, 244]),
    ],
)
def test_grey_is_inverted_and_what_is_transparent_lies_on_white(pixel, shown):
    image = np.tile(np.array(pixel, np.uint8), (5, 6, 1))
    large = canvas.enlarge(image, 3)
    assert (large.shape, large.dtype) == ((15, 18, 3), np.uint8)
    np.testing.assert_array_equal(large, np.broadcast_to(shown, large.shape))


@pytest.mark.parametrize("lines", [1, 2, 3, 6])
def test_a_note_of_any_length_lies_above_the_axes(lines: int):
    with canvas.styled():
        figure = canvas.headed(9, 5, "Title", "twenty characters... " * 6 * lines)
        axes = canvas.panel(figure, 0.75, 0.6, 0.45)
        figure.canvas.draw()
    note = figure.texts[1]
    assert note.get_text().count("\n") + 1 == lines
    dots = axes.get_window_extent()
    assert dots.y1 < note.get_window_extent().y0
    assert dots.height == pytest.approx((5 - 0.6 - canvas.HEAD) * canvas.DPI, abs=1)


def test_what_cannot_be_drawn_is_a_warning(capsys: pytest.CaptureFixture):
    with canvas.drawing("the plot size"):
        raise RuntimeError("no ink")
    told = "warning: the plot size cannot be drawn: RuntimeError: no ink\n"
    assert capsys.readouterr().err == told


def test_what_cannot_be_written_is_an_error():
    with pytest.raises(UserError, match="disk full"), canvas.drawing("the plot size"):
        raise UserError("disk full")


def test_a_text_is_cut_in_the_middle_until_it_fits():
    assert canvas.fit("name", 1.0, 9) == "name"
    short = canvas.fit("aquarium_fish", 0.5, 9)
    assert canvas.text_width(short, 9) <= 0.5 < canvas.text_width("aquarium_fish", 9)
    assert short.startswith("aq")
    assert short.endswith("h")


@pytest.mark.parametrize(
    ("words", "text"), [("", ""), ("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")]
)
def test_words_are_joined_to_a_list(words: str, text: str):
    assert canvas.listed(words) == text
