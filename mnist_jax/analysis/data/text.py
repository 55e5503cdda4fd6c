"""Describes the data of a configuration in words and tables."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_jax.analysis.canvas import count, listed
from mnist_jax.analysis.data.figures import Exploration, Figures, Repetition
from mnist_jax.config import Augment
from mnist_jax.data.augment import enabled

PICTURES = {
    "samples": "training images of each class",
    "means": "the mean image of each class, and how its pixels vary",
    "balance": "the share of each class in each split",
    "augmentation": "what augmentation does to an image",
}
KINDS = {  # by field of `Augment`: how its strength is shown, and a usual one for MNIST
    "rotation": ("±{:.6g}°", 15.0),
    "translation": ("±{:.6g} px", 2.0),
    "scale": ("±{:.6g} %", 0.15),
    "shear": ("±{:.6g}°", 15.0),
    "elastic": ("{:.6g} px", 1.0),
    "noise": ("{:.6g}", 0.1),
    "erase": ("probability {:.6g}", 0.5),
}


def tell(exploration: Exploration, width: int) -> str:
    """Returns the exploration as text, in lines of at most `width` characters where words allow."""
    names, splits = exploration.class_names, exploration.splits
    columns = [_column(figures, names) for figures in splits]
    rows = [[head, *(column[head] for column in columns)] for head in columns[0]]
    classes = [["class", *(figures.role for figures in splits)]]
    for label, name in enumerate(names):
        cells = (f"{f.per_class[label]:,}  {100 * f.shares[label]:5.2f} %" for f in splits)
        classes.append([name, *cells])
    pixels = "Mean and standard deviation are of pixels divided by 255, as networks see them."
    words = [*findings(exploration), _augmentation(exploration.augment)]
    pictures = [f"{f'{name}.png':18}{shown}" for name, shown in PICTURES.items()]
    parts = [
        f"{exploration.name}: {len(names)} classes",
        _table(rows, width),
        _wrap(pixels, width),
        _table(classes, width),
        *(_wrap(paragraph, width) for paragraph in words),
        "\n".join(_wrap(line, width, indent=18) for line in pictures),
    ]
    return "\n\n".join(parts) + "\n"


def findings(exploration: Exploration) -> list[str]:
    """Returns what the statistics mean, one paragraph per string."""
    names, (training, *_, test) = exploration.class_names, exploration.splits
    empty = {f.role: np.flatnonzero(f.per_class == 0).tolist() for f in exploration.splits}
    most = int(training.per_class.argmax())
    return [
        *(
            f"Warning: the {role} split has no images of {listed([names[k] for k in labels])}."
            for role, labels in empty.items()
            if labels
        ),
        f"Always predicting {names[most]}, the most common training class, is right for "
        f"{100 * test.shares[most]:.2f} % of the test images: a network must beat this.",
        f"No example is in two splits. {_duplicates(exploration.repetition)}",
    ]


def strengths(ranges: Augment) -> dict[str, str]:
    """Returns the strength of each configured kind that changes single images: `rotation`: `±10°`.

    Mixup and the user's own functions are not among them.
    """
    values = {kind: getattr(ranges, kind) for kind in KINDS}
    forms = {kind: form for kind, (form, _) in KINDS.items() if values[kind]}
    return {k: form.format(values[k] * (100 if "%" in form else 1)) for k, form in forms.items()}


def typical(height: int) -> dict[str, Augment]:
    """Returns each kind of augmentation alone, at a usual strength for images of this height.

    The height is in pixels.
    """
    pixel = height / 28  # the height of MNIST's images
    usual = {kind: value * (pixel if "px" in form else 1) for kind, (form, value) in KINDS.items()}
    smooth: Any = {"elastic_sigma": 4.0 * pixel}
    return {kind: Augment(**{kind: round(value, 2)}, **smooth) for kind, value in usual.items()}


def said(ranges: Augment) -> str:
    """Lists the kinds in `strengths` in words: `rotation ±10° and shear ±5°`."""
    return listed(f"{kind} {strength}" for kind, strength in strengths(ranges).items())


def _column(figures: Figures, names: Sequence[str]) -> dict[str, str]:
    """Returns the statistics of a split as texts, by their names."""
    equal = np.ptp(figures.per_class) == 0
    return {
        "": figures.role,
        "split": figures.split,
        "images": f"{figures.images:,}",
        "shape of an image": " x ".join(map(str, figures.shape)),
        "dtype": figures.dtype,
        "lowest value": str(figures.lowest),
        "highest value": str(figures.highest),
        "mean": f"{figures.mean:.4f}",
        "standard deviation": f"{figures.deviation:.4f}",
        "pixels that are 0": f"{100 * figures.zeros:.1f} %",
        "largest class": "all equal" if equal else names[int(figures.per_class.argmax())],
        "smallest class": "all equal" if equal else names[int(figures.per_class.argmin())],
    }


def _duplicates(repetition: Repetition) -> str:
    """Returns a sentence about duplicate images, and about images with conflicting labels."""
    found = [
        f"{count(n, f'{b} image')} identical to {'an earlier one' if a == b else f'a {a} image'}."
        for (a, b), n in repetition.images.items()
        if n
    ]
    if repetition.disputed:
        found.append(f"{count(repetition.disputed, 'image')} with more than one label.")
    return " ".join(["Exact duplicates:", *found] if found else ["No two images are the same."])


def _augmentation(ranges: Augment) -> str:
    if not enabled(ranges):
        return (
            "Training augments no image. augmentation.png shows each kind of augmentation alone; "
            "--config.augment.rotation=10 would turn one on."
        )
    parts, unseen = [], []
    if kinds := said(ranges):
        parts.append(f"Training augments every image at random, differently each time: {kinds}.")
    if ranges.mixup:
        unseen.append(f"mixes images and labels in pairs (mixup, alpha {ranges.mixup:.6g})")
    if ranges.functions:
        unseen.append(f"calls your own {listed(own.name for own in ranges.functions)}")
    if unseen:
        parts.append(f"Training {listed(unseen)}; augmentation.png does not show this.")
    return " ".join(parts)


def _table(rows: Sequence[Sequence[str]], width: float) -> str:
    """Aligns rows in columns, or gives each column a table of its own if that is too wide."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * len(widths[1:]) > width:
        columns = range(1, len(widths))
        return "\n\n".join(_table([(r[0], r[i]) for r in rows], math.inf) for i in columns)
    return "\n".join(
        "  ".join([head.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])
        for head, *cells in rows
    )


def _wrap(text: str, width: int, indent: int = 0) -> str:
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_on_hyphens=False)
