"""Prepares a picture for a network: an image like those with which it was trained."""

import numpy as np

from mnist_jax.data.spec import Ink
from mnist_jax.pictures import digits
from mnist_jax.pictures.area import resize
from mnist_jax.pictures.picture import UNIT, Picture

OFF = 1.0  # pixels from the middle to the centre of mass up to which an image is centred
DARK = 16  # mean grey level of the outermost pixels up to which an image is light on dark


def prepare(picture: Picture, shape: tuple[int, int, int], ink: Ink | None) -> np.ndarray | None:
    """Returns the image `[H, W, C]` uint8 that the network sees, or None without ink.

    Args:
      picture: the picture.
      shape: height, width and channels (1 or 3) of the network's images.
      ink: how handwriting lies in these; None for other images, for which a picture is resized.
    """
    if ink is None:
        values = picture.grey[..., None] if shape[-1] == 1 else picture.colours
        channels = [resize(x, *shape[:2]) for x in np.moveaxis(values, -1, 0)]
        return _bytes(np.stack(channels, axis=-1))
    if picture.is_grey and picture.grey.shape == shape[:2] and _is_prepared(picture.grey, ink):
        return _bytes(picture.grey[..., None])
    image = digits.to_image(picture.grey, shape[:2], ink)
    return None if image is None else image[..., None]


def _is_prepared(grey: np.ndarray, ink: Ink) -> bool:
    """True if a picture of the right size is light on dark, and its ink is where it belongs."""
    edge = digits.border(grey)
    if edge.sum() > DARK * UNIT * edge.size or grey.max() < digits.FAINTEST:
        return False
    mass, places = grey.sum(), np.indices(grey.shape)
    off = [(at * grey).sum() / mass - n / 2 for at, n in zip(places, grey.shape, strict=True)]
    return not ink.by_mass or max(map(abs, off)) <= OFF


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.floor(values / UNIT + 0.5).astype(np.uint8)
