"""Picture files of every kind, read to the same grey values."""

import contextlib
import io
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from mnist_jax.errors import UserError
from mnist_jax.pictures import reading
from mnist_jax.pictures.picture import UNIT

WIDTH, HEIGHT = 60, 40
GREY = np.full((HEIGHT, WIDTH), 240, np.uint8)
GREY[5:15, 10:40] = 40  # dark ink, nearer to the top and to the left
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
EXPECTED = {"grey": GREY.astype(float), "colour": COLOUR @ [0.299, 0.587, 0.114]}


def grey(path) -> np.ndarray:
    """The brightness of a picture file, from 0 to 255."""
    return reading.read(path).grey / UNIT


@pytest.fixture
def save(tmp_path):
    """A function that writes a picture; gives its path."""

    def write(image, name: str, **options):
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        ("png", {}, 0.05),
        ("bmp", {}, 0.05),
        ("tiff", {}, 0.05),
        ("tif", {"compression": "tiff_lzw"}, 0.05),
        ("gif", {}, 6),
        ("webp", {"lossless": True}, 0.05),
        ("webp", {"quality": 90}, 12),
        ("jpg", {"quality": 95}, 12),
        ("jpeg", {"quality": 95, "progressive": True}, 12),
    ],
)
@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_every_format(save, suffix, options, tolerance, kind):
    path = save(GREY if kind == "grey" else COLOUR, f"a.{suffix}", **options)
    assert np.abs(grey(path) - EXPECTED[kind]).max() <= tolerance


def test_the_suffix_does_not_matter(save, tmp_path):
    save(GREY, "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(grey(tmp_path / "a.jpg"), GREY)


BLACK_AND_WHITE = np.where(GREY > 128, 255.0, 0.0)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_mode(save, mode):
    image = Image.fromarray(GREY).convert("RGB" if mode == "YCbCr" else "L")
    if mode == "LAB":
        image = Image.merge("LAB", [image, *[Image.new("L", image.size, 128)] * 2])
    path = save(image.convert(mode), "a.tiff" if mode in ("CMYK", "YCbCr", "LAB") else "a.png")
    with Image.open(path) as written:
        assert written.mode == mode
    assert np.abs(grey(path) - GREY).max() <= (8 if mode == "LAB" else 1)


def test_one_bit(save):
    image = Image.fromarray(GREY).convert("1", dither=Image.Dither.NONE)
    for name in ("a.png", "a.bmp", "a.tiff"):
        np.testing.assert_array_equal(grey(save(image, name)), BLACK_AND_WHITE)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
@pytest.mark.parametrize("factor", [1, 1000])
def test_pixels_of_32_bits_are_stretched(save, kind, factor):
    path = save((GREY.astype(kind) - 50) * factor, "a.tiff")
    np.testing.assert_array_equal(grey(path), BLACK_AND_WHITE)


def test_sixteen_bits(save):
    for name in ("a.png", "a.tiff"):
        np.testing.assert_array_equal(grey(save(GREY.astype(np.uint16) * 257, name)), GREY)


def test_sixteen_bits_are_not_cut_to_eight(save):
    values = np.full((8, 8), 1000, np.uint16)
    values[2:4] = 1100  # within one step of eight bits
    assert len(np.unique(grey(save(values, "a.png")))) == 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_stands_upright_as_exif_says(save, orientation, suffix):
    """The inverse of each of EXIF's eight operations is stored, and the operation undoes it."""
    undo = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda x: np.rot90(x),  # shown turned to the right by a quarter
        7: lambda x: np.rot90(np.transpose(x), 2),
        8: lambda x: np.rot90(x, -1),
    }
    exif = Image.Exif()
    exif[reading.ORIENTATION] = orientation
    stored = np.ascontiguousarray(undo[orientation](GREY))
    path = save(stored, f"a.{suffix}", exif=exif, quality=95)
    assert np.abs(grey(path) - GREY).max() <= 12


def test_the_first_frame_of_an_animation(save):
    frames = [Image.fromarray(x) for x in (GREY, 255 - GREY)]
    more = {"a.webp": {"lossless": True}, "a.jpg": {"format": "MPO", "quality": 95}}  # as phones do
    for name in ("a.gif", "a.webp", "a.png", "a.tiff", "a.jpg"):
        options = more.get(name, {})
        path = save(frames[0], name, save_all=True, append_images=frames[1:], **options)
        assert np.abs(grey(path) - GREY).max() <= 8


# Transparency


def transparent(colour: int, opacity: np.ndarray) -> np.ndarray:
    return np.stack([*[np.full(opacity.shape, colour, np.uint8)] * 3, opacity], axis=-1)


@pytest.mark.parametrize("colour", [0, 40, 215, 255])
def test_ink_on_nothing_stands_out(save, colour):
    opacity = np.where(GREY < 128, 255, 0).astype(np.uint8)
    found = grey(save(transparent(colour, opacity), "a.png"))
    assert (found[GREY < 128] == colour).all()
    assert (found[GREY > 128] == (255 if colour < 128 else 0)).all()


def test_half_transparent_ink_is_mixed(save):
    opacity = np.where(GREY < 128, 102, 0).astype(np.uint8)
    found = grey(save(transparent(0, opacity), "a.png"))
    assert (found[GREY < 128] == 153).all()


