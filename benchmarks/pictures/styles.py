"""Writes images of MNIST as picture files of eight styles."""

from collections.abc import Callable

import numpy as np
from PIL import Image

Style = Callable[[np.ndarray, np.random.Generator], Image.Image]
INK, PAPER = np.array([40, 50, 130.0]), np.array([250, 240, 200.0])


def inverted(ink: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Black on white."""
    return _picture(255 * (1 - ink))


def scaled(ink: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Ten times as large, white on black."""
    size = 10 * ink.shape[1], 10 * ink.shape[0]
    return _picture(255 * ink).resize(size, Image.Resampling.BICUBIC)


def shifted(ink: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Black on a white sheet of twice the size, anywhere."""
    height, width = ink.shape
    sheet = np.zeros((2 * height, 2 * width))
    top, left = rng.integers(height + 1), rng.integers(width + 1)
    sheet[top : top + height, left : left + width] = ink
    return _picture(255 * (1 - sheet))


def colour(ink: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Blue on yellow."""
    return _picture(PAPER + (INK - PAPER) * ink[..., None])


def jpeg(ink: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Black on white, compressed (the file is a JPEG of quality 60)."""
    return _picture(255 * (1 - ink))


def gradient(ink: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Dark on paper that is half as bright on one side as on the other."""
    y, x = (np.linspace(-0.5, 0.5, n) for n in ink.shape)
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * x + np.sin(angle) * y[:, None]
    light = 0.75 + 0.5 * slope / max(np.ptp(slope), 1e-9)
    return _picture(light * (240 - 200 * ink))


def noise(ink: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Dark grey on light grey, with noise of a standard deviation of 20 grey levels."""
    return _picture(220 - 180 * ink + rng.normal(0, 20, ink.shape))


def transparent(ink: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Black or white strokes on a transparent ground."""
    colour = 255 * rng.integers(2)
    return _picture(np.stack([*[np.full(ink.shape, colour)] * 3, 255 * ink], axis=-1))


STYLES: dict[str, Style] = {
    its.__name__: its
    for its in (inverted, scaled, shifted, colour, jpeg, gradient, noise, transparent)
}


def suffix(style: str) -> str:
    """Returns the suffix of the files of a style."""
    return ".jpg" if style == "jpeg" else ".png"


def enlarged(image: np.ndarray, zoom: int) -> np.ndarray:
    """Returns how far ink covers the pixels of an image `[28, 28]` uint8, enlarged, from 0 to 1."""
    size = zoom * image.shape[1], zoom * image.shape[0]
    large = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(large, np.float64) / 255


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
