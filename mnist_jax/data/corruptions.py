"""Corrupts images of a test split, to see how robust a network is.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, and Mu and Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision",
2019, measure accuracy in this way.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mnist_jax.data.augment import read_bilinear

# (images [B, H, W, C] from 0 to 1, keys [B], strength []) -> images
Corrupt = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption, with its strengths from weak to strong."""

    name: str
    unit: str  # of the strengths
    strengths: tuple[float, ...]
    apply: Corrupt


def _noise(images: jax.Array, keys: jax.Array, strength: jax.Array) -> jax.Array:
    """Adds Gaussian noise of this standard deviation."""
    draw = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))
    return jnp.clip(images + strength * draw(keys), 0.0, 1.0)


def _blur(images: jax.Array, keys: jax.Array, strength: jax.Array) -> jax.Array:
    """Blurs by a Gaussian whose standard deviation is this fraction of the image's height."""
    height, width = images.shape[1:3]

    def weights(size: int) -> jax.Array:
        places = jnp.arange(size, dtype=jnp.float32)
        w = jnp.exp(-(((places[:, None] - places[None, :]) / (strength * height)) ** 2) / 2.0)
        return w / w.sum(axis=1, keepdims=True)

    return jnp.einsum("yi,bijc,xj->byxc", weights(height), images, weights(width))


def _shift(images: jax.Array, keys: jax.Array, strength: jax.Array) -> jax.Array:
    """Shifts by this fraction of the image's height, in a random direction."""
    angle = _angles(keys)
    distance = strength * images.shape[1]
    return _moved(images, 0.0 * angle, distance * jnp.sin(angle), distance * jnp.cos(angle))


def _rotation(images: jax.Array, keys: jax.Array, strength: jax.Array) -> jax.Array:
    """Rotates by this many degrees, to the left or to the right."""
    sign = jnp.where(_angles(keys) < jnp.pi, -1.0, 1.0)
    return _moved(images, sign * jnp.deg2rad(strength), 0.0 * sign, 0.0 * sign)


def _contrast(images: jax.Array, keys: jax.Array, strength: jax.Array) -> jax.Array:
    """Takes this fraction of the contrast away: pixels come nearer to the image's mean."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return mean + (1.0 - strength) * (images - mean)


def _occlusion(images: jax.Array, keys: jax.Array, strength: jax.Array) -> jax.Array:
    """Covers a square, whose side is this fraction of the image's height, with zeros."""
    height, width = images.shape[1:3]
    side = jnp.round(strength * height)
    places = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)

    def covered(place: jax.Array, size: int) -> jax.Array:
        start = jnp.floor(place * (size - side + 1.0))[:, None]
        pixels = jnp.arange(size, dtype=jnp.float32)[None, :]
        return (start <= pixels) & (pixels < start + side)

    rows, columns = covered(places[:, 0], height), covered(places[:, 1], width)
    return jnp.where((rows[:, :, None] & columns[:, None, :])[..., None], 0.0, images)


CORRUPTIONS = (
    Corruption("noise", "standard deviation", (0.1, 0.2, 0.3, 0.4, 0.5), _noise),
    Corruption("blur", "of the height", (0.02, 0.04, 0.06, 0.08, 0.10), _blur),
    Corruption("shift", "of the height", (0.04, 0.08, 0.12, 0.16, 0.20), _shift),
    Corruption("rotation", "degrees", (10.0, 20.0, 30.0, 40.0, 50.0), _rotation),
    Corruption("contrast", "taken away", (0.3, 0.5, 0.7, 0.8, 0.9), _contrast),
    Corruption("occlusion", "of the height", (0.15, 0.25, 0.35, 0.45, 0.55), _occlusion),
)


def _angles(keys: jax.Array) -> jax.Array:
    """Returns an angle for each image, `[B]`, uniform from 0 to 2 pi."""
    return jax.vmap(lambda key: jax.random.uniform(key, (), maxval=2.0 * jnp.pi))(keys)


def _moved(images: jax.Array, angle: jax.Array, down: jax.Array, right: jax.Array) -> jax.Array:
    """Rotates images about their centres by angles `[B]`, and shifts them by `[B]` pixels."""
    height, width = images.shape[1:3]
    y = (jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2)[None, :, None]
    x = (jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2)[None, None, :]
    cos, sin = jnp.cos(angle)[:, None, None], jnp.sin(angle)[:, None, None]
    y, x = y - down[:, None, None], x - right[:, None, None]
    rows = cos * y - sin * x + (height - 1) / 2
    columns = sin * y + cos * x + (width - 1) / 2
    channels = [read_bilinear(images[..., c], rows, columns) for c in range(images.shape[-1])]
    return jnp.stack(channels, axis=-1)
