"""Damaged files of the data: the cache, and what tfds has prepared."""

import contextlib
import hashlib
import io
import itertools
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzzing import taken_up
from benchmarks.reliability.fuzzing.mutations import flipped, generator, mutated
from benchmarks.reliability.fuzzing.samples import NAME
from benchmarks.reliability.fuzzing.worker import Broken
from mnist_jax import data
from mnist_jax.errors import UserError

LENGTHS = 64  # lengths to which the cache is cut
SWAPPED = b"the content of another file"
PADDING_EVERY = 4  # one damage in so many may lie in the zeros that fill a file up


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
    flips = (flipped(content, bit) for bit in range(8 * len(content)))
    random_ones = (mutated(content, generator("cache", n)) for n in itertools.count())
    damages = Distinct(itertools.chain(flips, extra, random_ones), without=content)

    def attempt(number: int) -> str:
        copy.cache.write_bytes(damages[number])
        return copy.outcome()

    return attempt


class Distinct:
    """The items of an endless iterator, without those that were there before."""

    def __init__(self, items: Iterator[Any], without: Any) -> None:
        self._items, self._seen, self._found = items, {without}, []

    def __getitem__(self, number: int) -> Any:
        while len(self._found) <= number:
            item = next(self._items)
            if item not in self._seen:
                self._seen.add(item)
                self._found.append(item)
        return self._found[number]


def bits_of_cache(samples: Path) -> int:
    """Returns how many cases of `cache` are flipped bits."""
    return 8 * (samples / "data" / "mnist_jax" / "specks-1.0.0.cache").stat().st_size


def prepared(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: what tfds has prepared, damaged anywhere, with the cache removed."""
    copy = Copy(folder, samples)
    files = [path for path in sorted(copy.prepared.iterdir()) if not path.name.startswith(".")]
    contents = {path.name: path.read_bytes() for path in files}

    def seeds() -> Iterator[int]:  # of damages that differ
        seen = {_digest({})}
        for seed in itertools.count():
            if (digest := _digest(_damage(contents, generator("prepared", seed)))) not in seen:
                seen.add(digest)
                yield seed

    numbers = Distinct(seeds(), without=-1)

    def attempt(number: int) -> str:
        copy.renew()
        copy.cache.unlink()
        taken_up.apply(copy.prepared, _damage(contents, generator("prepared", numbers[number])))
        return copy.outcome()

    return attempt


def _digest(change: taken_up.Change) -> str:
    its = [
        (name, new is None, hashlib.sha256(new or b"").hexdigest()) for name, new in change.items()
    ]
    return json.dumps(its, sort_keys=True)


def _damage(contents: dict[str, bytes], rng: random.Random) -> taken_up.Change:
    """Returns the files that a random damage changes, with their new contents."""
    name, other = rng.sample([*contents], 2)
    new = _damaged(contents[name], rng)
    change = {name: contents[other], other: contents[name]} if new == SWAPPED else {name: new}
    return {name: new for name, new in change.items() if new != contents[name]}


def _damaged(content: bytes, rng: random.Random) -> bytes | None:
    kind = rng.random()
    if kind < 0.05:
        return None
    if kind < 0.1:
        return b""
    if kind < 0.2:
        return SWAPPED
    if kind < 0.25:
        return content[: rng.randrange(len(content))]
    if kind < 0.3:
        at = 512 * rng.randrange(len(content) // 512 + 1)
        return content[:at] + bytes(len(content[at : at + 512])) + content[at + 512 :]
    used = _used(content, rng)
    if kind < 0.7:
        return flipped(content, rng.randrange(8 * used))
    return mutated(content[:used], rng) + content[used:]


def _used(content: bytes, rng: random.Random) -> int:
    """Returns up to which byte a file is changed: mostly, not in the zeros that fill it up."""
    used = len(content.rstrip(b"\0"))
    return len(content) if rng.randrange(PADDING_EVERY) == 0 else used
