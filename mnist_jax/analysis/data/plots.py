"""Plots of the data of a configuration: samples, class means, class balance and augmentation."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.canvas import BLUE, GREY, INK, PALE, VERMILLION
from mnist_jax.analysis.data.figures import Exploration, class_moments
from mnist_jax.analysis.data.text import said, strengths, typical
from mnist_jax.analysis.gallery import Gallery, evenly_spaced, shades
from mnist_jax.config import Augment
from mnist_jax.data import Split
from mnist_jax.data.augment import augment_images
from mnist_jax.files import make_folder
from mnist_jax.pictures.picture import WITH_ALPHA
from mnist_jax.randomness import example_keys, root_key

if TYPE_CHECKING:  # importing matplotlib takes half a second: only functions that draw do so
    from matplotlib.figure import Figure

CLASSES = 10  # most classes in a grid of images
LONG = 11  # characters of a class name that fit above a column or beside a row
DRAWS = 8  # random versions of an image
MARGIN = 104  # pixels, for the names of rows


def write_pictures(
    folder: Path, found: Exploration, loaded: Mapping[str, Split], seed: int
) -> list[Path]:
    """Draws every plot of the data into `folder` as PNG and returns their paths.

    Args:
      folder: created if it does not exist; plots of the same names are replaced.
      found: what `figures.explore` returned.
      loaded: what `figures.load` returned.
      seed: seed of the random augmentation that is shown.

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
        make_folder(folder)
        return [canvas.save(picture, folder / f"{name}.png") for name, picture in pictures.items()]


def draw_samples(split: Split, rows: int = 8) -> Figure:
    """Draws images of each class, one column per class, evenly spaced through the split.

    Every run shows the same images.
    """
    shown = evenly_spaced(len(split.class_names), CLASSES)
    columns = (split.images[_picks(split, label, rows)] for label in shown)
    return _draw_grid(
        split,
        [split.class_names[label] for label in shown],
        list(itertools.zip_longest(*columns)),
        title=f"Samples of {split.name} ({split.split})",
        note=f"one column per class{_some(split)}, its images evenly spaced through the split"
        f"{shades(split.images)}",
    )


def draw_means(split: Split) -> Figure:
    """Draws the mean and standard deviation of each pixel, one column per class."""
    shown = evenly_spaced(len(split.class_names), CLASSES)
    moments = [class_moments(split, k) if k in split.labels else None for k in shown]
    return _draw_grid(
        split,
        [split.class_names[label] for label in shown],
        [
            [found and _pixels(found[0]) for found in moments],
            [found and _opaque(_pixels(2 * found[1])) for found in moments],  # at most 2 * 127.5
        ],
        [["mean"], ["deviation", "times 2"]],
        title=f"Mean image of each class of {split.name} ({split.split})",
        note=f"one column per class{_some(split)}: mean of each pixel, and twice its standard "
        f"deviation{shades(split.images)}",
    )


