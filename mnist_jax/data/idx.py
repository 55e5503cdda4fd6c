"""Reads the IDX format, in which MNIST and its relatives are published."""

import gzip
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mnist_jax.errors import UserError

UNSIGNED_BYTE = 8


def read(path: Path | zipfile.Path) -> np.ndarray:
    """Returns the uint8 array in a gzipped IDX file, with the shape that its header states.

    Args:
      path: a file, or a member of a zip file.

    Raises:
      UserError: there is no such file, or it is not a complete gzipped IDX file of unsigned bytes.
    """
    try:
        with path.open("rb") as file, gzip.open(file) as unzipped:
            content = unzipped.read()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a complete gzip file: {error}") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise UserError(
            f"{path} is not an IDX file of unsigned bytes: it starts with {content[:4].hex()}"
        )
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], ">u4").tolist()
    if len(content) - start != math.prod(shape):
        raise UserError(f"{path} states the shape {shape} but holds {len(content) - start} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
