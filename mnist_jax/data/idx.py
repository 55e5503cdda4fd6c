"""Reads the IDX format, in which MNIST and its relatives are published."""

import gzip
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mnist_jax.errors import UserError

UNSIGNED_BYTE = 8
MOST_DIMENSIONS = 8
MOST_BYTES = 1 << 30  # unpacked; the largest known file, of EMNIST, has half of that


def read(path: Path | zipfile.Path) -> np.ndarray:
    """Returns the uint8 array in a gzipped IDX file, with the shape that its header states.

    Unpacks one byte more than the header states at most, so that a small file cannot fill the
    memory.

    Args:
      path: a file, or a member of a zip file.

    Raises:
      UserError: there is no such file, or it is not a complete gzipped IDX file of unsigned bytes.
    """
    try:
        with path.open("rb") as file, gzip.open(file) as unzipped:
            shape = _shape(path, unzipped)
            size = math.prod(shape)
            if size > MOST_BYTES:
                raise UserError(
                    f"{path} states the shape {shape}; at most {MOST_BYTES:,} bytes are unpacked"
                )
            content = unzipped.read(size + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a complete gzip file: {error}") from error
    if len(content) != size:
        holds = f"{len(content)} bytes" if len(content) < size else "more bytes"
        raise UserError(f"{path} states the shape {shape} but holds {holds}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(path: Path | zipfile.Path, unzipped: gzip.GzipFile) -> list[int]:
    """Reads the header."""
    start = unzipped.read(4)
    if len(start) < 4 or start[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise UserError(
            f"{path} is not an IDX file of unsigned bytes: it starts with {start.hex()}"
        )
    count = start[3]
    sizes = unzipped.read(4 * count)
    if len(sizes) < 4 * count or count > MOST_DIMENSIONS:
        raise UserError(f"{path} is not a complete IDX file: it states {count} dimensions")
    shape = np.frombuffer(sizes, ">u4").tolist()
    if not all(shape):
        raise UserError(f"{path} states the shape {shape}: it is empty")
    return shape
