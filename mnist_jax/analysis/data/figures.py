"""Statistics of the data of a configuration: of each split, and of images that occur repeatedly."""

import hashlib
import itertools
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mnist_jax import data
from mnist_jax.config import Augment, Config
from mnist_jax.data import Split

PART = 1 << 22  # pixels that are counted at once, as `bincount` takes 8 bytes for each


@dataclass(frozen=True, eq=False)
class Figures:
    """Statistics of one split; mean and standard deviation are of pixels divided by 255."""

    role: str  # training, validation or test
    split: str
    shape: tuple[int, ...]  # of one image
    dtype: str
    lowest: int
    highest: int
    mean: float
    deviation: float
    zeros: float  # fraction of all pixels that are 0
    per_class: np.ndarray  # [k] int64, number of images of each class

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.per_class.sum())

    @property
    def shares(self) -> np.ndarray:
        """Fraction of the images that belong to each class: [k] float64, sums to 1."""
        return self.per_class / self.images


@dataclass(frozen=True)
class Repetition:
    """Numbers of duplicate images within and between splits, which are named by their roles.

    Two images are duplicates if all their pixels are equal.
    """

    # By (a, b): images of split b that also occur in a; (a, a): that equal an earlier one of a.
    images: Mapping[tuple[str, str], int]
    disputed: int  # distinct images that occur with more than one label


@dataclass(frozen=True)
class Exploration:
    """Everything that is reported about the data of a configuration."""

    name: str
    class_names: tuple[str, ...]
    splits: tuple[Figures, ...]
    repetition: Repetition
    augment: Augment


def load(config: Config) -> dict[str, Split]:
    """Loads a configuration's splits by role: training, validation (if there is one) and test.

    Prints the warnings of `data.check_splits`.

    Raises:
      UserError: under the same conditions as `data.check_splits` and `data.load`.
    """
    of = config.data
    for text in data.check_splits(of.name, of.train_split, of.val_split):
        print(f"warning: {text}", file=sys.stderr)
    asked = {"training": of.train_split, "validation": of.val_split, "test": "test"}
    return {role: data.load(of.name, split) for role, split in asked.items() if split}


def explore(config: Config, loaded: Mapping[str, Split]) -> Exploration:
    """Computes the statistics of the splits that `load` returned."""
    figures = tuple(describe(role, split) for role, split in loaded.items())
    names = loaded["training"].class_names
    return Exploration(config.data.name, names, figures, find_repetition(loaded), config.augment)


def describe(role: str, split: Split) -> Figures:
    """Computes the statistics of a split of uint8 images, exact up to a final rounding."""
    parts = np.array_split(split.images.reshape(-1), 1 + split.images.size // PART)
    histogram = np.sum([np.bincount(part, minlength=256) for part in parts], axis=0)
    values, shares = np.arange(256) / 255, histogram / histogram.sum()
    mean = values @ shares
    present = np.flatnonzero(histogram)
    return Figures(
        role,
        split.split,
        split.images.shape[1:],
        str(split.images.dtype),
        int(present[0]),
        int(present[-1]),
        float(mean),
        float(np.sqrt((values - mean) ** 2 @ shares)),
        float(shares[0]),
        np.bincount(split.labels, minlength=len(split.class_names)),
    )


def find_repetition(loaded: Mapping[str, Split]) -> Repetition:
    """Counts duplicate images within and between the splits, compared pixel by pixel."""
    digests: dict[str, list[bytes]] = {}
    labels = defaultdict(set)
    for role, split in loaded.items():
        digests[role] = [hashlib.sha256(image.tobytes()).digest() for image in split.images]
        for digest, label in zip(digests[role], split.labels.tolist(), strict=True):
            labels[digest].add(label)
    distinct = {role: set(found) for role, found in digests.items()}
    within = {(a, a): len(found) - len(distinct[a]) for a, found in digests.items()}
    between = {
        (a, b): sum(digest in distinct[a] for digest in digests[b])
        for a, b in itertools.combinations(loaded, 2)
    }
    return Repetition(within | between, sum(len(given) > 1 for given in labels.values()))


def class_moments(split: Split, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes the mean and standard deviation of each pixel over the images of a class.

    Both are [h, w, c] arrays of values from 0 to 255. The class must have at least one image.
    """
    members = split.images[split.labels == label]
    return members.mean(axis=0), members.std(axis=0)
