"""Made-up data sets of other shapes than MNIST's, as a user would write them: builders of tfds."""

from pathlib import Path

from mnist_jax.data import Spec

MNIST = Spec((28, 28, 1), tuple("0123456789"))

COLOUR, LETTERS, NO_TEST = "made_up:Colour", "made_up:Letters", "made_up:NoTest"

MODULE = '''
import numpy as np
import tensorflow_datasets as tfds


def examples(split, count, shape, classes):
    """Each image is the pattern of its class, and noise."""
    patterns = np.random.default_rng(0).integers(0, 156, (classes, *shape), np.uint8)
    noise = np.random.default_rng(1 if split == "train" else 2)
    for index in range(count):
        label = index % classes
        yield index, patterns[label] + noise.integers(0, 100, shape, np.uint8), label


class Colour(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """600 and 200 images of 32 x 32 in colour, of 5 classes with names; features of other names."""

    VERSION = tfds.core.Version("1.0.0")
    NAMES = ("ant", "bee", "cat", "dog", "eel")

    def _info(self):
        picture = tfds.features.Image(shape=(32, 32, 3))
        kind = tfds.features.ClassLabel(names=self.NAMES)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"kind": kind, "picture": picture}),
            supervised_keys=("picture", "kind"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples("train", 600),
                "test": self._generate_examples("test", 200)}

    def _generate_examples(self, split, count):
        for key, picture, kind in examples(split, count, (32, 32, 3), 5):
            yield key, {"picture": picture, "kind": self.NAMES[kind]}


class Letters(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """1200 and 400 grey images of 28 x 28, of 47 classes without names."""

    VERSION = tfds.core.Version("1.2.0")
    SIZES = {"train": 1200, "test": 400}

    def _info(self):
        features = tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(28, 28, 1)),
            "label": tfds.features.ClassLabel(num_classes=47),
        })
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, count) for split, count in self.SIZES.items()}

    def _generate_examples(self, split, count):
        for key, image, label in examples(split, count, (28, 28, 1), 47):
            yield key, {"image": image, "label": label}


class NoTest(Letters, skip_registration=True):
    """Splits of other names."""

    SIZES = {"train": 100, "holdout": 50}
'''


def write(folder: Path) -> Path:
    """Writes `made_up.py` into a folder, which is then to be the current one; returns its path.

    Its data sets `COLOUR` (32 x 32 x 3, 5 classes, 600 and 200 images), `LETTERS` (28 x 28 x 1, 47
    classes, 1200 and 400 images) and `NO_TEST` (without a split `test`) are the same bits in every
    run, and a network learns them in an epoch or two.
    """
    path = folder / "made_up.py"
    path.write_text(MODULE)
    return path
