"""Turns a grey picture of a handwritten character into an image like those of MNIST.

These are the steps by which MNIST itself was made, and before them what a photograph needs: even
light, and the parts that belong to the character. Every value is a whole number, every sum is
exact, and each division is rounded once (half up). So another program that repeats the steps gets
the same image to the bit, in whatever order it adds.
"""

from typing import Any

import numpy as np
from scipy import ndimage

from mnist_jax.data.spec import Ink
from mnist_jax.pictures import area
from mnist_jax.pictures.picture import UNIT

FULL = 255 * UNIT
NOISE = 2.5 * UNIT  # above which a picture is blurred
LEFT = 1, 6 / 16, 70 / 256, 924 / 4096  # of the noise after 0, 1, 2 and 3 blurs
SMALL = 64  # pixels of the longest side below which a picture is blurred once at most
WIDE, CLOSER = 6, 12  # ink is narrower than twice the picture's longest side divided by these
DOUBT = 0.25  # difference of roughness, in edges as long as the picture and as strong as its ink
FAINTEST = 20 * UNIT  # contrast of ink with its paper
SHARP = 3, 1 / 50  # width of an edge, halved: in pixels, and as a part of the picture's side
EDGE = 0.05  # the least part of ink that is so near to an edge
SMALLEST = 5, 1 / 40  # longest side of ink: in pixels, and as a part of the picture's
NEAR, CLOSE = 0.5, 0.1  # from the main part to others, in lengths of the main part
LARGE, LITTLE = 0.08, 0.02  # pixels of other parts of a character, as a part of the main part's
FINE = 4  # pixels per pixel of the image while strokes are made wider or thinner
STROKES = 0.08, 0.19  # widths left alone, as a part of the longest side: 90 % of MNIST's are


def to_image(grey: np.ndarray, shape: tuple[int, int], ink: Ink) -> np.ndarray | None:
    """Returns the image that a data set's makers would have made of a picture, or None without ink.

    Args:
      grey: `[H, W]` float64, whole numbers from 0 (black) to 255 * UNIT (white): dark on light or
        light on dark, evenly lit or not.
      shape: height and width of the data set's images.
      ink: how handwriting lies in them.

    Returns:
      `[height, width]` uint8, light on black.
    """
    grey, noise = _quieted(grey)
    ink_map = _raised(grey)
    paper, strongest = _quantile(ink_map, 0.2), _quantile(ink_map, 0.9995)
    contrast, noisy = strongest - paper, paper + 6 * noise
    if contrast < FAINTEST:
        return None
    low, high = max(paper + contrast / 4, noisy), paper + contrast / 2
    kept = _character(ink_map, low, high, contrast / 2 + 6 * noise)
    if kept is None:
        return None
    level = np.where(_largest(kept, 1), np.maximum(ink_map - paper, 0), 0)
    fine = _stretched(area.fit(level[_box(kept)], FINE * ink.longest), 0.3)
    fine = _stroked(fine, FINE * ink.longest)
    small = area.fit(fine[_box(fine >= FULL / 4)], ink.longest)
    return _placed(np.floor(small * 255 / small.max() + 0.5), shape, ink.by_mass)


