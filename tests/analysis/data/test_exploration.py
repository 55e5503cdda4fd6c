import re

import numpy as np
import pytest

from mnist_jax.analysis.data import exploration
from mnist_jax.analysis.data.exploration import Exploration, Figures, Repetition
from mnist_jax.config import Augment, Config, Data
from mnist_jax.data import Split
from mnist_jax.errors import UserError
from tests import datasets

DIGITS = tuple("0123456789")
NOTHING = Repetition({("training", "test"): 0}, {"training": 0, "test": 0}, 0)


def split_of(
    count: int, shape: tuple[int, ...] = (28, 28, 1), names: tuple[str, ...] = DIGITS, seed: int = 0
) -> Split:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, *shape), np.uint8)
    images[random.random(images.shape) < 0.3] = 0
    labels = random.integers(0, len(names), count).astype(np.int32)
    return Split(images, labels, names, "made_up", f"train[:{count}]")


def of_images(values: list[int], labels: list[int]) -> Split:
    images = np.array(values, np.uint8)[:, None, None, None].repeat(4, axis=1)
    return Split(images, np.array(labels, np.int32), ("a", "b"), "made_up", "train")


def figures_of(role: str, per_class: list[int]) -> Figures:
    return Figures(role, role, (28, 28, 1), "uint8", 0, 255, 0.1, 0.3, 0.8, np.array(per_class))


def exploration_of(*splits: Figures, repetition: Repetition = NOTHING, **augment) -> Exploration:
    names = tuple(f"class {label}" for label in range(len(splits[0].per_class)))
    return Exploration("made_up", names, splits, repetition, Augment(**augment))


@pytest.mark.parametrize(
    ("count", "shape"), [(6000, (28, 28, 1)), (50, (9, 12, 3))], ids=["more than a part", "colour"]
)
def test_figures_are_those_of_the_pixels(count, shape):
    split = split_of(count, shape)
    figures = exploration.describe("training", split)
    pixels = split.images / 255
    assert (figures.images, figures.shape, figures.dtype) == (count, shape, "uint8")
    assert (figures.lowest, figures.highest) == (split.images.min(), split.images.max())
    assert figures.mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert figures.deviation == pytest.approx(pixels.std(), rel=1e-12)
    assert figures.zeros == pytest.approx((split.images == 0).mean(), rel=1e-12)


def test_counts_add_up_and_shares_sum_to_1():
    split = split_of(500)
    figures = exploration.describe("test", split)
    assert figures.per_class.sum() == figures.images == 500
    assert figures.per_class.tolist() == [(split.labels == label).sum() for label in range(10)]
    assert figures.shares.sum() == pytest.approx(1, abs=1e-12)


def test_a_class_without_images_has_a_count_of_0():
    assert exploration.describe("test", of_images([1, 2], [0, 0])).per_class.tolist() == [2, 0]


def test_mean_and_deviation_of_a_class():
    mean, deviation = exploration.class_moments(of_images([10, 20, 200], [0, 0, 1]), 0)
    np.testing.assert_array_equal(mean, np.full((4, 1, 1), 15.0))
    np.testing.assert_array_equal(deviation, np.full((4, 1, 1), 5.0))


def test_repetition_within_and_between_splits():
    loaded = {
        "training": of_images([1, 1, 1, 2, 3], [0, 0, 1, 0, 0]),
        "test": of_images([2, 3, 3, 4], [0, 1, 1, 0]),
    }
    found = exploration.find_repetition(loaded)
    assert found.copies == {"training": 2, "test": 1}
    assert found.images == {("training", "test"): 3}
    assert found.disputed == 2  # 1 and 3
    [said] = exploration.findings(
        exploration_of(figures_of("training", [5]), figures_of("test", [4]), repetition=found)
    )[1:]
    assert said == (
        "No example is in two splits. Exact duplicates: "
        "2 training images identical to an earlier one. "
        "1 test image identical to an earlier one. "
        "3 test images identical to a training image. 2 images with more than one label."
    )


def test_without_repetition_that_is_said():
    found = exploration_of(figures_of("training", [9]), figures_of("test", [9]))
    said = exploration.findings(found)[-1]
    assert said == "No example is in two splits. No two images are the same."


def test_findings_name_what_is_missing_and_what_to_beat():
    found = exploration_of(figures_of("training", [5, 0, 3, 0]), figures_of("test", [1, 1, 1, 1]))
    missing, baseline, *_ = exploration.findings(found)
    assert missing == "Warning: the training split has no images of class 1 and class 3."
    assert baseline.startswith(
        "Always predicting class 0, the most common training class, is right"
    )
    assert "25.00 % of the test images" in baseline


