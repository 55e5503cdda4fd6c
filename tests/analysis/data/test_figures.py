import numpy as np
import pytest

from mnist_jax.analysis.data import figures
from mnist_jax.config import Config, Data
from mnist_jax.data import Split
from mnist_jax.errors import UserError
from tests import datasets

DIGITS = tuple("0123456789")


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


@pytest.mark.parametrize(
    ("count", "shape"), [(6000, (28, 28, 1)), (50, (9, 12, 3))], ids=["more than a part", "colour"]
)
def test_figures_are_those_of_the_pixels(count, shape):
    split = split_of(count, shape)
    found = figures.describe("training", split)
    pixels = split.images / 255
    assert (found.images, found.shape, found.dtype) == (count, shape, "uint8")
    assert (found.lowest, found.highest) == (split.images.min(), split.images.max())
    assert found.mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert found.deviation == pytest.approx(pixels.std(), rel=1e-12)
    assert found.zeros == pytest.approx((split.images == 0).mean(), rel=1e-12)


def test_counts_add_up_and_shares_sum_to_1():
    split = split_of(500)
    found = figures.describe("test", split)
    assert found.per_class.sum() == found.images == 500
    assert found.per_class.tolist() == [(split.labels == label).sum() for label in range(10)]
    assert found.shares.sum() == pytest.approx(1, abs=1e-12)


def test_a_class_without_images_has_a_count_of_0():
    assert figures.describe("test", of_images([1, 2], [0, 0])).per_class.tolist() == [2, 0]


def test_mean_and_deviation_of_a_class():
    mean, deviation = figures.class_moments(of_images([10, 20, 200], [0, 0, 1]), 0)
    np.testing.assert_array_equal(mean, np.full((4, 1, 1), 15.0))
    np.testing.assert_array_equal(deviation, np.full((4, 1, 1), 5.0))


def test_repetition_within_and_between_splits():
    loaded = {
        "training": of_images([1, 1, 1, 2, 3], [0, 0, 1, 0, 0]),
        "test": of_images([2, 3, 3, 4], [0, 1, 1, 0]),
    }
    found = figures.find_repetition(loaded)
    assert found.images == {
        ("training", "training"): 2,
        ("test", "test"): 1,
        ("training", "test"): 3,
    }
    assert found.disputed == 2  # 1 and 3


def test_no_validation_split_is_no_split(made_up):
    asked = Data(name=datasets.COLOUR, train_split="train", val_split="")
    assert list(figures.load(Config(data=asked))) == ["training", "test"]


def test_rows_that_a_split_repeats_are_a_warning(made_up, capsys: pytest.CaptureFixture):
    asked = Data(name=datasets.COLOUR, train_split="train[:50]+train[:10]", val_split="")
    figures.load(Config(data=asked))
    lines = capsys.readouterr().err.splitlines()  # among those of tfds
    [warning] = [line for line in lines if line.startswith("warning: ")]
    assert "config.data.train_split: 'train[:50]+train[:10]' lists 10 rows again" in warning


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
        figures.load(Config(data=Data(name=name, train_split=train, val_split=val)))
