"""Handwriting as MNIST's makers would have prepared it."""

import numpy as np
import pytest

from benchmarks.pictures import hands
from mnist_jax import data
from mnist_jax.data import Ink
from mnist_jax.pictures import digits
from mnist_jax.pictures.picture import UNIT

MNIST = Ink(longest=20, by_mass=True)


def seen(picture: np.ndarray, ink: Ink = MNIST) -> np.ndarray:
    """The image of a picture from 0 to 255, as float64."""
    grey = np.floor(np.clip(picture, 0, 255) * UNIT + 0.5)
    image = digits.to_image(grey, (28, 28), ink)
    assert image is not None
    assert image.dtype == np.uint8
    return image.astype(np.float64)


def has_ink(picture: np.ndarray) -> bool:
    grey = np.floor(np.clip(picture, 0, 255) * UNIT + 0.5)
    return digits.to_image(grey, (28, 28), MNIST) is not None


def drawn(
    digit: int = 5, size=(200, 200), middle=(100, 100), height: float = 120, pen: float = 0.1
) -> np.ndarray:
    """How far ink covers the pixels of a drawing, the same at each call."""
    strokes = hands.written(digit, hands.HANDS[0], np.random.default_rng(0))
    return hands.drawn(strokes, size, middle, height, pen * height)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The mean difference of two images, in grey levels."""
    return float(np.abs(one - other).mean())


@pytest.fixture(scope="module")
def images():
    return data.load("mnist", "train[55000:55200]").images[..., 0].astype(np.float64)


PLAIN = seen(255 * (1 - drawn()))


def test_images_of_mnist_hardly_change(images):
    differences = [apart(seen(255 - image), image) for image in images]
    assert np.median(differences) < 0.5
    assert np.mean(np.array(differences) < 2) > 0.85


def test_ink_is_20_pixels_long_and_centred_by_its_mass():
    for digit in range(10):
        image = seen(255 * (1 - drawn(digit)))
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        assert max(np.ptp(rows), np.ptp(columns)) == 19
        mass = [(image.sum(axis) * np.arange(28)).sum() / image.sum() for axis in (1, 0)]
        assert np.abs(np.array(mass) - 14).max() <= 0.5
        assert image.max() == 255


def test_emnist_has_longer_ink_centred_by_its_box():
    image = seen(255 * (1 - drawn(7)), Ink(longest=24, by_mass=False))
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert (rows[0], rows[-1]) == (2, 25)
    assert abs(columns[0] - (27 - columns[-1])) <= 1


@pytest.mark.parametrize("place", [(60, 70), (70, 125), (140, 70), (145, 125)])
def test_the_place_does_not_matter(place):
    moved = seen(255 * (1 - drawn(middle=place)))
    assert apart(moved, PLAIN) < 0.5


@pytest.mark.parametrize("zoom", [0.5, 1.9])
def test_the_size_does_not_matter(zoom):
    size = (round(200 * zoom),) * 2
    other = drawn(size=size, middle=(100 * zoom, 100 * zoom), height=120 * zoom)
    assert apart(seen(255 * (1 - other)), PLAIN) < 5


def test_light_on_dark_is_the_same():
    assert apart(seen(255 * drawn()), PLAIN) < 0.1


@pytest.mark.parametrize(("ink", "paper"), [(60, 200), (180, 90), (100, 130)])
def test_the_contrast_does_not_matter(ink, paper):
    assert apart(seen(paper + (ink - paper) * drawn()), PLAIN) < 1


@pytest.mark.parametrize(("angle", "darkest"), [(0, 0.3), (1, 0.5), (2, 0.5), (3, 0.3)])
def test_uneven_light_does_not_matter(angle, darkest):
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    slope = (np.cos(angle) * x + np.sin(angle) * y) / 1.5
    light = darkest + (1 - darkest) * (0.5 + 0.5 * slope)
    assert apart(seen(light * (240 - 210 * drawn())), PLAIN) < 3


def test_a_shadow_across_the_ink_does_not_matter():
    light = np.where(np.arange(200) < 90, 1.0, 0.55)
    assert apart(seen(light * (240 - 210 * drawn())), PLAIN) < 3


@pytest.mark.parametrize("deviation", [5, 20, 35])
def test_noise_does_not_matter(deviation):
    noise = np.random.default_rng(0).normal(0, deviation, (200, 200))
    assert apart(seen(220 - 180 * drawn() + noise), PLAIN) < 6


@pytest.mark.parametrize("pen", [0.02, 0.04, 0.08, 0.15, 0.25])
def test_strokes_become_as_wide_as_those_of_mnist(images, pen):
    """The mean of an image says how wide its strokes are, for the same drawing."""
    image = seen(255 * (1 - drawn(2, pen=pen)))
    usual = np.percentile(images.mean(axis=(1, 2)), [2, 98])
    assert usual[0] < image.mean() < usual[1]


def test_wide_strokes_become_thinner():
    wider = [seen(255 * (1 - drawn(2, pen=pen))).mean() for pen in (0.25, 0.3)]
    assert wider[1] < 1.03 * wider[0]


def test_widths_that_are_usual_stay():
    thin, thick = (seen(255 * (1 - drawn(2, pen=pen))) for pen in (0.09, 0.14))
    assert thick.sum() > 1.2 * thin.sum()


def test_specks_and_edges_are_no_ink():
    paper = 255 * (1 - drawn())
    rng = np.random.default_rng(1)
    for y, x in rng.integers(3, 197, (40, 2)):
        paper[y, x] = 0
    assert apart(seen(paper), PLAIN) < 1
    paper[:, :25] = 30  # what lies beside the sheet
    assert apart(seen(paper), PLAIN) < 1
    paper[:20] = 60
    assert apart(seen(paper), PLAIN) < 1


def test_a_frame_is_no_ink():
    ink = drawn(size=(300, 300), middle=(150, 150), height=80)
    framed = np.where(np.pad(np.zeros((230, 230)), 35, constant_values=1) > 0, 60, 220 - 160 * ink)
    assert apart(seen(framed), seen(255 * (1 - ink))) < 2


def test_other_writing_is_not_part_of_the_digit():
    paper = 255 * (1 - drawn(middle=(60, 100), height=90))
    alone = seen(paper)
    paper[30:80, 165:175] = 0
    assert apart(seen(paper), alone) < 0.5


def test_a_loose_bar_belongs_to_the_digit():
    """A 5 in two strokes that do not touch."""
    paper = np.full((200, 200), 255.0)
    paper[60:70, 80:130] = 0
    alone = seen(paper)
    paper[80:150, 75:85] = 0
    both = seen(paper)
    rows = np.flatnonzero(both.any(1))
    assert np.ptp(rows) == 19
    assert apart(alone, both) > 10
    gap = both[rows[0] : rows[-1] + 1].sum(1)
    assert gap.min() < 0.25 * gap.max()


def test_tight_crops(images):
    """Even where hardly any paper is left; but an upright 1 is then a picture without any."""
    for sign in (1, -1):
        differences = []
        for image in images:
            rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
            cut = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            grey = UNIT * (255 - cut if sign > 0 else cut)
            found = digits.to_image(grey, (28, 28), MNIST)
            differences.append(255 if found is None else apart(found, image))
        assert np.mean(np.array(differences) < 32) > 0.97


@pytest.mark.parametrize("shape", [(28, 28), (200, 300), (1, 1), (1, 50), (3, 2)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_picture_has_no_ink(shape, level):
    assert not has_ink(np.full(shape, float(level)))


def test_paper_with_a_shadow_and_noise_has_no_ink():
    y, x = np.mgrid[:300, :300]
    light = 1 - 0.4 / (1 + np.exp(-(x - 150 + y / 3) / 15))
    rng = np.random.default_rng(0)
    assert not has_ink(230 * light + rng.normal(0, 6, light.shape))
    for deviation in (2, 10, 40):
        assert not has_ink(rng.normal(128, deviation, (280, 280)))


def test_specks_alone_are_no_ink():
    paper = np.full((280, 280), 255.0)
    for y, x in ((50, 60), (200, 90), (130, 220), (240, 240)):
        paper[y : y + 6, x : x + 6] = 0
    assert not has_ink(paper)


def test_the_order_of_additions_does_not_matter(monkeypatch):
    """All sums are of whole numbers: summed in another order, they give the same bits."""
    rng = np.random.default_rng(0)
    picture = 200 - 150 * drawn(8) + rng.normal(0, 12, (200, 200))
    expected = seen(picture)
    flipped = [seen(picture[::-1])[::-1], seen(picture.T).T, seen(picture[:, ::-1])[:, ::-1]]
    # Mirrored, a digit may come to lie a pixel further, as 14 is not the middle of 0 to 27.
    for other in flipped:
        shifts = [np.roll(other, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        assert min(apart(expected, shifted) for shifted in shifts) < 0.2
