"""Changed picture files, read and classified as `predict` does."""

import functools
import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability.fuzzing.guard import Guard
from benchmarks.reliability.fuzzing.mutations import generator, mutated, with_checksums
from benchmarks.reliability.fuzzing.worker import Broken, given
from mnist_jax.data.spec import Ink
from mnist_jax.pictures import prediction
from mnist_jax.pictures.files import File

INK = Ink(longest=20, by_mass=True)
SHAPE = (28, 28, 1)
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LAB"),
    "WEBP": ("RGB", "RGBA"),
}
OTHERS = (
    b"%PDF-1.7\n",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"GIF89a",
    b"\x80\x04K\x01.",
    b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (r) file\n",
    b"P6 9 9 255 ",
    b"\x89PNG\r\n\x1a\n",
)
HUGE = (2**31 - 1, 2**32 - 1, 65_535, 40_000, 9_999, 0, 1)
SIDES = (3_000, 7_071, 9_999, 10_000, 10_001)  # in pixels, of bombs: near the limits
# The widths and heights in a TIFF file: a tag of one number, of 16 or of 32 bits.
TIFF_SIZES = [struct.pack("<2HI", tag, form, 1) for tag in (256, 257) for form in (3, 4)]


def reading(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: small pictures of all kinds, changed anywhere, and headers that state huge sizes."""
    del samples
    guard = Guard(folder)
    valid = _valid()
    path = folder / "picture"
    weights = np.random.default_rng(0).normal(size=(784, 10)).astype(np.float32)

    def classify(images: np.ndarray) -> np.ndarray:
        logits = images.reshape(len(images), -1).astype(np.float32) / 255 @ weights
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def attempt(number: int) -> str:
        rng = generator("pictures", number)
        content = _made(valid, rng)
        path.write_bytes(content)
        given(content)
        with guard.watching():
            found = list(prediction.predict([File("picture", path)], SHAPE, INK, classify))
        return _checked(found)

    return attempt


def _checked(found: list[prediction.Prediction]) -> str:
    if len(found) != 1:
        raise Broken(f"{len(found)} results for one file")
    (its,) = found
    record = its.record(tuple("0123456789"))
    if its.error:
        if "MemoryError" in its.error or "\n" in its.error:
            raise Broken(its.error)
        return "refused"
    if its.probability is not None and not 0 <= its.probability <= 1:
        raise Broken(f"the probability {its.probability}")
    return "read" if record["digit"] is not None else "without ink"


def _valid() -> list[bytes]:
    """Returns small pictures of each format and mode, with metadata."""
    rows = np.zeros((40, 30), np.uint8)
    rows[8:32, 13:17] = 255
    rng = np.random.default_rng(0)
    found = []
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "digit"
    for kind, modes in MODES.items():
        for mode in modes:
            if mode in ("I;16", "I", "F"):
                values = rows.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]) * 3
                image = Image.fromarray(values)
            else:
                noise = rng.integers(0, 30, rows.shape, np.uint8)
                image = Image.fromarray(255 - rows // 2 - noise).convert(
                    "RGB" if mode == "LAB" else "L"
                )
                image = _converted(image, mode)
            more = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}
            buffer = io.BytesIO()
            image.save(buffer, kind, **more)
            found.append(buffer.getvalue())
    frames = [Image.fromarray(np.roll(rows, n, axis=1)) for n in range(3)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=40)
        found.append(buffer.getvalue())
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "tiff_jpeg"):
        buffer = io.BytesIO()
        frames[0].convert("RGB").save(buffer, "TIFF", compression=compression)
        found.append(buffer.getvalue())
    return found


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        from PIL import ImageCms

        profile = ImageCms.createProfile
        return ImageCms.profileToProfile(  # pyright: ignore[reportReturnType]
            image, profile("sRGB"), profile("LAB"), outputMode="LAB"
        )
    return image.convert(mode)


def _made(valid: list[bytes], rng: random.Random) -> bytes:
    kind = rng.random()
    content = rng.choice(valid)
    if kind < 0.02:
        return rng.choice(OTHERS) + rng.randbytes(rng.randrange(200))
    if kind < 0.025:
        return rng.choice((_bomb, _tiff_bomb, _plain_bomb))(rng)
    if kind < 0.08:
        return _with_size(content, rng)
    if kind < 0.1:
        other = rng.choice(valid)
        at = rng.randrange(len(content))
        return content[:at] + other[at:]
    content = mutated(content, rng)
    png = content.startswith(b"\x89PNG") and rng.random() < 0.7
    return with_checksums(content) if png else content


def _with_size(content: bytes, rng: random.Random) -> bytes:
    """Returns a picture whose header states another size."""
    width, height = rng.choice(HUGE), rng.choice(HUGE)
    if content.startswith(b"\x89PNG"):
        return with_checksums(content[:16] + struct.pack(">2I", width, height) + content[24:])
    if content.startswith(b"GIF"):
        return content[:6] + struct.pack("<2H", width % 65536, height % 65536) + content[10:]
    if content.startswith(b"BM"):
        return content[:18] + struct.pack("<2I", width, height) + content[26:]
    if content.startswith(b"II*\0"):
        for tag, number in zip(TIFF_SIZES, (width, width, height, height), strict=True):
            at = content.find(tag)
            if at >= 0:
                content = content[: at + 8] + struct.pack("<I", number) + content[at + 12 :]
        return content
    if content[8:12] == b"WEBP":
        return _with_webp_size(content, width, height)
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        at = content.find(marker)
        if at >= 0:
            sizes = struct.pack(">2H", height % 65536, width % 65536)
            return content[: at + 5] + sizes + content[at + 9 :]
    return mutated(content, rng)


def _with_webp_size(content: bytes, width: int, height: int) -> bytes:
    if content[12:16] == b"VP8X":
        sizes = b"".join(struct.pack("<I", (n - 1) % 2**24)[:3] for n in (width, height))
        return content[:24] + sizes + content[30:]
    if content[12:16] == b"VP8L":
        bits = (width - 1) % 2**14 | (height - 1) % 2**14 << 14
        return content[:21] + struct.pack("<I", bits) + content[25:]
    return content[:26] + struct.pack("<2H", width % 2**14, height % 2**14) + content[30:]


def _plain_bomb(rng: random.Random) -> bytes:
    """Returns a picture of one colour in a format that packs it well."""
    kind, mode = rng.choice((("GIF", "P"), ("JPEG", "L"), ("JPEG", "RGB"), ("WEBP", "RGB")))
    side = rng.choice(SIDES)
    if kind == "WEBP":  # one colour is coded by no bits, however many pixels have it
        return _with_webp_size(_of_one_colour(kind, mode, 1), side, side)
    return _of_one_colour(kind, mode, side)


@functools.cache
def _of_one_colour(kind: str, mode: str, side: int) -> bytes:
    buffer = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.new(mode, (side, side)).save(buffer, kind, **options)
    return buffer.getvalue()


def _bomb(rng: random.Random) -> bytes:
    """Returns a small PNG file that unpacks to up to the most pixels that are unpacked."""
    side = rng.choice(SIDES)
    depth, colour, size = rng.choice(((1, 0, 1 / 8), (8, 0, 1), (8, 2, 3), (8, 6, 4), (16, 0, 2)))
    row = bytes(1 + int(-(-side * size // 1)))
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(row * 64) for _ in range(-(-side // 64))) + packer.flush()
    chunks = [
        (b"IHDR", struct.pack(">2I5B", side, side, depth, colour, 0, 0, 0)),
        (b"IDAT", body),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _tiff_bomb(rng: random.Random) -> bytes:
    """Returns a small TIFF file of the same size unpacked, all of whose strips are one."""
    side, rows = rng.choice(SIDES), 100
    bits, samples, form, colours = rng.choice(
        ((8, 1, 1, 1), (16, 1, 1, 1), (32, 1, 2, 1), (32, 1, 3, 1), (8, 4, 1, 5))
    )
    strip = zlib.compress(bytes(rows * side * samples * bits // 8), 1)
    strip += bytes(len(strip) % 2)
    count = -(-side // rows)
    tables = [[8] * count, [len(strip)] * count]
    starts = [8 + len(strip), 8 + len(strip) + 4 * count]
    widths = starts[1] + 4 * count  # of the samples
    body = strip + b"".join(struct.pack(f"<{count}I", *its) for its in tables)
    body += struct.pack("<4H", *[bits] * 4)
    tags = [
        *((256, 4, 1, side), (257, 4, 1, side)),
        (258, 3, samples, widths if samples > 2 else bits),
        *((259, 3, 1, 8), (262, 3, 1, colours), (273, 4, count, starts[0])),
        *((277, 3, 1, samples), (278, 4, 1, rows), (279, 4, count, starts[1]), (339, 3, 1, form)),
    ]
    entries = b"".join(struct.pack("<2H2I", *tag) for tag in tags)
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(body))
        + body
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )
