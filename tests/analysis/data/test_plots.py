from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from mnist_jax.analysis.data import figures, plots, text
from mnist_jax.analysis.data.figures import Exploration, describe, find_repetition
from mnist_jax.analysis.gallery import Gallery
from mnist_jax.config import Augment
from mnist_jax.data import Split
from mnist_jax.errors import UserError
from tests.analysis.data.test_figures import DIGITS, split_of
from tests.analysis.run.test_plots import FASHION, assert_a_picture, texts

SHEAR = Augment(shear=9.0)
TILE = 84  # pixels of a picture for an image of 28


def found_of(loaded: dict[str, Split], augment: Augment) -> Exploration:
    splits = tuple(describe(role, split) for role, split in loaded.items())
    repetition = find_repetition(loaded)
    return Exploration("made_up", loaded["training"].class_names, splits, repetition, augment)


def write(folder: Path, seed: int = 0, augment: Augment = SHEAR, **of) -> list[Path]:
    loaded = {"training": split_of(60, **of), "test": split_of(30, **of, seed=1)}
    return plots.write_pictures(folder, found_of(loaded, augment), loaded, seed)


def shown(figure, row: int, column: int, columns: int, margin=0, lines=0, channels=1):
    """The image of 28 x 28 that a headed gallery shows at a place, as it was."""
    canvas = np.asarray(figure.images[0].get_array())
    middle = margin + (2 * column + 1) * (Gallery.WIDTH - margin) // (2 * columns)
    top = Gallery.TOP + Gallery.LINE * (1 + lines) + row * (TILE + Gallery.GAP)
    left = middle - TILE // 2
    return 255 - canvas[top : top + TILE : 3, left : left + TILE : 3, :channels]


@pytest.mark.parametrize(
    "of",
    [
        {"augment": Augment()},
        pytest.param({"names": FASHION}, marks=pytest.mark.slow),
        {"names": tuple(f"a long name {n}" for n in range(62)), "shape": (32, 40, 3)},
        pytest.param({"names": tuple(map(str, range(47)))}, marks=pytest.mark.slow),
        pytest.param({"names": tuple("abcde"), "shape": (32, 32, 3)}, marks=pytest.mark.slow),
        pytest.param({"names": ("a", "b"), "shape": (120, 100, 1)}, marks=pytest.mark.slow),
        {"shape": (5, 6, 2)},
        pytest.param({"shape": (5, 6, 4), "augment": Augment()}, marks=pytest.mark.slow),
    ],
    ids=[
        "nothing configured",
        "long names",
        "many classes in colour",
        "letters",
        "colour",
        "few and large",
        "grey and alpha",
        "colour and alpha",
    ],
)
def test_every_picture_is_written(tmp_path, of):
    paths = write(tmp_path / "explore", **of)
    assert [path.stem for path in paths] == list(text.PICTURES)
    for path in paths:
        assert_a_picture(path)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, again, other = (write(tmp_path / str(n), seed) for n, seed in enumerate((1, 1, 2)))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    differ = [a.stem for a, b in zip(first, other, strict=True) if a.read_bytes() != b.read_bytes()]
    assert differ == ["augmentation"]


