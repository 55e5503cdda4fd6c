"""A first look at the data of a configuration: figures of its splits, and a text that says them."""

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
UNITS = {  # of each kind of distortion: what makes a range a number to read, and how that is said
    "rotation": (1, "±{:.6g}°"),
    "translation": (1, "±{:.6g} px"),
    "scale": (100, "±{:.6g} %"),
    "shear": (1, "±{:.6g}°"),
    "elastic": (1, "{:.6g} px"),
}


@dataclass(frozen=True, eq=False)
class Figures:
    """Figures of one split. Mean and standard deviation are of pixels divided by 255."""

    role: str  # training, validation or test
    split: str
    shape: tuple[int, ...]  # of an image
    dtype: str
    lowest: int
    highest: int
    mean: float
    deviation: float
    zeros: float  # the fraction of all pixels that are 0
    per_class: np.ndarray  # [k] int64, how many images of each class

    @property
    def images(self) -> int:
        """How many there are."""
        return int(self.per_class.sum())

    @property
    def shares(self) -> np.ndarray:
        """The fraction of the images that each class has: [k] float64, of sum 1."""
        return self.per_class / self.images


@dataclass(frozen=True)
class Repetition:
    """Images that the splits hold more than once; a pair names two splits by their roles.

    An image is the same as another where all pixels are.
    """

    images: Mapping[tuple[str, str], int]  # images of the second that are in the first, too
    copies: Mapping[str, int]  # images of a split that another before them in it is the same as
    disputed: int  # different images that occur with more than one label


@dataclass(frozen=True)
class Exploration:
    """All that is told of the data of a configuration."""

    name: str
    class_names: tuple[str, ...]
    splits: tuple[Figures, ...]
    repetition: Repetition
    augment: Augment


def load(config: Config) -> dict[str, Split]:
    """The configuration's splits by their roles: training, validation if there is any, test.

    Raises:
      UserError: as `data.check_splits` and `data.load`.
    """
    of = config.data
    data.check_splits(of.name, of.train_split, of.val_split)
    asked = {"training": of.train_split, "validation": of.val_split, "test": "test"}
    return {role: data.load(of.name, split) for role, split in asked.items() if split}


def explore(config: Config, loaded: Mapping[str, Split]) -> Exploration:
    """The figures of what `load` returned."""
    return Exploration(
        config.data.name,
        loaded["training"].class_names,
        tuple(describe(role, split) for role, split in loaded.items()),
        find_repetition(loaded),
        config.augment,
    )


def describe(role: str, split: Split) -> Figures:
    """Figures of a split of uint8 images, exact but for a last rounding."""
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
    """What the splits hold more than once, compared pixel by pixel."""
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
    """Mean and standard deviation of each pixel over the images of a class: [h, w, c] in [0, 255].

    The class must have an image.
    """
    members = split.images[split.labels == label]
    return members.mean(axis=0), members.std(axis=0)


def distort(images: np.ndarray, ranges: Augment, seed: int, draws: int) -> np.ndarray:
    """Distorts each image `draws` times, as training would: [n, draws, h, w, c] uint8.

    Args:
      images: `[n, h, w, c]` uint8; the channels of an image are distorted alike.
      ranges: of the distortion.
      seed: the same seed gives the same distortions, which are not those of any step of training.
      draws: how many of each.
    """
    repeated = jnp.asarray(np.repeat(images, draws, axis=0).astype(np.float32) / 255)
    positions = jnp.arange(len(repeated))
    keys = example_keys(root_key(seed), "explore", jnp.uint32(0), positions)
    pixels = np.clip(augment(repeated, keys, ranges), 0, 1) * 255
    return pixels.round().astype(np.uint8).reshape(len(images), draws, *images.shape[1:])


