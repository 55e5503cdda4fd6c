import re

import numpy as np
import pytest

from mnist_jax.analysis.data import figures, text
from mnist_jax.analysis.data.figures import Exploration, Figures, Repetition
from mnist_jax.binding import Choice
from mnist_jax.config import Augment, Config, Data
from tests import datasets

NOTHING = Repetition({("training", "training"): 0, ("training", "test"): 0}, 0)


def figures_of(role: str, per_class: list[int]) -> Figures:
    return Figures(role, role, (28, 28, 1), "uint8", 0, 255, 0.1, 0.3, 0.8, np.array(per_class))


def exploration_of(*splits: Figures, repetition: Repetition = NOTHING, **augment) -> Exploration:
    names = tuple(f"class {label}" for label in range(len(splits[0].per_class)))
    return Exploration("made_up", names, splits, repetition, Augment(**augment))


def test_without_repetition_that_is_said():
    found = exploration_of(figures_of("training", [9]), figures_of("test", [9]))
    said = text.findings(found)[-1]
    assert said == "No example is in two splits. No two images are the same."


def test_findings_name_what_is_missing_and_what_to_beat():
    found = exploration_of(figures_of("training", [5, 0, 3, 0]), figures_of("test", [1, 1, 1, 1]))
    missing, baseline, *_ = text.findings(found)
    assert missing == "Warning: the training split has no images of class 1 and class 3."
    assert baseline.startswith(
        "Always predicting class 0, the most common training class, is right"
    )
    assert "25.00 % of the test images" in baseline


def test_typical_augmentation_is_of_one_kind_and_grows_with_the_image():
    small, large = text.typical(28), text.typical(56)
    for kind, ranges in small.items():
        assert list(text.strengths(ranges)) == [kind]
    assert large["translation"].translation == 2 * small["translation"].translation
    assert large["rotation"].rotation == small["rotation"].rotation


def test_strengths_are_read_with_their_units():
    ranges = Augment(
        rotation=7.5, translation=2.0, scale=0.125, elastic=1.0, noise=0.05, erase=0.5, mixup=0.2
    )
    assert text.said(ranges) == (
        "rotation ±7.5°, translation ±2 px, scale ±12.5 %, elastic 1 px, noise 0.05 and "
        "erase probability 0.5"
    )


def said_of(**augment) -> str:
    """What the text says of augmentation."""
    found = exploration_of(figures_of("training", [9]), figures_of("test", [9]), **augment)
    return " ".join(text.tell(found, 80).split("\n\n")[-2].split())


def test_the_text_tells_what_the_picture_of_augmentation_cannot_show():
    functions = Choice("mine:cutout", {"size": 8}), Choice("mine:flip")
    assert said_of(shear=5.0, mixup=0.2, functions=functions) == (
        "Training augments every image at random, differently each time: shear ±5°. "
        "Training mixes images and labels in pairs (mixup, alpha 0.2) and "
        "calls your own mine:cutout and mine:flip; augmentation.png does not show this."
    )
    assert said_of(mixup=1.0) == (
        "Training mixes images and labels in pairs (mixup, alpha 1); "
        "augmentation.png does not show this."
    )
    assert "does not show" not in said_of(noise=0.1)


def test_duplicates_are_counted_within_and_between_splits():
    repetition = Repetition(
        {("training", "training"): 2, ("test", "test"): 1, ("training", "test"): 3}, 2
    )
    splits = figures_of("training", [5]), figures_of("test", [4])
    said = text.findings(exploration_of(*splits, repetition=repetition))[-1]
    assert said == (
        "No example is in two splits. Exact duplicates: "
        "2 training images identical to an earlier one. "
        "1 test image identical to an earlier one. "
        "3 test images identical to a training image. 2 images with more than one label."
    )


@pytest.mark.parametrize("width", [40, 80])
def test_the_text_fits_and_holds_every_class_of_every_split(width):
    per_class = [5400, 6100, 5500]
    found = exploration_of(
        figures_of("training", per_class),
        figures_of("validation", [480, 560, 490]),
        figures_of("test", [1000, 1000, 1000]),
    )
    said = text.tell(found, width)
    assert max(map(len, said.splitlines())) <= width
    assert not [line for line in said.splitlines() if line != line.rstrip()]
    wide = width == 80
    assert len(re.findall(r"^ *class 1 ", said, flags=re.M)) == (1 if wide else 3)
    for number in ("17,000", "5,400", "6,100", "5,500", "480", "560", "490"):
        assert number in said
    assert said.count("33.33 %") == 4  # three of test, and what to beat
    assert "all equal" in said
    assert "Training augments no image." in said


def test_the_text_names_the_largest_and_the_smallest_class():
    found = exploration_of(figures_of("training", [2, 3, 1]), figures_of("test", [3, 2, 1]))
    lines = text.tell(found, 80).splitlines()
    [largest] = [line for line in lines if line.startswith("largest")]
    [smallest] = [line for line in lines if line.startswith("smallest")]
    assert largest.split("  ")[1:] != smallest.split("  ")[1:]
    assert (largest.split()[-3], largest.split()[-1]) == ("1", "0")
    assert (smallest.split()[-3], smallest.split()[-1]) == ("2", "2")


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        (datasets.COLOUR, "32 x 32 x 3", "5 classes"),
        (datasets.LETTERS, "28 x 28 x 1", "47 classes"),
    ],
)
def test_data_of_any_shape_and_number_of_classes(made_up, name, shape, classes):
    asked = Config(data=Data(name=name, train_split="train[:500]", val_split="train[500:]"))
    loaded = figures.load(asked)
    found = figures.explore(asked, loaded)
    said = text.tell(found, 80)
    assert max(map(len, said.splitlines())) <= 80
    assert f"{name}: {classes}" in said
    assert said.count(shape) == 3
    for label in loaded["training"].class_names:
        assert re.search(rf"^{label} +\d", said, flags=re.M)
