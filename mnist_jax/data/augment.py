"""Random changes of training images and targets, computed on the device in the compiled step.

Distortion: an affine map (rotation, shear, scale, translation) and an elastic displacement (Simard,
Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document
Analysis", ICDAR 2003) together give the position at which each output pixel is sampled. The image
is sampled only once, with bilinear interpolation.

Erasing: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020. Mixup: Zhang et al., "mixup:
Beyond Empirical Risk Minimization", ICLR 2018.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax import binding
from mnist_jax.config import Augment
from mnist_jax.lifted import active

PIXELS_PER_POINT = 4  # spacing of the control points at which the elastic displacement is drawn
ERASED = (0.02, 1 / 3)  # smallest and largest fraction of an image that is erased
RATIOS = (0.3, 3.3)  # smallest and largest ratio of an erased rectangle's height to its width
# Numbers that `fold_in` adds to an image's key, one per kind of draw. The affine map uses the key
# itself, and each of the user's functions has a number of its own, from OWN on.
ELASTIC, NOISE, ERASE, MIXUP, OWN = 1, 2, 3, 4, 5

# (images [B, H, W, C], targets [B, K], keys [B]) -> (images, targets)
Function = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def enabled(config: Augment) -> bool:
    """Returns True if anything is configured that changes images or targets."""
    strengths = (config.noise, config.erase, config.mixup)
    return _distorts(config) or any(map(active, strengths)) or bool(config.functions)


def augment(
    images: jax.Array, targets: jax.Array, keys: jax.Array, config: Augment
) -> tuple[jax.Array, jax.Array]:
    """Changes each image at random, and its target where mixup or the user's functions do.

    Args:
      images: `[B, H, W, C]` float from 0 to 1; in the order of the batch, whose neighbours mixup
        pairs.
      targets: `[B, K]` probabilities of the classes.
      keys: `[B]` random keys, one per image.
      config: the kinds of changes, and their strengths.

    Returns:
      The new images and targets, of the same shapes.
    """
    images = augment_images(images, keys, config)
    if active(config.mixup):
        images, targets = _mix(images, targets, keys, config.mixup)
    for i, function in enumerate(find_functions(config)):
        images, targets = function(images, targets, _fold_in(keys, OWN + i))
    return images, targets


def augment_images(images: jax.Array, keys: jax.Array, config: Augment) -> jax.Array:
    """Applies to each image what concerns it alone: everything but mixup and `functions`.

    Args:
      images: `[B, H, W, C]` float from 0 to 1. All channels of an image are distorted in the same
        way; noise differs between them.
      keys: `[B]` random keys, one per image.
      config: the strengths of the changes.

    Returns:
      The new images, `[B, H, W, C]`. Pixels sampled outside the original image are 0.
    """
    if _distorts(config):
        images = _sample(images, keys, config)
    if active(config.noise):
        images = _add_noise(images, keys, config.noise)
    if active(config.erase):
        images = _erase(images, keys, config.erase)
    return images


def find_functions(config: Augment) -> list[Function]:
    """Returns the user's own augmentations, with their keywords, in the order of the configuration.

    Raises:
      UserError: there is no such function, or it does not take these keywords.
    """
    return [
        binding.find_function(choice, {}, f"config.augment.functions[{i}]", arguments=3)
        for i, choice in enumerate(config.functions)
    ]


def _fold_in(keys: jax.Array, number: int) -> jax.Array:
    """Returns keys `[B]` for one kind of draw, given the images' keys `[B]`."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)


def _distorts(config: Augment) -> bool:
    strengths = (config.rotation, config.translation, config.scale, config.shear, config.elastic)
    return any(map(active, strengths))


def _add_noise(images: jax.Array, keys: jax.Array, deviation: float) -> jax.Array:
    """Adds Gaussian noise to each value of each image, and clips the sums to [0, 1]."""
    draw = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))
    return jnp.clip(images + deviation * draw(_fold_in(keys, NOISE)), 0.0, 1.0)