def test_a_folder_that_cannot_be_written_is_a_message(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file: File exists"):
        write(tmp_path / "file")


def test_samples_are_images_of_their_class_evenly_spaced():
    split = split_of(300)
    figure = plots.draw_samples(split)
    for column in (0, 7):
        members = np.flatnonzero(split.labels == column)
        for row, example in ((0, members[0]), (7, members[-1])):
            tile = shown(figure, row, column, columns=10)
            np.testing.assert_array_equal(tile, split.images[example])


def test_deviations_are_not_transparent_where_all_images_are_opaque():
    split = split_of(300, (28, 28, 4))
    split.images[..., 3] = 255
    figure = plots.draw_means(split)
    _, deviation = figures.class_moments(split, 4)
    tile = 255 - shown(figure, 1, 4, columns=10, margin=plots.MARGIN, channels=3)
    np.testing.assert_allclose(tile, 2 * deviation[..., :3], atol=1)


def test_means_are_those_of_the_class():
    split = split_of(300)
    figure = plots.draw_means(split)
    mean, deviation = figures.class_moments(split, 4)
    for row, values in enumerate((mean, 2 * deviation)):
        tile = shown(figure, row, 4, columns=10, margin=plots.MARGIN)
        np.testing.assert_array_equal(tile, values.round().clip(0, 255))


def test_a_class_without_images_is_an_empty_column():
    split = split_of(60)
    without = replace(split, labels=np.where(split.labels == 3, 4, split.labels))
    assert not shown(plots.draw_samples(without), 0, 3, columns=10).any()
    assert not shown(plots.draw_means(without), 0, 3, columns=10, margin=plots.MARGIN).any()


def test_bars_are_the_shares_of_each_split():
    found = found_of({"training": split_of(60), "test": split_of(30, seed=1)}, Augment())
    [axes] = plots.draw_balance(found).axes
    for bars, split in zip(axes.containers, found.splits, strict=True):
        heights = [bar.get_height() for bar in bars]
        np.testing.assert_allclose(heights, 100 * split.shares)
    [line] = axes.lines
    assert set(line.get_ydata()) == {10.0}
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert names == list(DIGITS)


def test_configured_augmentation_is_shown_beside_the_image():
    split, ranges = split_of(60), Augment(rotation=20.0)
    figure = plots.draw_augmentation(split, ranges, 5)
    assert "rotation ±20°" in texts(figure)
    image = split.images[np.flatnonzero(split.labels == 0)[:1]]
    place = {"columns": 2 + plots.DRAWS, "margin": plots.MARGIN, "lines": 1}
    np.testing.assert_array_equal(shown(figure, 0, 0, **place), image[0])
    drawn = plots.augmented(image, ranges, 5, plots.DRAWS)
    np.testing.assert_array_equal(shown(figure, 0, 2, **place), drawn[0, 0])
    np.testing.assert_array_equal(shown(figure, 0, 9, **place), drawn[0, 7])


def test_where_none_is_configured_each_kind_is_shown_and_said_not_to_be():
    said = texts(plots.draw_augmentation(split_of(60), Augment(), 0))
    assert "none of these is configured for made_up" in said
    for kind in text.KINDS:
        assert kind in said
    for strength in ("±15°", "±2 px", "±15 %", "1 px", "0.1", "0.5"):
        assert strength in said


def test_augmentation_is_a_function_of_the_seed():
    images, ranges = split_of(2).images, Augment(rotation=20.0)
    first, again, other = (plots.augmented(images, ranges, seed, 3) for seed in (1, 1, 2))
    assert (first.shape, first.dtype) == ((2, 3, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.3
    assert (first[0, 0] != first[0, 1]).mean() > 0.3


def test_no_augmentation_is_the_image_itself():
    images = split_of(2, (9, 12, 3)).images
    drawn = plots.augmented(images, Augment(), 0, 2)
    np.testing.assert_array_equal(drawn, images[:, None].repeat(2, axis=1))


def test_noise_and_erasing_are_shown_and_mixup_is_not():
    images = np.full((2, 28, 28, 1), 128, np.uint8)
    noisy, erased, mixed = (
        plots.augmented(images, ranges, 0, 4) != 128
        for ranges in (Augment(noise=0.1), Augment(erase=1.0), Augment(mixup=1.0))
    )
    assert noisy.mean() > 0.9
    assert 0.01 < erased.mean(axis=(2, 3, 4)).min() <= erased.mean(axis=(2, 3, 4)).max() < 0.4
    assert not mixed.any()


@pytest.mark.slow
def test_channels_are_distorted_alike():
    grey = split_of(1).images.repeat(3, axis=-1)
    drawn = plots.augmented(grey, Augment(elastic=2.0, shear=20.0), 0, 2)
    np.testing.assert_array_equal(drawn[..., 0], drawn[..., 2])


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path):
    with matplotlib.rc_context({"font.size": 7}):
        write(tmp_path)
        assert matplotlib.rcParams["font.size"] == 7