def test_distortion_is_a_function_of_the_seed():
    images, ranges = split_of(2).images, Augment(rotation=20.0)
    first, again, other = (exploration.distort(images, ranges, seed, 3) for seed in (1, 1, 2))
    assert (first.shape, first.dtype) == ((2, 3, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.3
    assert (first[0, 0] != first[0, 1]).mean() > 0.3


def test_no_distortion_is_the_image_itself():
    images = split_of(2, (9, 12, 3)).images
    drawn = exploration.distort(images, Augment(), 0, 2)
    np.testing.assert_array_equal(drawn, images[:, None].repeat(2, axis=1))


def test_channels_are_distorted_alike():
    grey = split_of(1).images.repeat(3, axis=-1)
    drawn = exploration.distort(grey, Augment(elastic=2.0, shear=20.0), 0, 2)
    np.testing.assert_array_equal(drawn[..., 0], drawn[..., 2])


def test_a_typical_distortion_is_of_one_kind_and_grows_with_the_image():
    small, large = exploration.typical(28), exploration.typical(56)
    for kind, ranges in small.items():
        assert list(exploration.strengths(ranges)) == [kind]
    assert large["translation"].translation == 2 * small["translation"].translation
    assert large["rotation"] == small["rotation"]


def test_strengths_are_read_with_their_units():
    ranges = Augment(rotation=7.5, translation=2.0, scale=0.125, elastic=1.0)
    assert exploration.said(ranges) == (
        "rotation ±7.5°, translation ±2 px, scale ±12.5 % and elastic 1 px"
    )


@pytest.mark.parametrize("width", [40, 80])
def test_the_text_fits_and_holds_every_class_of_every_split(width):
    per_class = [5400, 6100, 5500]
    found = exploration_of(
        figures_of("training", per_class),
        figures_of("validation", [480, 560, 490]),
        figures_of("test", [1000, 1000, 1000]),
    )
    text = exploration.tell(found, width)
    assert max(map(len, text.splitlines())) <= width
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    wide = width == 80
    assert len(re.findall(r"^ *class 1 ", text, flags=re.M)) == (1 if wide else 3)
    for number in ("17,000", "5,400", "6,100", "5,500", "480", "560", "490"):
        assert number in text
    assert text.count("33.33 %") == 4  # three of test, and what to beat
    assert "all equal" in text
    assert "Training distorts no image." in text


def test_the_text_names_the_largest_and_the_smallest_class():
    found = exploration_of(figures_of("training", [2, 3, 1]), figures_of("test", [3, 2, 1]))
    lines = exploration.tell(found, 80).splitlines()
    [largest] = [line for line in lines if line.startswith("largest")]
    [smallest] = [line for line in lines if line.startswith("smallest")]
    assert largest.split("  ")[1:] != smallest.split("  ")[1:]
    assert (largest.split()[-3], largest.split()[-1]) == ("1", "0")
    assert (smallest.split()[-3], smallest.split()[-1]) == ("2", "2")


@pytest.fixture
def made_up(tmp_path, monkeypatch, user_module):
    """The made-up data sets of other shapes."""
    user_module("made_up", datasets.MODULE)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


def test_no_validation_split_is_no_split(made_up):
    asked = Data(name=datasets.COLOUR, train_split="train", val_split="")
    assert list(exploration.load(Config(data=asked))) == ["training", "test"]


@pytest.mark.parametrize(
    ("name", "train", "val", "message"),
    [
        (datasets.NO_TEST, "train", "holdout", "has no split 'test'"),
        (datasets.COLOUR, "all", "", "'all' holds 200 rows of the test split"),
        (datasets.COLOUR, "train", "train[:50]", "val_split: 'train.:50.' shares 50 of its rows"),
    ],
)
def test_splits_that_are_not_apart_are_refused_as_in_training(made_up, name, train, val, message):
    with pytest.raises(UserError, match=message):
        exploration.load(Config(data=Data(name=name, train_split=train, val_split=val)))


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        (datasets.COLOUR, "32 x 32 x 3", "5 classes"),
        (datasets.LETTERS, "28 x 28 x 1", "47 classes"),
    ],
)
def test_data_of_any_shape_and_number_of_classes(made_up, name, shape, classes):
    asked = Config(data=Data(name=name, train_split="train[:500]", val_split="train[500:]"))
    loaded = exploration.load(asked)
    found = exploration.explore(asked, loaded)
    text = exploration.tell(found, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert f"{name}: {classes}" in text
    assert text.count(shape) == 3
    for label in loaded["training"].class_names:
        assert re.search(rf"^{label} +\d", text, flags=re.M)
