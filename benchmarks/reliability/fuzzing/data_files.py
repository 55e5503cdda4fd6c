"""Damaged files of the data: the cache, and what tfds has prepared."""

import contextlib
import io
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzzing.mutations import flipped, generator, mutated
from benchmarks.reliability.fuzzing.samples import NAME
from benchmarks.reliability.fuzzing.worker import Broken
from mnist_jax import data
from mnist_jax.errors import UserError

LENGTHS = 64  # lengths to which the cache is cut
SHARDS = 4  # of a shard's bits, one in so many lies in zeros that fill it up


class Copy:
    """A data directory of its own, and what the data set in it must hold."""

    def __init__(self, folder: Path, samples: Path) -> None:
        self.folder, self._source = folder / "data", samples / "data"
        shutil.copytree(self._source, self.folder)
        os.environ["TFDS_DATA_DIR"] = str(self.folder)
        self.cache = self.folder / "mnist_jax" / "specks-1.0.0.cache"
        self.prepared = self.folder / "specks" / "1.0.0"
        self._expected = self._read()

    def renew(self) -> None:
        """Makes all files as they were."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._source, self.folder)

    def _read(self) -> list[Any]:
        found = []
        for split in ("train", "test"):
            its = data.load(NAME, split)
            arrays = [its.images, its.labels]
            found += [(x.dtype.str, x.shape, x.tobytes()) for x in arrays] + [its.class_names]
        return found

    def outcome(self) -> str:
        """Reads the data set: `mended` with a message, `refused`, or `harmless`."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            try:
                found = self._read()
            except UserError as error:
                if "damaged" not in str(error):
                    raise Broken(f"the message does not name the damage: {error}") from error
                return "refused"
        if found != self._expected:
            raise Broken("other examples were read")
        return "mended" if said.getvalue() else "harmless"


def cache(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: each bit of a cache, flipped; then each length, each byte zero, and so on."""
    copy = Copy(folder, samples)
    content = copy.cache.read_bytes()
    extra = [content[: len(content) * i // LENGTHS] for i in range(LENGTHS)]
    extra += [content + b"\0", content[:-1] + b"\n", content[::-1], content * 2]
    half = len(content) // 2
    extra += [bytes(half) + content[half:], content[:half] + bytes(half), b"\n" * 100]

    def attempt(number: int) -> str:
        bits = 8 * len(content)
        if number < bits:
            damaged = flipped(content, number)
        elif number < bits + len(extra):
            damaged = extra[number - bits]
        else:
            damaged = mutated(content, generator("cache", number))
        copy.cache.write_bytes(damaged)
        return "the same" if damaged == content else copy.outcome()

    return attempt


def bits_of_cache(samples: Path) -> int:
    """Returns how many cases of `cache` are flipped bits."""
    return 8 * (samples / "data" / "mnist_jax" / "specks-1.0.0.cache").stat().st_size


def prepared(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: what tfds has prepared, damaged anywhere, with the cache removed."""
    copy = Copy(folder, samples)

    def attempt(number: int) -> str:
        rng = generator("prepared", number)
        copy.renew()
        copy.cache.unlink()
        _damage(copy.prepared, rng)
        return copy.outcome()

    return attempt


def _damage(folder: Path, rng: random.Random) -> None:
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    path, other = rng.sample(files, 2)
    content = path.read_bytes()
    kind = rng.random()
    if kind < 0.05:
        path.unlink()
    elif kind < 0.1:
        path.write_bytes(b"")
    elif kind < 0.2:  # swapped
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif kind < 0.25:
        path.write_bytes(content[: rng.randrange(len(content))])
    elif kind < 0.3:
        at = 512 * rng.randrange(len(content) // 512 + 1)
        path.write_bytes(content[:at] + bytes(len(content[at : at + 512])) + content[at + 512 :])
    elif kind < 0.7:
        path.write_bytes(flipped(content, rng.randrange(8 * _used(content, rng))))
    else:
        used = _used(content, rng)
        path.write_bytes(mutated(content[:used], rng) + content[used:])


def _used(content: bytes, rng: random.Random) -> int:
    """Returns up to which byte a file is changed: mostly, not in the zeros that fill it up."""
    used = len(content.rstrip(b"\0"))
    return len(content) if rng.randrange(SHARDS) == 0 else used
