"""A first look at the data of a configuration: statistics of its splits, and a text with them."""

import hashlib
import itertools
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from mnist_jax import data
from mnist_jax.analysis.canvas import count
from mnist_jax.config import Augment, Config
from mnist_jax.data import Split
from mnist_jax.data.augment import augment, enabled
from mnist_jax.randomness import example_keys, root_key

PICTURES = {
    "samples": "training images of each class",
    "means": "the mean image of each class, and how its pixels vary",
    "balance": "the share of each class in each split",
    "augmentation": "what distortion does to an image",
}
UNITS = {  # by kind of distortion: the factor to the unit that is shown, and the format
    "rotation": (1, "±{:.6g}°"),
    "translation": (1, "±{:.6g} px"),
    "scale": (100, "±{:.6g} %"),
    "shear": (1, "±{:.6g}°"),
    "elastic": (1, "{:.6g} px"),
}


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

    images: Mapping[tuple[str, str], int]  # by (a, b): images of b that also occur in a
    copies: Mapping[str, int]  # by split: images that equal an earlier one of the same split
    disputed: int  # distinct images that occur with more than one label


@dataclass(frozen=True)
class Exploration:
    """Everything that `tell` reports about the data of a configuration."""

    name: str
    class_names: tuple[str, ...]
    splits: tuple[Figures, ...]
    repetition: Repetition
    augment: Augment


def load(config: Config) -> dict[str, Split]:
    """Loads a configuration's splits by role: training, validation (if there is one) and test.

    Raises:
      UserError: under the same conditions as `data.check_splits` and `data.load`.
    """
    of = config.data
    data.check_splits(of.name, of.train_split, of.val_split)
    asked = {"training": of.train_split, "validation": of.val_split, "test": "test"}
    return {role: data.load(of.name, split) for role, split in asked.items() if split}


def explore(config: Config, loaded: Mapping[str, Split]) -> Exploration:
    """Computes the statistics of the splits that `load` returned."""
    return Exploration(
        config.data.name,
        loaded["training"].class_names,
        tuple(describe(role, split) for role, split in loaded.items()),
        find_repetition(loaded),
        config.augment,
    )


def describe(role: str, split: Split) -> Figures:
    """Computes the statistics of a split of uint8 images, exact up to a final rounding."""
    histogram = _histogram(split.images)
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
    digests = {role: [_digest(image) for image in split.images] for role, split in loaded.items()}
    distinct = {role: set(found) for role, found in digests.items()}
    labels = defaultdict(set)
    for role, split in loaded.items():
        for digest, label in zip(digests[role], split.labels.tolist(), strict=True):
            labels[digest].add(label)
    return Repetition(
        {
            (a, b): sum(digest in distinct[a] for digest in digests[b])
            for a, b in itertools.combinations(loaded, 2)
        },
        {role: len(found) - len(distinct[role]) for role, found in digests.items()},
        sum(len(given) > 1 for given in labels.values()),
    )