def _erase(images: jax.Array, keys: jax.Array, probability: float) -> jax.Array:
    """Replaces, in each image with this probability, a rectangle by uniform noise from 0 to 1.

    The fraction of the image is uniform in `ERASED`, and the logarithm of height / width uniform in
    `RATIOS`, as far as the rectangle fits; its sides are rounded to whole pixels.
    """
    height, width = images.shape[1:3]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_place, of_noise = jax.random.split(key)
        place = jax.random.uniform(of_place, (5,))
        return place, jax.random.uniform(of_noise, images.shape[1:])

    places, noise = jax.vmap(draw)(_fold_in(keys, ERASE))
    chance, fraction, ratio, top, left = places.T
    area = height * width * (ERASED[0] + (ERASED[1] - ERASED[0]) * fraction)
    low, high = map(math.log, RATIOS)
    ratio = jnp.clip(jnp.exp(low + (high - low) * ratio), area / width**2, height**2 / area)
    rows = _stretch(top, jnp.sqrt(area * ratio), height)[:, :, None]
    columns = _stretch(left, jnp.sqrt(area / ratio), width)[:, None, :]
    erased = (chance < probability)[:, None, None] & rows & columns
    return jnp.where(erased[..., None], noise, images)


def _stretch(place: jax.Array, length: jax.Array, size: int) -> jax.Array:
    """Marks consecutive pixels: `[B, size]` bool.

    Args:
      place: `[B]` from 0 (the stretch begins at the first pixel) to 1 (it ends at the last one).
      length: `[B]` number of pixels, to be rounded.
      size: number of pixels in all.
    """
    length = jnp.clip(jnp.round(length), 1.0, size)
    start = jnp.floor(place * (size - length + 1.0))
    pixels = jnp.arange(size, dtype=jnp.float32)[None, :]
    return (start[:, None] <= pixels) & (pixels < (start + length)[:, None])


def _mix(
    images: jax.Array, targets: jax.Array, keys: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
    """Mixes the images 2i and 2i + 1 of a batch, and their targets.

    Each keeps the share max(x, 1 - x) of itself, with x from Beta(alpha, alpha), so that its own
    label dominates. The pair has one share, drawn with the key of its first image.
    """
    share = jnp.repeat(_shares(_fold_in(keys[::2], MIXUP), alpha), 2)

    def mixed(values: jax.Array) -> jax.Array:
        pairs = values.reshape(-1, 2, *values.shape[1:])
        partners = pairs[:, ::-1].reshape(values.shape)
        own = share.reshape(-1, *(1 for _ in values.shape[1:]))
        return own * values + (1.0 - own) * partners

    return mixed(images), mixed(targets)


def _shares(keys: jax.Array, alpha: float) -> jax.Array:
    """Returns max(x, 1 - x), with x from Beta(alpha, alpha), for each of `[B]` keys.

    If t has Student's distribution with 2 alpha degrees of freedom, then 1/2 + t / (2 sqrt(2 alpha
    + t^2)) has Beta(alpha, alpha), and t^2 / (2 alpha) = (u^(-1 / alpha) - 1) cos(2 pi v)^2 for
    uniform u and v (Devroye, "Random Variate Generation in One Line of Code", 1996). This formula
    needs no rejection, and gives 1 where a lifted alpha is 0.
    """
    u, v = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys).T
    squared = jnp.expm1(-jnp.log(u) / alpha) * jnp.cos(2.0 * math.pi * v) ** 2
    return 0.5 + 0.5 / jnp.sqrt(1.0 + 1.0 / squared)


def _sample(images: jax.Array, keys: jax.Array, config: Augment) -> jax.Array:
    """Samples each image at the positions that distortion gives."""
    height, width = images.shape[1:3]
    rows, columns = _affine_grid(keys, height, width, config)
    if active(config.elastic):
        d_rows, d_columns = _elastic_displacement(keys, height, width, config)
        rows, columns = rows + d_rows, columns + d_columns
    channels = [images[..., channel] for channel in range(images.shape[-1])]
    return jnp.stack([read_bilinear(channel, rows, columns) for channel in channels], axis=-1)


