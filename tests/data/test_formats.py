import gzip
import io
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from mnist_jax.data import idx, png
from mnist_jax.errors import UserError


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)


@pytest.mark.parametrize("shape", [(28, 28, 1), (5, 9, 2), (32, 32, 3), (9, 5, 4)])
def test_png_is_read_by_pillow_and_by_itself(monkeypatch, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    content = png.encode(image)
    with Image.open(io.BytesIO(content)) as opened:
        opened.verify()
    with Image.open(io.BytesIO(content)) as opened:
        np.testing.assert_array_equal(np.asarray(opened).reshape(shape), image)
    monkeypatch.setattr(Image, "open", None)  # what it wrote itself needs no library
    np.testing.assert_array_equal(png.decode(content, shape), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_of_others_is_read(channels):
    slope = np.add.outer(np.arange(28), np.arange(28)).astype(np.uint8)  # makes Pillow filter rows
    pixels = np.repeat(slope[..., None], channels, axis=2)
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "png")
    np.testing.assert_array_equal(png.decode(buffer.getvalue(), pixels.shape), pixels)


def test_png_damaged_or_of_another_shape(image):
    content = bytearray(png.encode(image))
    with pytest.raises(ValueError, match=r"28 x 28 pixels, not \(14, 28, 1\)"):
        png.decode(bytes(content), (14, 28, 1))
    with pytest.raises(ValueError, match="pixels"):  # the same number of bytes, filters included
        png.decode(png.encode(np.zeros((28, 27, 1), np.uint8)), (14, 55, 1))
    content[200] ^= 1
    with pytest.raises((ValueError, OSError, zlib.error)):
        png.decode(bytes(content), (28, 28, 1))


def test_png_of_other_colours_is_converted():
    grey = np.random.default_rng(0).integers(0, 256, (6, 4, 1), np.uint8)
    colour = grey.repeat(3, axis=2)
    np.testing.assert_array_equal(png.decode(png.encode(grey), colour.shape), colour)
    np.testing.assert_allclose(png.decode(png.encode(colour), grey.shape), grey, atol=1)
    buffer = io.BytesIO()
    Image.fromarray(grey[..., 0]).convert("P").save(buffer, "png")  # by palette
    np.testing.assert_array_equal(png.decode(buffer.getvalue(), colour.shape), colour)


def test_png_of_more_than_8_bits_is_refused():
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 4), 60000, np.uint16)).save(buffer, "png")
    with pytest.raises(ValueError, match="more than 8 bits"):
        png.decode(buffer.getvalue(), (6, 4, 1))


@pytest.mark.parametrize("shape", [(5,), (3, 28, 28)])
def test_idx_round_trip(tmp_path, write_idx, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    write_idx(tmp_path / "array.gz", array)
    np.testing.assert_array_equal(idx.read(tmp_path / "array.gz"), array)
    with zipfile.ZipFile(tmp_path / "arrays.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "array.gz", "folder/array.gz")
    member = zipfile.Path(tmp_path / "arrays.zip", "folder/array.gz")
    np.testing.assert_array_equal(idx.read(member), array)


def test_idx_that_is_missing(tmp_path):
    with zipfile.ZipFile(tmp_path / "arrays.zip", "w") as archive:
        archive.writestr("folder/other.gz", b"plain")
    for path in (tmp_path / "array.gz", zipfile.Path(tmp_path / "arrays.zip", "folder/array.gz")):
        with pytest.raises(UserError, match=f"{path} does not exist"):
            idx.read(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"plain", "not a complete gzip file"),
        (gzip.compress(b"\0\0\x08\x01\0\0\x03\xe8" + bytes(1000))[:-9], "not a complete gzip file"),
        (gzip.compress(b"\0\0\x0d\x01" + bytes(8)), "not an IDX file of unsigned bytes"),
        (gzip.compress(b""), "not an IDX file of unsigned bytes"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05" + bytes(4)), "shape .5. but holds 4 bytes"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05" + bytes(6)), "shape .5. but holds more bytes"),
        (gzip.compress(b"\0\0\x08\x03\0\0\0\x05\0"), "it states 3 dimensions"),
        (gzip.compress(b"\0\0\x08\xff" + bytes(4 * 255)), "it states 255 dimensions"),
        (gzip.compress(b"\0\0\x08\x02\xff\xff\xff\xff" + bytes(4)), "it is empty"),
        (gzip.compress(b"\0\0\x08\x01\xff\xff\xff\xff" + bytes(9)), "at most .* are unpacked"),
    ],
    ids=[
        *("no gzip", "cut", "doubles", "empty", "too few", "too many", "half a header"),
        *("many dimensions", "no values", "too large"),
    ],  # the contents hold the time of day
)
def test_idx_that_is_none(tmp_path, content, why):
    path = tmp_path / "array.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=why) as caught:
        idx.read(path)
    assert str(path) in str(caught.value)


def test_a_small_file_that_unpacks_to_a_large_one_is_refused_at_once(tmp_path):
    header, most = b"\0\0\x08\x01\0\0\0\x05", 64 << 20
    path = tmp_path / "array.gz"
    path.write_bytes(gzip.compress(header + bytes(most), 1))
    tracemalloc.start()
    with pytest.raises(UserError, match="holds more bytes"):
        idx.read(path)
    assert tracemalloc.get_traced_memory()[1] < most // 8
    tracemalloc.stop()
