"""Keeps the decoded examples of a data set in one checksummed file, so that starts decode nothing.

The file consists of a line of JSON, a line with the SHA-256 of that JSON, and the concatenated
bytes of the arrays, whose SHA-256 is in the JSON. Both digests are checked before any byte is used.
The arrays are then mapped into memory, not read. A cache is only ever replaced as a whole, so that
what is mapped does not change.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import mmap
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_jax import starved
from mnist_jax.data.catalog import Dataset, own_dir
from mnist_jax.data.lock import exclusive
from mnist_jax.data.splits import Shards
from mnist_jax.errors import UserError

if TYPE_CHECKING:
    from mnist_jax.data.records import Prepared

HEAD = re.compile(rb"(.*\n)([0-9a-f]{64})\n")
HEAD_BYTES = 16 << 20  # upper bound on a line of the header
BLOCK_BYTES = 16 << 20  # of images that are decoded and written at a time
Arrays = Mapping[str, tuple[np.ndarray, np.ndarray]]
READING = threading.Lock()  # so that a file is read once, even if two threads ask for it


@dataclass(frozen=True, eq=False)
class Decoded:
    """All examples of a data set, in tfds' order.

    `arrays` maps each split to its images `[n, height, width, channels]` uint8 and its labels
    `[n]` int32, both read-only. `shards` maps each split to the number of examples in each of
    tfds' files.
    """

    arrays: Arrays
    shards: Shards
    class_names: tuple[str, ...]


class _Damaged(Exception):
    """Raised if the content of the cache does not match its digests, or is incomplete."""


def decoded(dataset: Dataset) -> Decoded:
    """Returns the data set from its cache, which is first rebuilt if it is missing or damaged.

    Raises:
      UserError: the cache cannot be read or rebuilt.
    """
    path = path_of(dataset)
    try:
        return _read(dataset, path)
    except (FileNotFoundError, NotADirectoryError, _Damaged):
        pass
    with exclusive(dataset):
        try:
            return _read(dataset, path)  # another process may have filled it meanwhile
        except FileNotFoundError:
            pass
        except _Damaged as error:
            print(f"{path} is damaged and will be rebuilt: {error}", file=sys.stderr)
        _fill(dataset, path)
        return _read(dataset, path)


def read_ahead(dataset: Dataset) -> None:
    """Starts reading an existing cache in a thread, so that `decoded` finds it in memory.

    Errors are ignored here; `decoded` meets and reports them.
    """

    def read() -> None:
        with contextlib.suppress(OSError, UserError, _Damaged):
            _read(dataset, path_of(dataset))

    threading.Thread(target=read, name="read_ahead", daemon=True).start()


def path_of(dataset: Dataset) -> Path:
    """Returns the path of the data set's cache."""
    return own_dir() / f"{dataset.label}.cache"


def _read(dataset: Dataset, path: Path) -> Decoded:
    try:
        stat = path.stat()
        with READING:
            return _read_version(dataset, path, (stat.st_ino, stat.st_mtime_ns, stat.st_size))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        if lack := starved.shortage(error):
            raise UserError(f"{path} cannot be read: {starved.explained(lack)}") from error
        raise UserError(f"{path} cannot be read: {error}. Correct that, or remove it") from error


# Memoised on the file's identity, because a run loads its splits one by one from the same file.
@functools.lru_cache(maxsize=2)
def _read_version(dataset: Dataset, path: Path, version: tuple[int, int, int]) -> Decoded:
    del version
    with path.open("rb") as file:
        head = HEAD.match(file.readline(HEAD_BYTES) + file.readline(HEAD_BYTES))
        if not head:
            raise _Damaged(f"its header is incomplete (the file has {path.stat().st_size} bytes)")
        _check("header", head[2].decode(), _sha256(head[1]))
        fields = json.loads(head[1])
        _check("content", fields["sha256"], hashlib.file_digest(file, "sha256").hexdigest())
        # Mapped, so that only what is used is in memory, and only as long as there is room.
        body = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[head.end() :]
    if (fields["name"], fields["version"]) != (dataset.name, dataset.version):
        raise _Damaged(f"it holds {fields['name']} {fields['version']}")
    if dataset.code and fields.get("code") not in (None, dataset.code):
        raise UserError(
            f"config.data.name: {path} holds {dataset.name} {dataset.version} as another "
            f"{dataset.builder} has made it. Raise VERSION in that class, or remove this file and "
            f"{path.parent.parent / dataset.folder}, so that the examples are made anew"
        )
    if dataset.class_names and dataset.class_names != tuple(fields["class_names"]):
        raise _Damaged("it has other class names")
    if dataset.sha256:
        _check("data set", dataset.sha256, fields["sha256"])
    return Decoded(_split(body, fields), fields["shards"], tuple(fields["class_names"]))


