"""Changed IDX files, read as the preparation of a data set reads them."""

import gzip
import math
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.reliability.fuzzing.guard import Guard
from benchmarks.reliability.fuzzing.mutations import generator, mutated
from benchmarks.reliability.fuzzing.worker import Broken, given
from mnist_jax.data import idx
from mnist_jax.errors import UserError

BOMB = 1 << 28  # bytes


def reading(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: changed headers, sizes and gzip streams, and small files that unpack to large ones.

    What is read must be what the header states.
    """
    del samples
    path = folder / "images-idx3-ubyte.gz"
    guard = Guard(folder)
    zeros = gzip.compress(bytes(BOMB), 1, mtime=0)

    def attempt(number: int) -> str:
        rng = generator("idx", number)
        inner, packed = _made(_sound(rng), rng, zeros)
        path.write_bytes(packed)
        given(packed)
        with guard.watching():
            try:
                found = idx.read(path)
            except UserError:
                return "refused"
        return _checked(found, inner)

    return attempt


def _sound(rng: random.Random) -> bytes:
    """Returns some images or labels of any values."""
    sizes = [rng.randrange(1, 9) for _ in range(rng.choice((1, 3)))]
    header = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)
    return header + rng.randbytes(math.prod(sizes))


def _made(inner: bytes, rng: random.Random, zeros: bytes) -> tuple[bytes | None, bytes]:
    """Returns the content of a file, if it is known, and the gzipped file."""
    kind = rng.random()
    if kind < 0.002:
        return None, gzip.compress(inner, mtime=0) + zeros
    if kind < 0.5:
        inner = mutated(inner, rng)
    elif kind < 0.7:  # any number of dimensions of any sizes
        sizes = [rng.choice((0, 1, 2, 5, 2**16, 2**31, 2**32 - 1)) for _ in range(rng.randrange(9))]
        count = rng.choice((len(sizes), rng.randrange(256)))
        body = bytes(min(int(np.prod([float(n) for n in sizes])), 100))
        inner = bytes([0, 0, 8, count]) + struct.pack(f">{len(sizes)}I", *sizes) + body
    elif kind < 0.72:
        inner = bytes([0, 0, 8, 255]) + bytes(4 * 255)
    packed = gzip.compress(inner, rng.choice((0, 9)), mtime=0)
    return inner, mutated(packed, rng) if kind > 0.6 else packed


def _checked(found: np.ndarray, inner: bytes | None) -> str:
    if inner is not None:
        start = 4 + 4 * inner[3]
        if found.dtype != np.uint8 or found.tobytes() != inner[start:]:
            raise Broken("other values were read than the file holds")
        if list(found.shape) != np.frombuffer(inner[4:start], ">u4").tolist():
            raise Broken(f"the shape {found.shape} is not that of the header")
    return "read"