def class_moments(split: Split, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes the mean and standard deviation of each pixel over the images of a class.

    Both are [h, w, c] arrays of values from 0 to 255. The class must have at least one image.
    """
    members = split.images[split.labels == label]
    return members.mean(axis=0), members.std(axis=0)


def distort(images: np.ndarray, ranges: Augment, seed: int, draws: int) -> np.ndarray:
    """Distorts each image `draws` times, as training would: [n, draws, h, w, c] uint8.

    Args:
      images: `[n, h, w, c]` uint8; all channels of an image are distorted alike.
      ranges: strengths of the distortions.
      seed: the same seed gives the same distortions, which differ from those of any training step.
      draws: number of distortions of each image.
    """
    repeated = jnp.asarray(np.repeat(images, draws, axis=0).astype(np.float32) / 255)
    positions = jnp.arange(len(repeated))
    keys = example_keys(root_key(seed), "explore", jnp.uint32(0), positions)
    pixels = np.clip(augment(repeated, keys, ranges), 0, 1) * 255
    return pixels.round().astype(np.uint8).reshape(len(images), draws, *images.shape[1:])


def typical(height: int) -> dict[str, Augment]:
    """Returns each kind of distortion alone, at a usual strength for images of this height.

    The height is in pixels.
    """
    pixel = height / 28  # the strengths below suit MNIST, whose images are 28 pixels high
    return {
        "rotation": Augment(rotation=15.0),
        "translation": Augment(translation=round(2.0 * pixel, 1)),
        "scale": Augment(scale=0.15),
        "shear": Augment(shear=15.0),
        "elastic": Augment(elastic=round(1.0 * pixel, 1), elastic_sigma=4.0 * pixel),
    }


def strengths(ranges: Augment) -> dict[str, str]:
    """Returns the strength of each kind of distortion that is configured: `rotation`: `±10°`."""
    values = {kind: factor * getattr(ranges, kind) for kind, (factor, _) in UNITS.items()}
    return {kind: said.format(values[kind]) for kind, (_, said) in UNITS.items() if values[kind]}


def said(ranges: Augment) -> str:
    """Lists the configured distortions in words: `rotation ±10° and shear ±5°`."""
    return _listed([f"{kind} {strength}" for kind, strength in strengths(ranges).items()])


# Text


def tell(exploration: Exploration, width: int) -> str:
    """Returns the exploration as text, in lines of at most `width` characters where words allow."""
    parts = [
        f"{exploration.name}: {len(exploration.class_names)} classes",
        _table(_split_rows(exploration), width),
        _wrap(
            "Mean and standard deviation are of pixels divided by 255, as networks see them.", width
        ),
        _table(_class_rows(exploration), width),
        *(_wrap(line, width) for line in findings(exploration)),
        _wrap(_augmentation(exploration.augment), width),
        "\n".join(
            _wrap(f"{name}.png".ljust(18) + shown, width, " " * 18)
            for name, shown in PICTURES.items()
        ),
    ]
    return "\n\n".join(parts) + "\n"


def findings(exploration: Exploration) -> list[str]:
    """Returns what the statistics mean, one paragraph per string."""
    return [
        *_missing(exploration),
        _baseline(exploration),
        " ".join(["No example is in two splits.", *_copies(exploration.repetition)]),
    ]


def _split_rows(exploration: Exploration) -> list[list[str]]:
    """Returns a table of the statistics, one column per split."""
    names = exploration.class_names
    columns = [
        [
            figures.role,
            figures.split,
            f"{figures.images:,}",
            " x ".join(map(str, figures.shape)),
            figures.dtype,
            str(figures.lowest),
            str(figures.highest),
            f"{figures.mean:.4f}",
            f"{figures.deviation:.4f}",
            f"{100 * figures.zeros:.1f} %",
            *_extremes(figures, names),
        ]
        for figures in exploration.splits
    ]
    heads = ["", "split", "images", "shape of an image", "dtype", "lowest value"]
    heads += ["highest value", "mean", "standard deviation", "pixels that are 0"]
    heads += ["largest class", "smallest class"]
    return [list(row) for row in zip(heads, *columns, strict=True)]


def _extremes(figures: Figures, names: Sequence[str]) -> tuple[str, str]:
    """Returns the names of the largest and the smallest class."""
    if np.ptp(figures.per_class) == 0:
        return "all equal", "all equal"
    return names[int(figures.per_class.argmax())], names[int(figures.per_class.argmin())]


def _class_rows(exploration: Exploration) -> list[list[str]]:
    """Returns a table of the number of images of each class, one column per split."""
    columns = [
        [figures.role]
        + [
            f"{number:,}  {100 * share:5.2f} %"
            for number, share in zip(figures.per_class, figures.shares, strict=True)
        ]
        for figures in exploration.splits
    ]
    heads = ["class", *exploration.class_names]
    return [list(row) for row in zip(heads, *columns, strict=True)]


def _missing(exploration: Exploration) -> list[str]:
    return [
        f"Warning: the {figures.role} split has no images of "
        f"{_listed([exploration.class_names[label] for label in missing])}."
        for figures in exploration.splits
        if (missing := np.flatnonzero(figures.per_class == 0).tolist())
    ]


def _baseline(exploration: Exploration) -> str:
    training, *_, test = exploration.splits
    label = int(training.per_class.argmax())
    return (
        f"Always predicting {exploration.class_names[label]}, the most common training class, is "
        f"right for {100 * test.shares[label]:.2f} % of the test images: a network must beat this."
    )


def _copies(repetition: Repetition) -> list[str]:
    """Returns phrases about duplicate images, and about images with conflicting labels."""
    found = [
        f"{count(number, f'{role} image')} identical to an earlier one."
        for role, number in repetition.copies.items()
        if number
    ]
    found += [
        f"{count(number, f'{b} image')} identical to a {a} image."
        for (a, b), number in repetition.images.items()
        if number
    ]
    if repetition.disputed:
        found.append(f"{count(repetition.disputed, 'image')} with more than one label.")
    return ["Exact duplicates:", *found] if found else ["No two images are the same."]


def _augmentation(ranges: Augment) -> str:
    if enabled(ranges):
        return f"Training distorts every image at random, differently each time: {said(ranges)}."
    return (
        "Training distorts no image. augmentation.png shows each kind of distortion alone; "
        "--config.augment.rotation=10 would turn one on."
    )


def _listed(words: Sequence[str]) -> str:
    """Joins words to a list: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _table(rows: list[list[str]], width: int) -> str:
    """Aligns rows in columns, or stacks the columns as blocks if that would be too wide."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * len(widths[1:]) <= width:
        return "\n".join(_line(row, widths) for row in rows)
    (_, *heads), *body = rows
    narrow = [widths[0], max(widths[1:])]
    blocks = [
        [f"{head}:", *("  " + _line([row[0], row[column]], narrow) for row in body)]
        for column, head in enumerate(heads, start=1)
    ]
    return "\n\n".join("\n".join(block) for block in blocks)


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = cells
    return "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])


def _wrap(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False)


# Counting


def _histogram(images: np.ndarray) -> np.ndarray:
    """Counts how often each value occurs in uint8 images: [256] int64."""
    pixels, part = images.reshape(-1), 1 << 22  # in parts, as bincount takes 8 bytes per pixel
    starts = range(0, len(pixels), part)
    return sum(
        (np.bincount(pixels[at : at + part], minlength=256) for at in starts),
        start=np.zeros(256, np.int64),
    )


def _digest(image: np.ndarray) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()