def _quieted(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """Blurs a noisy picture; returns it and the noise that is left."""
    noise = _noise(grey)
    left = [noise * share for share in LEFT[: 2 if max(grey.shape) < SMALL else None]]
    blurs = sum(its > NOISE for its in left[:-1])
    for _ in range(blurs):
        grey = _blurred(grey)
    return grey, left[blurs]


def _noise(grey: np.ndarray) -> float:
    """Returns by how much pixels typically differ from the mean of their neighbours, doubled.

    It is the lower quartile, since strokes have large differences, too; across or down, whichever
    is larger. For normal noise it is 0.78 standard deviations.
    """
    both = (np.abs(np.diff(grey, n=2, axis=axis)) for axis in (0, 1))
    return max((_quantile(x, 0.25) for x in both if x.size), default=0.0)


def _blurred(grey: np.ndarray) -> np.ndarray:
    """Returns the mean of each pixel and its neighbours, weighted by 1 2 1 in both directions."""
    x = np.pad(grey, 1, mode="edge")
    x = x[:-2] + 2 * x[1:-1] + x[2:]
    return np.floor((x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 16 + 0.5)


def _raised(grey: np.ndarray) -> np.ndarray:
    """Returns how far each pixel differs from the paper around it, in the direction of the ink.

    Dark ink is compared with its paper by their ratio, because a shadow darkens both.
    """
    light, dark = _papers(grey, WIDE)
    if not _is_light(grey, light, dark):
        return grey - dark
    lightest = light.max()
    lit = np.maximum(light, max(1.0, np.floor(lightest / 3)))
    return np.floor((light - grey) * lightest / lit + 0.5)


def _papers(grey: np.ndarray, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the paper if it is light, and if it is dark.

    It is what is left when everything narrower than two `part`s of the picture's longest side is
    painted over with the lightest (or darkest) pixels nearby.
    """
    reach = -(-max(grey.shape) // part)
    light = _smallest(_largest(grey, reach), reach)
    return light, _largest(_smallest(grey, reach), reach)


def _is_light(grey: np.ndarray, light: np.ndarray, dark: np.ndarray, look: int = CLOSER) -> bool:
    """True if the paper is light, and the ink dark.

    Of the two papers it is the flatter one, because strokes are left in the other. Where strokes
    fill the picture, both are flat; then it is what most of the picture's border is like. If the
    border is the same all around, it may be a frame: then a closer look at the papers comes first.
    """
    lightest, darkest = light.max(), dark.min()
    flatter = _roughness(dark) - _roughness(light)
    if abs(flatter) >= DOUBT * (lightest - darkest) * max(grey.shape):
        return bool(flatter >= 0)
    edge = border(grey)
    bright = int((2 * edge >= lightest + darkest).sum())
    if look and bright in (0, edge.size):
        return _is_light(grey, *_papers(grey, look), look=0)
    return 2 * bright >= edge.size


def border(x: np.ndarray) -> np.ndarray:
    """Returns the outermost pixels."""
    return np.concatenate([x[0], x[-1], x[1:-1, 0], x[1:-1, -1]])


def _roughness(paper: np.ndarray) -> float:
    return float(sum(np.abs(np.diff(paper, axis=axis)).sum() for axis in (0, 1)))


def _largest(x: np.ndarray, reach: int) -> np.ndarray:
    """Returns the largest value in the square that ends `reach` pixels away in each direction."""
    return ndimage.maximum_filter(x, 2 * reach + 1, mode="nearest")


def _smallest(x: np.ndarray, reach: int) -> np.ndarray:
    return ndimage.minimum_filter(x, 2 * reach + 1, mode="nearest")


def _quantile(x: np.ndarray, share: float) -> float:
    """Returns the sorted values' element number `floor(share * (count - 1))`."""
    return float(np.sort(x, axis=None)[int(share * (x.size - 1))])


def _character(ink: np.ndarray, low: float, high: float, step: float) -> np.ndarray | None:
    """Returns where the character is, `[H, W]` bool: its main part, and others that belong to it.

    A part is connected (diagonals count), at least `low` everywhere and at least `high` somewhere,
    and not as soft as a shadow: around some of its pixels, the ink changes by `step` or more.
    The main one has the most pixels. A part that touches all four edges of the picture does not
    count if there are others, nor do parts that touch an edge, unless one of them is more than four
    times as large as any that does not. None if no part is large enough for a character.
    """
    labels = _labels(ink >= low)
    boxes = _boxes(labels)
    start, stop = boxes[:, :2], boxes[:, 2:]
    longest = (stop - start).max(axis=1)
    sizes = np.bincount(labels.ravel())
    reach = max(SHARP[0], int(SHARP[1] * max(ink.shape)))
    steep = _largest(ink, reach) - _smallest(ink, reach) >= step
    strong = np.bincount(labels[steep], minlength=len(sizes)) >= EDGE * sizes
    strong &= np.bincount(labels[ink >= high], minlength=len(sizes)) > 0
    strong[0] = False
    sizes = sizes * strong
    edges = (start == 0).sum(axis=1) + (stop == ink.shape).sum(axis=1)
    large = longest >= max(SMALLEST[0], SMALLEST[1] * max(ink.shape))
    if sizes[large & (edges < 4)].any():
        sizes[edges == 4] = 0  # a frame
    inner = np.where(edges == 0, sizes, 0)
    if 4 * inner[large].max(initial=0) >= sizes.max() > 0:
        sizes = inner  # without what lies beside the paper
    main = int(np.where(large, sizes, 0).argmax())
    if not sizes[main] or not large[main]:
        return None
    apart = np.maximum(start - stop[main], start[main] - stop).max(axis=1)
    near = (sizes >= LARGE * sizes[main]) & (apart <= NEAR * longest[main])
    close = (sizes >= LITTLE * sizes[main]) & (apart <= CLOSE * longest[main])
    return ((sizes > 0) & (near | close))[labels]


def _labels(x: np.ndarray) -> np.ndarray:
    """Numbers the connected parts of what is True, from 1; the rest is 0."""
    found: Any = ndimage.label(x, np.ones((3, 3)))
    return found[0]


def _boxes(labels: np.ndarray) -> np.ndarray:
    """Returns the first row and column of each label and those after its last, `[labels, 4]`."""
    found = ndimage.find_objects(labels)
    return np.array(
        [[1, 1, 1, 1]] + [[r.start, c.start, r.stop, c.stop] for r, c in found], np.int64
    )


def _box(x: np.ndarray) -> tuple[slice, slice]:
    """Returns the smallest box around what is True."""
    rows, columns = np.flatnonzero(x.any(axis=1)), np.flatnonzero(x.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _stretched(level: np.ndarray, share: float) -> np.ndarray:
    """Stretches the contrast so that the cores of strokes reach `FULL`.

    A core is as dark as three quarters of the pixels that reach `share` of the darkest.
    """
    core = _quantile(level[level >= share * level.max()], 0.75)
    return np.minimum(np.floor(level * FULL / core + 0.5), FULL)


def _stroked(fine: np.ndarray, longest: int) -> np.ndarray:
    """Widens thin strokes and thins wide ones, until they are within `STROKES`."""
    width = stroke_width(fine)
    thinnest, widest = (share * longest for share in STROKES)
    if width < thinnest:
        reach = int((thinnest - width) / 2 + 0.5)
        return _spread(np.pad(fine, reach), reach)
    reach = int(min((width - widest) / 2, width / 4) + 0.5) if width > widest else 0
    return FULL - _spread(FULL - np.pad(fine, reach), reach)


def stroke_width(fine: np.ndarray) -> float:
    """Returns the mean width of strokes in pixels: twice their area divided by their outline.

    The outline is counted along the sides of pixels, which makes it longer by 4 / pi on average.
    """
    inside = np.pad(fine >= FULL / 2, 1)
    outline = sum(int(np.diff(inside, axis=axis).sum()) for axis in (0, 1))
    return 2000 * int(inside.sum()) / (785 * outline)


def _spread(x: np.ndarray, reach: int) -> np.ndarray:
    """Returns the largest value within a circle of radius `reach` around each pixel."""
    if not reach:
        return x
    steps = np.arange(-reach, reach + 1)
    circle = steps[:, None] ** 2 + steps**2 <= reach * (reach + 1)
    return ndimage.maximum_filter(x, footprint=circle, mode="nearest")


def _placed(small: np.ndarray, shape: tuple[int, int], by_mass: bool) -> np.ndarray:
    """Puts ink into the middle of an empty image, as near as it fits."""
    image = np.zeros(shape, np.uint8)
    total = small.sum()
    corner = []
    for sums, side in zip((small.sum(axis=1), small.sum(axis=0)), shape, strict=True):
        if by_mass:
            start = side / 2 - float((np.arange(len(sums)) * sums).sum() / total)
        else:
            start = (side - len(sums)) / 2
        corner.append(min(max(int(np.floor(start + 0.5)), 0), side - len(sums)))
    (top, left), (height, width) = corner, small.shape
    image[top : top + height, left : left + width] = small
    return image