def typical(height: int) -> dict[str, Augment]:
    """Each kind of distortion alone, at a usual strength for images of this height in pixels."""
    pixel = height / 28  # the strengths are those that suit MNIST
    return {
        "rotation": Augment(rotation=15.0),
        "translation": Augment(translation=round(2.0 * pixel, 1)),
        "scale": Augment(scale=0.15),
        "shear": Augment(shear=15.0),
        "elastic": Augment(elastic=round(1.0 * pixel, 1), elastic_sigma=4.0 * pixel),
    }


def strengths(ranges: Augment) -> dict[str, str]:
    """The kinds of distortion that are configured, and how strong: `rotation`: `±10°`."""
    values = {kind: factor * getattr(ranges, kind) for kind, (factor, _) in UNITS.items()}
    return {kind: said.format(values[kind]) for kind, (_, said) in UNITS.items() if values[kind]}


def said(ranges: Augment) -> str:
    """What is configured, in words: `rotation ±10° and shear ±5°`."""
    return _listed([f"{kind} {strength}" for kind, strength in strengths(ranges).items()])


# Text


def tell(exploration: Exploration, width: int) -> str:
    """The exploration as text, its lines no longer than `width` characters where words allow."""
    parts = [
        f"{exploration.name}: {len(exploration.class_names)} classes",
        _table(_split_rows(exploration), width),
        _wrap("Mean and deviation are of pixels divided by 255, as a network sees them.", width),
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
    """What the figures mean, a paragraph each."""
    return [
        *_missing(exploration),
        _baseline(exploration),
        " ".join(["No example is in two splits.", *_copies(exploration.repetition)]),
    ]


def _split_rows(exploration: Exploration) -> list[list[str]]:
    """The figures of the splits, a column a split."""
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
    """The largest and the smallest class by name."""
    if np.ptp(figures.per_class) == 0:
        return "all equal", "all equal"
    return names[int(figures.per_class.argmax())], names[int(figures.per_class.argmin())]


def _class_rows(exploration: Exploration) -> list[list[str]]:
    """How many images each class has, a column a split."""
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
        f"Attention: {figures.role} has no image of "
        f"{_listed([exploration.class_names[label] for label in missing])}."
        for figures in exploration.splits
        if (missing := np.flatnonzero(figures.per_class == 0).tolist())
    ]


def _baseline(exploration: Exploration) -> str:
    training, *_, test = exploration.splits
    label = int(training.per_class.argmax())
    return (
        f"Always saying {exploration.class_names[label]}, the commonest class of training, is "
        f"right for {100 * test.shares[label]:.2f} % of test: what a network must beat."
    )


def _copies(repetition: Repetition) -> list[str]:
    """What is the same without being the same row."""
    found = [
        f"{count(number, 'image')} of {role} the same as an earlier one there."
        for role, number in repetition.copies.items()
        if number
    ]
    found += [
        f"{count(number, 'image')} of {b} the same as one of {a}."
        for (a, b), number in repetition.images.items()
        if number
    ]
    if repetition.disputed:
        found.append(f"{count(repetition.disputed, 'image')} with more than one label.")
    return ["Pixel by pixel:", *found] if found else ["No two images are the same."]


def _augmentation(ranges: Augment) -> str:
    if enabled(ranges):
        return f"Training distorts every image, differently each time: {said(ranges)}."
    return (
        "Training distorts no image. augmentation.png shows each kind of distortion alone; "
        "--config.augment.rotation=10 would turn one on."
    )


def _listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _table(rows: list[list[str]], width: int) -> str:
    """Rows in columns, the first to the left; where that is too wide, a block for each column."""
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
    """How often each value occurs in uint8 images: [256] int64."""
    pixels, part = images.reshape(-1), 1 << 22  # a part at a time: counting takes 8 bytes a pixel
    starts = range(0, len(pixels), part)
    return sum(
        (np.bincount(pixels[at : at + part], minlength=256) for at in starts),
        start=np.zeros(256, np.int64),
    )


def _digest(image: np.ndarray) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()