def _affine_grid(
    keys: jax.Array, height: int, width: int, config: Augment
) -> tuple[jax.Array, jax.Array]:
    """Returns the rows and the columns, `[B, H, W]` each, at which output pixels are sampled."""
    draws = jax.vmap(lambda key: jax.random.uniform(key, (6,), minval=-1.0, maxval=1.0))(keys)
    angle = jnp.deg2rad(config.rotation) * draws[:, 0]
    shear = jnp.tan(jnp.deg2rad(config.shear) * draws[:, 1])
    scale_y, scale_x = (1.0 / (1.0 + config.scale * draws[:, i]) for i in (2, 3))
    shift_y, shift_x = (config.translation * draws[:, i] for i in (4, 5))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    y = (jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2)[None, :, None]
    x = (jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2)[None, None, :]

    def linear(a: jax.Array, b: jax.Array, shift: jax.Array, size: int) -> jax.Array:
        return a[:, None, None] * y + b[:, None, None] * x + (shift + (size - 1) / 2)[:, None, None]

    rows = linear(cos * scale_y, sin * scale_y, shift_y, height)
    columns = linear((shear * cos - sin) * scale_x, (shear * sin + cos) * scale_x, shift_x, width)
    return rows, columns


def _elastic_displacement(
    keys: jax.Array, height: int, width: int, config: Augment
) -> tuple[jax.Array, jax.Array]:
    """Returns smooth random displacements of rows and columns, `[B, H, W]` pixels each.

    Their standard deviation is `config.elastic`. White noise smoothed by a Gaussian is
    band-limited, so it is drawn on a coarse grid of control points and interpolated by two small
    matrix products instead of a convolution over all pixels.
    """
    spread_y = jnp.asarray(_spread(height, config.elastic_sigma), jnp.float32)
    spread_x = jnp.asarray(_spread(width, config.elastic_sigma), jnp.float32)

    def draw(key: jax.Array) -> jax.Array:
        shape = (2, spread_y.shape[1], spread_x.shape[1])
        return jax.random.normal(jax.random.fold_in(key, ELASTIC), shape)

    noise = jax.vmap(draw)(keys)
    field = config.elastic * jnp.einsum("yi,bdij,xj->bdyx", spread_y, noise, spread_x)
    return field[:, 0], field[:, 1]


def _spread(size: int, sigma: float) -> np.ndarray:
    """Returns Gaussian weights from control points to pixels, `[size, points]`, rows of norm 1."""
    points = np.linspace(0.0, size - 1.0, max(2, round(size / PIXELS_PER_POINT)))
    weights = np.exp(-((np.arange(size)[:, None] - points) ** 2) / (2.0 * sigma**2))
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def read_bilinear(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Samples `images` bilinearly at fractional `rows` and `columns`; all are `[B, H, W]`.

    Outside an image there are zeros.
    """
    height, width = images.shape[1:]
    # A border of zeros, and one more row and column for the neighbours of the last ones.
    padded = jnp.pad(images, ((0, 0), (1, 2), (1, 2)))
    rows = jnp.clip(rows, -1.0, height) + 1.0
    columns = jnp.clip(columns, -1.0, width) + 1.0
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = rows - top, columns - left
    stride = width + 3
    index = (top.astype(jnp.int32) * stride + left.astype(jnp.int32)).reshape(len(images), -1)
    flat = padded.reshape(len(images), -1)

    def corner(offset: int) -> jax.Array:
        taken = jnp.take_along_axis(flat, index + offset, axis=1, mode="promise_in_bounds")
        return taken.reshape(rows.shape)

    upper = corner(0) * (1.0 - right) + corner(1) * right
    lower = corner(stride) * (1.0 - right) + corner(stride + 1) * right
    return upper * (1.0 - down) + lower * down