def test_a_hole_in_an_opaque_picture_is_no_ink(save):
    """Round corners of a screenshot: behind them lies the mean of the rest."""
    pixels = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])
    pixels[:5, :5, 3] = 0
    found = grey(save(pixels, "a.png"))
    assert 150 < found[0, 0] < 250


def test_an_invisible_picture_is_blank(save):
    assert np.unique(grey(save(transparent(9, np.zeros_like(GREY)), "a.png"))) == [255]


def test_a_transparent_colour_of_a_palette(save):
    image = Image.fromarray(np.where(GREY < 128, 1, 0).astype(np.uint8), mode=None)
    image = image.convert("P")
    image.putpalette([0, 0, 0, 30, 30, 30] + [9] * 762)
    for name in ("a.gif", "a.png"):
        found = grey(save(image, name, transparency=0))
        assert (found[GREY < 128] == 30).all()
        assert (found[GREY > 128] == 255).all()


# Sizes


def test_a_large_picture_is_averaged(save):
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (1000, 790), np.uint8)
    found = grey(save(large, "a.png"))
    assert found.shape == (334, 264)  # blocks of 3 x 3, smaller ones at the ends
    blocks = large[:999, :789].reshape(333, 3, 263, 3).mean(axis=(1, 3))
    assert np.abs(found[:333, :263] - blocks).max() <= 0.04
    assert found[333, 263] == large[999, 789]


def test_a_large_transparent_picture_is_averaged(save):
    """Half of the ink is transparent: a large picture is mixed before it is averaged."""
    opacity = np.kron(np.where(GREY < 128, 1, 0), np.array([[255, 0] * 10] * 20)).astype(np.uint8)
    found = grey(save(transparent(0, opacity), "a.png"))
    assert found.shape == (200, 300)  # blocks of 4 x 4
    np.testing.assert_array_equal(found[27:74, 52:198], 127.5)
    np.testing.assert_array_equal(found[80:], 255)


def test_a_large_photograph_is_unpacked_small(save):
    large = np.kron(GREY, np.ones((60, 60), np.uint8))
    found = grey(save(large, "a.jpg"))
    assert max(found.shape) <= reading.LONGEST
    small = np.asarray(Image.fromarray(GREY).resize(found.shape[::-1], Image.Resampling.BOX))
    assert np.abs(found - small).mean() < 3


def png_of(width: int, height: int) -> bytes:
    """A PNG file that says it has this size, and has no pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_001, 12_000, 14_000, 60_000])
def test_a_bomb_is_not_unpacked(tmp_path, side):
    (tmp_path / "a.png").write_bytes(png_of(side, side))
    with pytest.raises(UserError, match=r"at most 100,000,000 are unpacked\. Reduce or crop it"):
        reading.read(tmp_path / "a.png")


@pytest.mark.parametrize("side", [7_072, 14_000])
def test_a_webp_bomb_is_not_unpacked(tmp_path, side):
    """One colour takes 34 bytes in any size, and the decoder four copies of all pixels."""
    Image.new("RGB", (1, 1)).save(tmp_path / "a.webp", lossless=True)
    content = (tmp_path / "a.webp").read_bytes()
    size = struct.pack("<I", (side - 1) | (side - 1) << 14)
    (tmp_path / "a.webp").write_bytes(content[:21] + size + content[25:])
    with pytest.raises(UserError, match=r"at most 50,000,000 are unpacked\. Reduce or crop it"):
        reading.read(tmp_path / "a.webp")


# What cannot be read


def content(name: str) -> bytes:
    file, pixels = io.BytesIO(), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(file, name)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"seven", "is no picture that can be read; give a PNG, JPEG, WebP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture that can be read"),
        (b"P5 2 2 255\n0000", "is no picture that can be read"),
        (png_of(30, 30), "is damaged"),
    ],
)
def test_what_is_no_picture(tmp_path, content, message):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=message):
        reading.read(tmp_path / "a.png")


@pytest.mark.parametrize("name", [*reading.FORMATS])
def test_what_is_cut_off(tmp_path, name):
    whole = content(name)
    for part in (0.05, 0.3, 0.6):
        (tmp_path / "a").write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(UserError, match=r"is damaged|is no picture"):
            reading.read(tmp_path / "a")


def test_whatever_is_damaged_is_read_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    for name in reading.FORMATS:
        whole = content(name)
        for _ in range(20):
            damaged = bytearray(whole)
            for place in rng.integers(0, min(400, len(whole)), 3):
                damaged[place] = rng.integers(256)
            (tmp_path / "a").write_bytes(damaged)
            with contextlib.suppress(UserError):
                assert np.isfinite(grey(tmp_path / "a")).all()


def test_pixels_that_are_not_finite(save):
    values = np.zeros((5, 5), np.float32)
    values[2, 2] = np.nan
    with pytest.raises(UserError, match="not finite"):
        reading.read(save(values, "a.tiff"))


def test_a_file_that_may_not_be_read(save, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        reading.read(tmp_path / "nothing.png")
    path = save(GREY, "a.png")

    def refuse(*_, **__):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(reading.Image, "open", refuse)
    with pytest.raises(UserError, match=r"^cannot be read: Permission denied$"):
        reading.read(path)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_pixels_are_converted_a_few_rows_at_a_time(save, kind):
    """At 100 million pixels, each further copy of all of them would take up to 800 MB."""
    path = save(np.zeros((2500, 2500), kind), "a.tiff")
    tracemalloc.start()
    try:
        reading.read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60e6  # 6.25 million pixels