def draw_balance(found: Exploration) -> Figure:
    """Draws the share of each class in each split as grouped bars."""
    figures, class_names = found.splits, found.class_names
    classes = len(class_names)
    figure = canvas.new_figure(9, 5)
    upright = max(map(len, class_names)) > 9 or classes > 20
    bottom = 0.25 if upright else 0.12
    axes = figure.add_axes((0.08, bottom, 0.9, 0.82 - bottom))
    width = 0.8 / len(figures)
    colors = [BLUE, *[PALE] * (len(figures) - 2), VERMILLION]
    for place, (split, color) in enumerate(zip(figures, colors, strict=True)):
        middles = np.arange(classes) + (place - (len(figures) - 1) / 2) * width
        label = f"{split.role} ({split.split}): {canvas.count(split.images, 'image')}"
        style = {"color": color, "edgecolor": GREY, "linewidth": 0.5, "label": label}
        axes.bar(middles, 100 * split.shares, width=0.9 * width, **style)
    line = axes.axhline(100 / classes, color=INK, linestyle="--", linewidth=1, label="equal shares")
    shown = range(0, classes, -(-classes // 40))  # as many names as there is room for
    names = [canvas.shorten(class_names[label], LONG) for label in shown]
    axes.set_xticks(shown, names, rotation=90 * upright)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, classes - 0.4)
    axes.grid(False, axis="x")
    axes.set_xlabel("class")
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
    """Draws images as augmented in training, or each kind of augmentation if none is configured."""
    if strengths(ranges):
        present = np.unique(split.labels)
        labels = present[evenly_spaced(len(present), CLASSES)]
        images = np.concatenate([split.images[_picks(split, label, 1)] for label in labels])
        drawn = augmented(images, ranges, seed, DRAWS)
        names = [[canvas.shorten(split.class_names[label], LONG)] for label in labels]
        title = f"Augmentation of {split.name} as configured ({split.split})"
        note = (
            f"one row per image: the original and {DRAWS} random versions of it; training draws a "
            f"new one each time it uses the image\n{said(ranges)}"
        )
    else:
        images = split.images[:1]
        kinds = typical(images.shape[1])
        drawn = np.concatenate([augmented(images, kind, seed, DRAWS) for kind in kinds.values()])
        images = images.repeat(len(kinds), axis=0)
        names = [[k, *textwrap.wrap(strengths(kind)[k], LONG)] for k, kind in kinds.items()]
        title = (
            f"What each kind of augmentation would do; none of these is configured for {split.name}"
        )
        note = (
            f"one row per kind, at a usual strength: the original image and {DRAWS} random "
            "versions of it"
        )
    rows = [[image, None, *versions] for image, versions in zip(images, drawn, strict=True)]
    columns = ["original", "→", *map(str, range(1, DRAWS + 1))]
    return _draw_grid(split, columns, rows, names, title=title, note=note)


def augmented(images: np.ndarray, ranges: Augment, seed: int, draws: int) -> np.ndarray:
    """Augments each image `draws` times, as training would: [n, draws, h, w, c] uint8.

    Args:
      images: `[n, h, w, c]` uint8.
      ranges: strengths of the augmentation; only what changes single images is applied.
      seed: the same seed gives the same images, which differ from those of any training step.
      draws: number of versions of each image.
    """
    repeated = jnp.asarray(np.repeat(images, draws, axis=0).astype(np.float32) / 255)
    positions = jnp.arange(len(repeated))
    keys = example_keys(root_key(seed), "explore", jnp.uint32(0), positions)
    versions = _pixels(255 * np.asarray(augment_images(repeated, keys, ranges)))
    return versions.reshape(len(images), draws, *images.shape[1:])


def _draw_grid(
    split: Split,
    columns: Sequence[str],
    rows: Sequence[Sequence[np.ndarray | None]],
    names: Sequence[Sequence[str]] = (),
    *,
    title: str,
    note: str,
) -> Figure:
    """Draws images in rows, with names above the columns and, if given, lines beside the rows."""
    gallery = Gallery(
        split.images.shape[1:],
        (len(rows), len(columns)),
        side=84,
        headed=True,
        margin=MARGIN if names else 0,
        title=title,
        note=note,
    )
    for column, name in enumerate(columns):
        gallery.name_column(column, name)
    for row, lines in enumerate(names):
        gallery.name_row(row, lines)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            if image is not None:
                gallery.add((row, column), image)
    return gallery.finish()


def _picks(split: Split, label: int, most: int) -> np.ndarray:
    """Returns indices of up to `most` images of a class, evenly spaced through the split."""
    members = np.flatnonzero(split.labels == label)
    return members[evenly_spaced(len(members), most)]


def _some(split: Split) -> str:
    classes = len(split.class_names)
    return f" ({CLASSES} of {classes} classes)" if classes > CLASSES else ""


def _pixels(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


def _opaque(image: np.ndarray) -> np.ndarray:
    """Sets the alpha channel, if there is one, to full opacity; changes the image in place."""
    if image.shape[-1] in WITH_ALPHA:
        image[..., -1] = 255
    return image
