"""Plots of the data of a configuration: samples, class means, class balance and distortion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import BLUE, GREY, INK, PALE, VERMILLION
from mnist_jax.analysis.data import exploration
from mnist_jax.analysis.data.exploration import Exploration, Figures
from mnist_jax.analysis.gallery import Gallery, spread
from mnist_jax.config import Augment
from mnist_jax.data import Split
from mnist_jax.data.augment import enabled
from mnist_jax.errors import UserError

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = 10  # most classes in a grid of images
LONG = 11  # characters of a class name that fit above a column or beside a row
DRAWS = 8  # distortions per image
MARGIN = 104  # pixels, for the names of rows


def write_pictures(
    folder: Path, found: Exploration, loaded: Mapping[str, Split], seed: int
) -> list[Path]:
    """Draws every plot of the data into `folder` as PNG and returns their paths.

    Args:
      folder: created if it does not exist; plots of the same names are replaced.
      found: what `exploration.explore` returned.
      loaded: what `exploration.load` returned.
      seed: seed of the random distortions that are shown.

    Raises:
      UserError: the folder cannot be written.
    """
    training = loaded["training"]
    with canvas.styled():
        pictures = {
            "samples": draw_samples(training),
            "means": draw_means(training),
            "balance": draw_balance(found),
            "augmentation": draw_augmentation(training, found.augment, seed),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return [
                canvas.save(picture, folder / f"{name}.png") for name, picture in pictures.items()
            ]
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error}\nchoose another folder with --workdir="
            ) from error


def draw_samples(split: Split, rows: int = 8) -> Figure:
    """Draws images of each class, one column per class, evenly spaced through the split.

    Every run shows the same images.
    """
    shown = spread(len(split.class_names), CLASSES)
    gallery = Gallery(
        split.images.shape[1:],
        (rows, len(shown)),
        zoom=3,
        headed=True,
        title=f"Samples of {split.name} ({split.split})",
        note=f"one column per class{_some(split)}, its images evenly spaced through the split"
        f"{_shades(split)}",
    )
    for column, label in enumerate(shown):
        gallery.name_column(column, _name(split, label))
        for row, example in enumerate(_picks(split, label, rows)):
            gallery.add((row, column), split.images[example])
    return gallery.finish()


def draw_means(split: Split) -> Figure:
    """Draws the mean and standard deviation of each pixel, one column per class."""
    shown = spread(len(split.class_names), CLASSES)
    gallery = Gallery(
        split.images.shape[1:],
        (2, len(shown)),
        zoom=3,
        headed=True,
        margin=MARGIN,
        title=f"Mean image of each class of {split.name} ({split.split})",
        note=f"one column per class{_some(split)}: mean of each pixel, and twice its standard "
        f"deviation{_shades(split)}",
    )
    gallery.name_row(0, ["mean"])
    gallery.name_row(1, ["deviation", "times 2"])  # of values from 0 to 255, it is at most 127.5
    for column, label in enumerate(shown):
        gallery.name_column(column, _name(split, label))
        if np.any(split.labels == label):
            mean, deviation = exploration.class_moments(split, label)
            gallery.add((0, column), _pixels(mean))
            gallery.add((1, column), _pixels(2 * deviation))
    return gallery.finish()


def draw_balance(found: Exploration) -> Figure:
    """Draws the share of each class in each split as grouped bars."""
    figures, class_names = found.splits, found.class_names
    classes = len(class_names)
    figure = canvas.new_figure(9, 5)
    upright = max(map(len, class_names)) > 9 or classes > 20
    bottom = 0.25 if upright else 0.12
    axes = figure.add_axes((0.08, bottom, 0.9, 0.82 - bottom))
    width = 0.8 / len(figures)
    for place, (split, color) in enumerate(zip(figures, _colors(figures), strict=True)):
        middles = np.arange(classes) + (place - (len(figures) - 1) / 2) * width
        label = f"{split.role} ({split.split}): {canvas.count(split.images, 'image')}"
        style = {"color": color, "edgecolor": GREY, "linewidth": 0.5, "label": label}
        axes.bar(middles, 100 * split.shares, width=0.9 * width, **style)
    line = axes.axhline(100 / classes, color=INK, linestyle="--", linewidth=1, label="equal shares")
    _name_classes(axes, class_names, upright)
    axes.set_ylabel("share of images in the split (%)")
    axes.legend(
        handles=[*axes.containers, line],
        title=f"Share of each class in {found.name}, by split",
        alignment="left",
        title_fontproperties={"size": 12, "weight": "bold"},
        loc="lower left",
        bbox_to_anchor=(-0.015, 1.0),
        ncols=2,
    )
    return figure


def draw_augmentation(split: Split, ranges: Augment, seed: int) -> Figure:
    """Draws images with configured distortions, or with each kind alone if none is configured."""
    if enabled(ranges):
        return _draw_configured(split, ranges, seed)
    return _draw_kinds(split, seed)


def _draw_configured(split: Split, ranges: Augment, seed: int) -> Figure:
    present = np.unique(split.labels)
    labels = present[spread(len(present), CLASSES)]
    images = np.stack([split.images[_picks(split, label, 1)[0]] for label in labels])
    return _draw_distorted(
        images,
        exploration.distort(images, ranges, seed, DRAWS),
        [[_name(split, label)] for label in labels],
        title=f"Distortion of {split.name} as configured ({split.split})",
        note=f"one row per image: the original and {DRAWS} random distortions of it; training "
        f"draws a new one each time it uses the image\n{exploration.said(ranges)}",
    )


def _draw_kinds(split: Split, seed: int) -> Figure:
    image = split.images[:1]
    kinds = exploration.typical(image.shape[1])
    return _draw_distorted(
        np.repeat(image, len(kinds), axis=0),
        np.concatenate([exploration.distort(image, kind, seed, DRAWS) for kind in kinds.values()]),
        [[name, exploration.strengths(kind)[name]] for name, kind in kinds.items()],
        title=f"No distortion of {split.name} is configured: what each kind would do",
        note=f"one row per kind, at a usual strength: the original image and {DRAWS} random "
        "distortions of it",
    )


def _draw_distorted(
    images: np.ndarray, distorted: np.ndarray, rows: list[list[str]], *, title: str, note: str
) -> Figure:
    """Draws one row per image `[h, w, c]`: the image, an empty column, and its distortions."""
    gallery = Gallery(
        images.shape[1:],
        (len(images), 2 + DRAWS),
        zoom=3,
        headed=True,
        margin=MARGIN,
        title=title,
        note=note,
    )
    for column, name in enumerate(["original", "→", *map(str, range(1, DRAWS + 1))]):
        gallery.name_column(column, name)
    for row, (image, draws) in enumerate(zip(images, distorted, strict=True)):
        gallery.name_row(row, rows[row])
        gallery.add((row, 0), image)
        for draw, pixels in enumerate(draws):
            gallery.add((row, 2 + draw), pixels)
    return gallery.finish()


def _colors(figures: tuple[Figures, ...]) -> list[str]:
    """Returns a colour per split: blue for training, vermillion for test, pale for validation."""
    return [BLUE, *[PALE] * (len(figures) - 2), VERMILLION]


def _name_classes(axes: Axes, names: tuple[str, ...], upright: bool) -> None:
    """Labels the x axis with the names of all classes, or of as many as there is room for."""
    shown = range(0, len(names), -(-len(names) // 40))
    axes.set_xticks(shown, [_short(names[label]) for label in shown], rotation=90 * upright)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xlabel("class")
    axes.grid(False, axis="x")
    axes.tick_params(axis="x", length=0)


def _picks(split: Split, label: int, most: int) -> np.ndarray:
    """Returns indices of up to `most` images of a class, evenly spaced through the split."""
    members = np.flatnonzero(split.labels == label)
    return members[spread(len(members), most)]


def _name(split: Split, label: int) -> str:
    return _short(split.class_names[label])


def _short(name: str) -> str:
    return name if len(name) <= LONG else f"{name[: LONG - 1]}…"


def _some(split: Split) -> str:
    classes = len(split.class_names)
    return f" ({CLASSES} of {classes} classes)" if classes > CLASSES else ""


def _shades(split: Split) -> str:
    """Returns a note on how values became shades; empty for images in colour."""
    return "; 0 is white, 255 black" if split.images.shape[-1] == 1 else ""


def _pixels(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)
