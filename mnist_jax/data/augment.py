"""Random distortion of training images, computed on the device inside the compiled step.

An affine map (rotation, shear, scale, translation) and an elastic displacement (Simard, Steinkraus
and Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis",
ICDAR 2003) together give the position at which each output pixel is sampled. The image is sampled
only once, with bilinear interpolation.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mnist_jax.config import Augment
from mnist_jax.lifted import active

PIXELS_PER_POINT = 4  # spacing of the control points at which the elastic displacement is drawn


def enabled(config: Augment) -> bool:
    """Returns True if any distortion is configured."""
    strengths = (config.rotation, config.translation, config.scale, config.shear, config.elastic)
    return any(active(strength) for strength in strengths)


def augment(images: jax.Array, keys: jax.Array, config: Augment) -> jax.Array:
    """Distorts each image at random, using its own random key.

    Args:
      images: `[B, H, W, C]` float. All channels of an image are distorted in the same way.
      keys: `[B]` random keys, one per image.
      config: the ranges from which the distortions are drawn.

    Returns:
      The distorted images, `[B, H, W, C]`. Pixels sampled outside the original image are 0.
    """
    height, width = images.shape[1:3]
    rows, columns = _affine_grid(keys, height, width, config)
    if active(config.elastic):
        d_rows, d_columns = _elastic_displacement(keys, height, width, config)
        rows, columns = rows + d_rows, columns + d_columns
    channels = [images[..., channel] for channel in range(images.shape[-1])]
    return jnp.stack([_read_bilinear(channel, rows, columns) for channel in channels], axis=-1)


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
        return jax.random.normal(jax.random.fold_in(key, 1), shape)

    noise = jax.vmap(draw)(keys)
    field = config.elastic * jnp.einsum("yi,bdij,xj->bdyx", spread_y, noise, spread_x)
    return field[:, 0], field[:, 1]


def _spread(size: int, sigma: float) -> np.ndarray:
    """Returns Gaussian weights from control points to pixels, `[size, points]`, rows of norm 1."""
    points = np.linspace(0.0, size - 1.0, max(2, round(size / PIXELS_PER_POINT)))
    weights = np.exp(-((np.arange(size)[:, None] - points) ** 2) / (2.0 * sigma**2))
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def _read_bilinear(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Samples `images` bilinearly at fractional `rows` and `columns`; all are `[B, H, W]`."""
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
