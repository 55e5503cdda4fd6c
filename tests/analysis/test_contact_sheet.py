"""Contact sheets of predictions."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from mnist_jax.analysis import canvas
from mnist_jax.analysis.contact_sheet import COLUMNS, ROWS, ContactSheets
from mnist_jax.pictures.picture import UNIT, Picture
from mnist_jax.pictures.prediction import Prediction

NAMES = tuple("0123456789")


def prediction(file: str = "a.png", shape=(30, 40, 3), classes: int = 10) -> Prediction:
    """A red picture, in which the network saw a white image."""
    values = np.zeros(shape)
    values[..., 0] = 255 * UNIT
    p = np.full(classes, 0.1 / (classes - 1), np.float32)
    p[7 % classes] = 0.9
    return Prediction(file, "", Picture(values), np.full((28, 28, 1), 255, np.uint8), p)


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_prediction_shows_the_picture_the_image_and_the_bars(tmp_path):
    sheets = ContactSheets(NAMES, tmp_path / "made")
    sheets.add(prediction(shape=(112, 112, 3)))
    (path,) = sheets.finish()
    found = pixels(path)
    red = (found == [255, 0, 0]).all(axis=-1)
    assert red.sum() == 112 * 112
    blue = [int(canvas.BLUE[i : i + 2], 16) for i in (1, 3, 5)]
    bar = (found == blue).all(axis=-1)
    rows, columns = np.flatnonzero(bar.any(1)), np.flatnonzero(bar.any(0))
    assert len(columns) == round(0.9 * 66)
    picture_rows = np.flatnonzero(red.any(1))
    assert (rows[0] - picture_rows[0]) // (112 // 10) == 7  # the bar of class 7


@pytest.mark.parametrize("channels", [2, 4])
def test_what_is_transparent_lies_on_white(tmp_path, channels):
    image = np.zeros((28, 28, channels), np.uint8)
    image[:14, :, -1] = 255  # black, on half of it
    sheets = ContactSheets(NAMES, tmp_path)
    sheets.add(dataclasses.replace(prediction(), image=image))
    found = pixels(sheets.finish()[0])
    black = (found == 0).all(axis=-1)
    assert black.sum() == 112 * 56


def test_pages_are_filled_and_old_ones_removed(tmp_path):
    (tmp_path / "contact-sheet-9.png").write_bytes(b"old")
    (tmp_path / "other.png").write_bytes(b"kept")
    sheets = ContactSheets(NAMES, tmp_path)
    for number in range(COLUMNS * ROWS + 1):
        sheets.add(prediction(f"{number}.png"))
    assert (tmp_path / "contact-sheet-1.png").exists()  # as soon as it is full
    paths = sheets.finish()
    assert [path.name for path in paths] == ["contact-sheet-1.png", "contact-sheet-2.png"]
    assert {path.name for path in tmp_path.iterdir()} == {*(p.name for p in paths), "other.png"}
    assert len(pixels(paths[0])) > 3 * len(pixels(paths[1]))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 384, 3), (384, 2, 1), (200, 150, 3)])
def test_pictures_of_any_shape(tmp_path, shape):
    sheets = ContactSheets(NAMES, tmp_path)
    sheets.add(prediction("x" * 300 + ".png", shape))
    sheets.add(Prediction("b.png", "is damaged: " + "very " * 80))
    sheets.add(Prediction("c.png", picture=Picture(np.zeros(shape))))
    assert sheets.finish()[0].stat().st_size > 5000


def test_many_classes_show_the_most_probable(tmp_path):
    sheets = ContactSheets(tuple(f"a long name {i}" for i in range(62)), tmp_path)
    sheets.add(prediction(classes=62))
    assert sheets.finish()


def test_nothing_is_drawn_of_nothing(tmp_path):
    assert ContactSheets(NAMES, tmp_path).finish() == []
