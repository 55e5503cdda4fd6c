"""Reads a picture file of any common kind into an array of colours, reduced to a workable size."""

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mnist_jax.errors import UserError
from mnist_jax.files import reason
from mnist_jax.pictures.picture import UNIT, Picture

FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
}
KINDS = "PNG, JPEG, WebP, GIF, TIFF or BMP"
LONGEST = 384  # pixels of a picture's longest side after it is reduced
MOST_PIXELS = 100_000_000  # of a picture; more would need gigabytes
MOST_OF_WEBP = 50_000_000  # pixels of a WebP picture, whose decoder holds four copies
ORIENTATION = 0x0112  # the EXIF tag
PART = 1 << 20  # pixels that are converted at a time
STRIP = 8  # rows of the reduced picture that are computed at a time


def read(path: Path) -> Picture:
    """Reads a picture file: its first frame, upright, without transparency.

    Raises:
      UserError: the file cannot be read, is no picture, is damaged, or has too many pixels. The
        message does not repeat the path.
    """
    try:
        size = os.stat(path).st_size
        with path.open("rb") as file:
            webp = file.read(12)[8:] == b"WEBP"
    except OSError as error:
        raise UserError(f"cannot be read: {reason(error)}") from error
    if not size:
        raise UserError("the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow thinks of sizes and metadata
        return _reduced(*_unpacked(path, MOST_OF_WEBP if webp else MOST_PIXELS))


def _unpacked(path: Path, most: int) -> tuple[np.ndarray, int]:
    """Returns the pixels of a picture, at most `most` of them, and the number that is white.

    The pixels are `[H, W, C]`, C of 1 (grey), 3 (colours) or 4 (with opacity).
    """
    try:
        with Image.open(path, formats=[*FORMATS]) as image:
            if image.width * image.height > most:
                raise _too_large(f"{image.width} x {image.height}", most)
            width, height = (-(-n * LONGEST // max(image.size)) for n in image.size)
            image.draft(None, (width, height))  # JPEG only
            turned = image.getexif().get(ORIENTATION, 1)
            pixels, white = _pixels(image)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large("several hundred million", most) from error
    except Image.UnidentifiedImageError as error:
        raise UserError(f"is no picture that can be read; give a {KINDS} file") from error
    except PermissionError as error:
        raise UserError(f"cannot be read: {reason(error)}") from error
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise UserError(f"is damaged, or no {KINDS} file: {reason(error)}") from error
    return _upright(pixels, turned), white


def _too_large(size: str, most: int) -> UserError:
    return UserError(
        f"the picture has {size} pixels; at most {most:,} are unpacked. Reduce or crop it"
    )


def _pixels(image: Image.Image) -> tuple[np.ndarray, int]:
    """Unpacks an image of any of Pillow's modes; see `_unpacked`."""
    if image.mode in ("I", "F"):
        return _stretched(image), 65535
    if image.mode.startswith("I;16"):
        return _array(image), 65535
    if image.has_transparency_data:
        return _array(image, "RGBA"), 255
    return _array(image, "L" if image.mode in ("1", "L") else "RGB"), 255


def _array(image: Image.Image, mode: str = "") -> np.ndarray:
    """Returns the pixels `[H, W, C]` of an image, converted to a mode if one is given."""
    return _joined(image, lambda part: np.asarray(part.convert(mode) if mode else part))


def _stretched(image: Image.Image) -> np.ndarray:
    """Returns grey pixels of 32 bits as integers from 0 to 65535.

    They have no agreed white, and are stretched from their darkest to their lightest.
    """
    ends = [(its.min(), its.max()) for its in map(np.asarray, _parts(image))]
    lowest = float(min(low for low, _ in ends))
    scale = 65535 / max(float(max(high for _, high in ends)) - lowest, 1e-300)
    if not np.isfinite([end for pair in ends for end in pair]).all():
        raise UserError("the picture has pixels that are not finite")

    def stretched(part: Image.Image) -> np.ndarray:
        values = np.asarray(part).astype(np.float64) - lowest
        return np.floor(values * scale + 0.5).astype(np.uint16)

    return _joined(image, stretched)


def _joined(image: Image.Image, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """Converts an image to an array `[H, W, C]`, a few rows at a time, to bound the memory."""
    found, top = np.empty(0), 0
    for part in _parts(image):
        rows = convert(part).reshape(part.height, part.width, -1)
        if not top:
            found = np.empty((image.height, *rows.shape[1:]), rows.dtype)
        found[top : top + part.height] = rows
        top += part.height
    return found


def _parts(image: Image.Image) -> Iterator[Image.Image]:
    """Yields a few rows of an image at a time."""
    image.load()
    step = max(1, PART // image.width)
    for top in range(0, image.height, step):
        yield image.crop((0, top, image.width, min(top + step, image.height)))


def _upright(pixels: np.ndarray, turned: int) -> np.ndarray:
    """Turns and mirrors a picture as EXIF's orientation, 1 to 8, asks for."""
    if turned in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if turned in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turned in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _reduced(pixels: np.ndarray, white: int) -> Picture:
    """Averages blocks of pixels, so that the longest side is at most `LONGEST`.

    With `n` pixels on the longest side, blocks have `ceil(n / LONGEST)` pixels in both directions;
    the last ones may be smaller.
    """
    background = _background(pixels) if pixels.shape[-1] == 4 else 0
    side = -(-max(pixels.shape[:2]) // LONGEST)
    rows = np.concatenate([*_strips(pixels, side, background)])
    counts = np.outer(*(np.diff(np.r_[0:n:side, n]) for n in pixels.shape[:2]))[..., None]
    most = white * (255 if pixels.shape[-1] == 4 else 1)
    return Picture(np.floor(rows * (255 * UNIT) / (counts * most) + 0.5))


def _strips(pixels: np.ndarray, side: int, background: int) -> Iterator[np.ndarray]:
    """Yields the sums of blocks, a few rows of blocks at a time, to bound the memory."""
    height, width = pixels.shape[:2]
    for start in range(0, height, side * STRIP):
        strip = pixels[start : start + side * STRIP].astype(np.uint16)
        if strip.shape[-1] == 4:  # at most 255 * 255
            opaque = strip[..., 3:]
            strip = strip[..., :3] * opaque + np.uint16(background) * (255 - opaque)
        strip = np.add.reduceat(strip, np.arange(0, len(strip), side), axis=0, dtype=np.int64)
        yield np.add.reduceat(strip, np.arange(0, width, side), axis=1)


def _background(pixels: np.ndarray) -> int:
    """Returns the grey level to put behind a transparent picture, so that its ink stands out.

    White behind dark ink and black behind light ink; behind a picture that is mostly opaque, its
    own mean.
    """
    opaque = pixels[..., 3]
    total = int(opaque.sum(dtype=np.int64))
    if not total:
        return 255
    sums = [int(np.einsum("hw,hw->", pixels[..., i], opaque, dtype=np.int64)) for i in range(3)]
    mean = (299 * sums[0] + 587 * sums[1] + 114 * sums[2]) // (1000 * total)
    if 2 * total >= 255 * opaque.size:
        return mean
    return 255 if mean < 128 else 0
