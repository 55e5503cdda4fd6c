"""Draws digits as several people write them: with a mouse, a pen, chalk, or on photographed paper.

A digit consists of strokes, and a stroke of points in a box (x to the right, y down) through which
a smooth curve runs. Where a point is given twice, the curve has a corner.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

# Two or three ways to write each digit. Coordinates are in hundredths; `;` ends a stroke.
SHAPES = {
    0: (
        "50 0, 12 20, 5 60, 30 100, 75 90, 95 50, 80 10, 48 0",
        "60 2, 20 15, 10 55, 35 98, 80 80, 90 35, 65 0, 40 10",
    ),
    1: (
        "50 0, 50 50, 50 100",
        "30 25, 55 0, 55 0, 55 100",
        "35 20, 52 0, 52 0, 50 100; 30 100, 72 100",
    ),
    2: (
        "10 25, 35 2, 80 12, 80 42, 10 100, 10 100, 95 98",
        "15 20, 50 0, 85 22, 55 65, 20 95, 10 85, 35 82, 65 97, 95 90",
    ),
    3: (
        "12 15, 50 0, 85 20, 40 47, 40 47, 90 70, 55 100, 8 85",
        "10 2, 85 2, 85 2, 40 42, 40 42, 90 65, 60 98, 10 90",
    ),
    4: (
        "30 0, 12 58, 12 58, 90 56; 72 25, 68 100",
        "75 100, 75 0, 75 0, 8 68, 8 68, 95 68",
    ),
    5: (
        "85 2, 25 2, 25 2, 18 45, 18 45, 60 38, 88 68, 50 100, 8 88",
        "25 5, 18 45, 18 45, 65 40, 85 72, 45 100, 10 90; 25 4, 90 0",
    ),
    6: (
        "75 0, 30 30, 10 70, 45 100, 85 78, 60 52, 15 70",
        "60 0, 25 35, 15 80, 55 100, 80 75, 50 55, 20 80",
    ),
    7: (
        "8 5, 90 2, 90 2, 55 50, 40 100",
        "10 8, 88 4, 88 4, 45 100; 30 50, 85 48",
    ),
    8: (
        "80 15, 45 0, 20 20, 75 65, 55 100, 15 80, 70 35, 80 12",
        "50 0, 20 20, 50 46, 80 20, 50 0; 50 46, 12 75, 50 100, 88 75, 50 46",
    ),
    9: (
        "80 20, 45 0, 15 25, 45 50, 80 20, 80 20, 70 100",
        "82 12, 40 2, 20 30, 55 48, 82 15, 85 60, 60 100, 25 92",
    ),
}


@dataclass(frozen=True)
class Hand:
    """How somebody writes."""

    slant: float  # shift to the right at the top, as a part of the height
    aspect: float  # width of a digit, as a part of its height
    pen: float  # width of a stroke, as a part of the height
    shake: float  # spread of the points, as a part of the height
    way: int  # which of the shapes


HANDS = (
    Hand(0.0, 0.65, 0.10, 0.015, 0),
    Hand(0.25, 0.55, 0.06, 0.02, 1),
    Hand(-0.12, 0.7, 0.15, 0.02, 2),
    Hand(0.12, 0.8, 0.035, 0.03, 0),
    Hand(0.35, 0.6, 0.12, 0.025, 1),
    Hand(0.05, 0.5, 0.2, 0.01, 2),
)


def written(digit: int, hand: Hand, rng: np.random.Generator) -> list[np.ndarray]:
    """Returns the strokes of a digit as points `[n, 2]` (x, y), its height 1, around (0, 0)."""
    ways = SHAPES[digit]
    angle = np.radians(rng.normal(0, 4))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    strokes = []
    for stroke in ways[hand.way % len(ways)].split("; "):
        names = stroke.split(", ")
        points = {its: np.array(its.split(), float) / 100 for its in names}
        points = {its: point + rng.normal(0, hand.shake, 2) for its, point in points.items()}
        curve = _curve([points[its] for its in names]) - 0.5
        curve[:, 0] = curve[:, 0] * hand.aspect - curve[:, 1] * hand.slant
        strokes.append(curve @ turn.T)
    return strokes


def _curve(points: list[np.ndarray], steps: int = 24) -> np.ndarray:
    """Returns points on a Catmull-Rom curve; where a point is given twice, it has a corner."""
    x = np.array([points[0], *points, points[-1]])
    t = np.linspace(0, 1, steps)[:, None]
    parts = [
        0.5
        * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * (b - c) + d - a) * t**3)
        for a, b, c, d in zip(x, x[1:], x[2:], x[3:], strict=False)
    ]
    return np.concatenate(parts)


def drawn(
    strokes: list[np.ndarray],
    size: tuple[int, int],
    middle: tuple[float, float],
    height: float,
    pen: float,
) -> np.ndarray:
    """Returns how far ink covers each pixel, `[h, w]` from 0 to 1.

    Args:
      strokes: as `written` returns them.
      size: width and height of the picture in pixels.
      middle: x and y of the digit's middle, in pixels.
      height: of the digit, in pixels.
      pen: width of its strokes, in pixels.
    """
    zoom = 3
    canvas = Image.new("L", (size[0] * zoom, size[1] * zoom))
    draw, radius = ImageDraw.Draw(canvas), max(0.5, pen * zoom / 2)
    for stroke in strokes:
        points = [tuple(p) for p in (stroke * height + middle) * zoom]
        draw.line(points, fill=255, width=max(1, round(2 * radius)), joint="curve")
        for x, y in points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(canvas.resize(size, Image.Resampling.BOX), np.float64) / 255


def pad(strokes, hand, rng) -> np.ndarray:
    """Black on white, as on a page to draw on: 280 x 280, the digit anywhere."""
    height = rng.uniform(110, 220)
    ink = drawn(strokes, (280, 280), _place(rng, 280, 280, height), height, hand.pen * height)
    return 255 * (1 - ink)


def pen(strokes, hand, rng) -> np.ndarray:
    """Blue or black ink on white paper, scanned: 600 x 800, fine noise."""
    height = rng.uniform(150, 500)
    cover = drawn(strokes, (600, 800), _place(rng, 600, 800, height), height, hand.pen * height)
    colour = np.array([[30, 30, 35], [25, 40, 140]][rng.integers(2)])
    picture = 245 + (colour - 245) * (cover * rng.uniform(0.75, 1))[..., None]
    return picture + rng.normal(0, 2, picture.shape)


def chalk(strokes, hand, rng) -> np.ndarray:
    """Uneven chalk on a wiped board, green or black: 640 x 480."""
    height = rng.uniform(150, 380)
    width = max(hand.pen, 0.05) * height
    cover = drawn(strokes, (640, 480), _place(rng, 640, 480, height), height, width)
    board = np.array([[35, 60, 50], [40, 40, 42]][rng.integers(2)])
    wiped = _clouds((480, 640), rng, 60) * 14
    grain = np.clip(rng.normal(0.85, 0.3, cover.shape), 0.2, 1)
    picture = board + wiped[..., None] + (225 - board) * (cover * grain)[..., None]
    return picture + rng.normal(0, 5, picture.shape)


def photograph(strokes, hand, rng) -> np.ndarray:
    """Ink on uneven paper under a lamp, with the shadow of a hand, noise and blur: 1200 x 900."""
    height = rng.uniform(220, 700)
    width = max(hand.pen, 0.04) * height
    cover = drawn(strokes, (1200, 900), _place(rng, 1200, 900, height), height, width)
    y, x = np.mgrid[0:900, 0:1200]
    lamp = np.hypot(x - rng.uniform(0, 1200), y - rng.uniform(0, 900)) / 1500
    light = 1 - rng.uniform(0.15, 0.5) * lamp
    edge = (x - rng.uniform(300, 900)) * rng.choice([-1, 1]) + (y - 450) * rng.uniform(-1, 1)
    soft = rng.uniform(8, 60)
    light *= 1 - rng.uniform(0.15, 0.4) / (1 + np.exp(-np.clip(edge / soft, -50, 50)))
    paper = np.array([235, 230, 215]) * (1 + 0.03 * _clouds((900, 1200), rng, 25))[..., None]
    ink = np.array([[40, 40, 45], [35, 45, 120], [70, 70, 75]][rng.integers(3)])
    picture = (paper + (ink - paper) * cover[..., None]) * light[..., None]
    shot = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).reduce(1)
    picture = np.asarray(shot.resize((600, 450), Image.Resampling.BOX).resize((1200, 900)), float)
    return picture + rng.normal(0, rng.uniform(3, 9), picture.shape)


Medium = Callable[[list[np.ndarray], Hand, np.random.Generator], np.ndarray]
MEDIA: dict[str, Medium] = {its.__name__: its for its in (pad, pen, chalk, photograph)}


def _place(rng: np.random.Generator, width: int, height: int, digit: float) -> tuple[float, float]:
    """Returns where a digit of this height may lie, off the centre, with a margin."""
    half = 0.62 * digit
    x, y = (rng.uniform(min(half, n / 2), max(n - half, n / 2)) for n in (width, height))
    return x, y


def _clouds(shape: tuple[int, int], rng: np.random.Generator, grain: int) -> np.ndarray:
    """Returns smooth noise of spread 1 with spots of about `grain` pixels."""
    small = rng.normal(0, 1, (shape[0] // grain + 2, shape[1] // grain + 2))
    image = Image.fromarray(small.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def picture(digit: int, hand: Hand, medium: str, rng: np.random.Generator) -> Image.Image:
    """Returns a drawing of a digit as a picture."""
    pixels = MEDIA[medium](written(digit, hand, rng), hand, rng)
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