def _check(what: str, expected: str, found: str) -> None:
    if found != expected:
        raise _Damaged(f"{what} expected sha256 {expected}, found {found}")


def _split(body: memoryview, fields: dict) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Splits the body into the arrays of each split; the images are views of the body."""
    arrays, offset = {}, 0
    pixels = int(np.prod(fields["shape"]))
    for split, shards in fields["shards"].items():
        count = sum(shards)
        images = np.frombuffer(body, np.uint8, count * pixels, offset)
        labels = np.frombuffer(body, "<i4", count, offset + images.nbytes).astype(np.int32)
        labels.flags.writeable = False
        arrays[split] = images.reshape(count, *fields["shape"]), labels
        offset += images.nbytes + labels.nbytes
    return arrays


def _fill(dataset: Dataset, path: Path) -> None:
    """Writes the cache from the data that tfds prepared, preparing them again if damaged."""
    from mnist_jax.data import builder, records  # only needed here, and they import tfds

    builder.prepare(dataset)
    # Tried twice: where the system refuses to look at a file once, tfds takes it for missing.
    with contextlib.suppress(records.DamagedRecords):
        return _write(dataset, path)
    try:
        _write(dataset, path)
    except records.DamagedRecords as error:
        aside = builder.set_aside(dataset)
        print(
            f"{error}\nset aside as {aside}; the data set will be prepared again", file=sys.stderr
        )
        builder.prepare(dataset)
        _write(dataset, path)


def _write(dataset: Dataset, path: Path) -> None:
    """Writes the cache a block at a time; an interrupted write leaves no file at `path`.

    Raises:
      DamagedRecords: the prepared data cannot be read or are not those of `dataset`.
      UserError: the file cannot be written, or the system refuses to read the prepared data.
    """
    from mnist_jax.data.records import DamagedRecords, Prepared

    prepared = Prepared(dataset, whole=True)
    sha256 = hashlib.sha256()
    fields = {
        "name": dataset.name,
        "version": dataset.version,
        "code": dataset.code,
        "shape": prepared.fields.shape,
        "class_names": prepared.fields.class_names,
        "shards": prepared.shards,
        "sha256": sha256.hexdigest(),  # as long as the digest that replaces it
    }
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(_head(fields))
            for block in _blocks(prepared):
                sha256.update(block)
                file.write(block)
            fields["sha256"] = sha256.hexdigest()
            if dataset.sha256 not in (None, fields["sha256"]):
                raise DamagedRecords(
                    f"{prepared.folder} is damaged: expected sha256 {dataset.sha256}, "
                    f"found {fields['sha256']}"
                )
            file.seek(0)
            file.write(_head(fields))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error}. "
            "Free space there, or set TFDS_DATA_DIR to another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # which would hide what went wrong
            partial.unlink(missing_ok=True)


def _head(fields: dict) -> bytes:
    line = json.dumps(fields).encode() + b"\n"
    return line + _sha256(line).encode() + b"\n"


def _blocks(prepared: Prepared) -> Iterator[memoryview]:
    """Decodes each split and yields the bytes of its images, in blocks, and then of its labels."""
    size = max(1, BLOCK_BYTES // int(np.prod(prepared.fields.shape)))
    for split in prepared.shards:
        records = prepared.records(split)
        labels = []
        for start in range(0, len(records), size):
            images, some = records.fetch(range(start, min(start + size, len(records))))
            labels.append(some.astype("<i4"))
            yield images.reshape(-1).data
        yield from (block.data for block in labels)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
