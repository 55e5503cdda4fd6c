"""Pictures as the networks of several data sets see them."""

import numpy as np
import pytest
from PIL import Image

from mnist_jax import data
from mnist_jax.pictures import reading
from mnist_jax.pictures.prepared import prepare

GREY, LARGE, COLOUR = (28, 28, 1), (64, 48, 1), (32, 32, 3)


@pytest.fixture
def picture(tmp_path):
    """A function that writes pixels to a file and reads them."""

    def read(pixels: np.ndarray, name: str = "a.png"):
        Image.fromarray(pixels).save(tmp_path / name)
        return reading.read(tmp_path / name)

    return read


def test_which_data_sets_are_handwriting():
    assert data.ink("mnist") == data.Ink(longest=20, by_mass=True)
    assert data.ink("emnist/letters") == data.Ink(longest=24, by_mass=False)
    assert data.ink("fashion_mnist") is None
    assert data.ink("kmnist") is None


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_an_image_of_mnist_stays_as_it_is(picture, tmp_path, mode):
    images = data.load("mnist", "test").images
    for number in range(0, 10_000, 500):
        Image.fromarray(images[number, ..., 0]).convert(mode).save(tmp_path / "a.png")
        found = prepare(reading.read(tmp_path / "a.png"), GREY, data.ink("mnist"))
        np.testing.assert_array_equal(found, images[number])


def test_no_other_picture_stays_as_it_is(picture):
    image = data.load("mnist", "test").images[0, ..., 0]
    ink = data.ink("mnist")
    blank = np.zeros_like(image)
    assert prepare(picture(blank), GREY, ink) is None
    assert prepare(picture(blank), GREY, data.ink("emnist/digits")) is None
    red = np.stack([image, image // 2, image // 2], axis=-1)
    moved = np.roll(image, 3, axis=0)
    for other in (255 - image, red, np.pad(image, 2), image // 2 + 100, moved):
        found = prepare(picture(other), GREY, ink)
        assert found is not None
        assert not np.array_equal(found[..., 0], other[..., 0] if other.ndim == 3 else other)
        assert np.abs(found[..., 0].astype(int) - image).mean() < 3


@pytest.mark.parametrize("shape", [GREY, LARGE, COLOUR])
def test_a_picture_of_the_shape_stays_as_it_is(picture, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = prepare(picture(pixels if shape[-1] == 3 else pixels[..., 0]), shape, None)
    assert found is not None
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


def test_another_is_resized_and_nothing_else(picture):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    found = prepare(picture(pixels), COLOUR, None)
    blocks = pixels.reshape(32, 2, 32, 3, 3).mean(axis=(1, 3))
    assert found is not None
    assert np.abs(found - blocks).max() <= 0.6
    grey = prepare(picture(pixels), (32, 32, 1), None)
    assert grey is not None
    assert np.abs(grey[..., 0] - blocks @ [0.299, 0.587, 0.114]).max() <= 0.6
    from_grey = prepare(picture(pixels[..., 0]), COLOUR, None)
    assert from_grey is not None
    assert from_grey.shape == COLOUR
    assert (from_grey == from_grey[..., :1]).all()


def test_a_blank_picture_of_another_data_set_is_an_image(picture):
    assert prepare(picture(np.zeros((40, 40), np.uint8)), GREY, None) is not None
