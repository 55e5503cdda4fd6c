"""Damaged files of checkpoints, read in one process."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.reliability.fuzzing.mutations import flipped
from benchmarks.reliability.fuzzing.worker import Broken
from mnist_jax.training import checkpoint

BLOCKS = (512, 4096)  # bytes
LENGTHS = 32  # lengths to which each file is cut


def smallest(samples: Path) -> Path:
    """Returns the folder of the smallest checkpoint that the format allows."""
    return samples / "tiny" / "checkpoints" / "4"


def files(folder: Path) -> list[Path]:
    """Returns the files in a folder, in an order that names of random digits do not change."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: (str(path.parent), path.stat().st_size, path.name))


def count_of_bits(samples: Path) -> int:
    """Returns how many bits the files of the smallest checkpoint have."""
    return 8 * sum(path.stat().st_size for path in files(smallest(samples)))


def every_bit(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: each bit of the smallest checkpoint, flipped."""
    copy = Copy(smallest(samples), folder)
    contents = {path: path.read_bytes() for path in files(copy.folder / copy.step)}

    def attempt(number: int) -> str:
        path, bit = _place(contents, number)
        path.write_bytes(flipped(contents[path], bit))
        try:
            return copy.outcome()
        finally:
            path.write_bytes(contents[path])

    return attempt


def _place(contents: dict[Path, bytes], number: int) -> tuple[Path, int]:
    """Returns the file and the bit of it that a bit of all files is."""
    for path, content in contents.items():
        if number < 8 * len(content):
            return path, number
        number -= 8 * len(content)
    raise IndexError(number)


class Copy:
    """A copy of a checkpoint, which is to be damaged, and what is in the sound one."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source, self.folder, self.step = source, folder.resolve() / "copies", source.name
        self.renew()
        self._template = template(source)
        self._expected = self._read()

    def renew(self) -> Path:
        """Copies it anew; returns its folder."""
        place = self.folder / self.step
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.source, place)
        return place

    def _read(self) -> tuple[dict[str, bytes], str]:
        return read(self.folder, int(self.step), self._template)

    def outcome(self) -> str:
        """Loads it: `detected`, or `harmless` if all arrays and the record are the same."""
        try:
            found = self._read()
        except checkpoint.DamagedError:
            return "detected"
        if found != self._expected:
            raise Broken("other values were loaded than were saved")
        return "harmless"


def read(folder: Path, step: int, shapes: Any) -> tuple[dict[str, bytes], str]:
    """Loads a checkpoint; returns what is compared: its arrays by their names, and its record."""
    tree, record = checkpoint.load(folder, step, shapes)
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {str(path): _described(leaf) for path, leaf in leaves}, json.dumps(record)


def _described(leaf: Any) -> bytes:
    return f"{leaf.dtype}{leaf.shape}".encode() + np.asarray(leaf).tobytes()


def template(source: Path) -> dict[str, Any]:
    """Returns the tree of shapes of a checkpoint's arrays."""
    sealed = json.loads((source / checkpoint.METADATA).read_text())["custom_metadata"]
    tree: dict[str, Any] = {}
    for name, shape in sealed["shapes"].items():
        *parents, leaf = name.split("/")
        at = tree
        for parent in parents:
            at = at.setdefault(parent, {})
        at[leaf] = jax.ShapeDtypeStruct(tuple(shape), sealed["dtypes"][name])
    return tree


@dataclass(frozen=True)
class Damage:
    """A change of one file: its new content, or None if it is removed."""

    file: int  # in the order of `files`
    what: str
    content: bytes | None


def damages(folder: Path, others: dict[str, Path], lengths: int = LENGTHS) -> Iterator[Damage]:
    """Yields damages of each file of a checkpoint, each of which changes it in another way.

    Args:
      folder: of the checkpoint.
      others: further checkpoints by what they are, whose files replace its own.
      lengths: how many lengths each file is cut to.
    """
    own = [path.read_bytes() for path in files(folder)]
    seen: set[tuple[int, bytes | None]] = {*enumerate(own)}
    for damage in _damages(own, others, lengths):
        if (damage.file, damage.content) not in seen:
            seen.add((damage.file, damage.content))
            yield damage


def _damages(own: list[bytes], others: dict[str, Path], lengths: int) -> Iterator[Damage]:
    theirs = {name: [path.read_bytes() for path in files(its)] for name, its in others.items()}
    for i, content in enumerate(own):
        yield Damage(i, "removed", None)
        yield Damage(i, "extended", content + b"\0")
        if not content:
            continue
        yield Damage(i, "emptied", b"")
        for at in sorted({len(content) * part // lengths for part in range(1, lengths)}):
            yield Damage(i, f"cut to {at} bytes", content[:at])
            yield Damage(i, f"zeros from byte {at} on", content[:at] + bytes(len(content) - at))
        for size in BLOCKS:
            for at in range(0, len(content), size):
                gone = len(content[at : at + size])
                zeros = content[:at] + bytes(gone) + content[at + gone :]
                yield Damage(i, f"{size} bytes of zeros at {at}", zeros)
        for j, other in enumerate(own):
            yield Damage(i, f"in place of it file {j} of its own", other)
        for name, its in theirs.items():
            yield from _exchanged(i, content, name, its)


def _exchanged(i: int, content: bytes, name: str, theirs: list[bytes]) -> Iterator[Damage]:
    for j, other in enumerate(theirs):
        yield Damage(i, f"in place of it file {j} of {name}", other)
        half = len(content) // 2
        if j == i:
            yield Damage(i, f"its second half from {name}", content[:half] + other[half:])
            yield Damage(i, f"its first half from {name}", other[:half] + content[half:])


def others(samples: Path) -> dict[str, Path]:
    """Returns the checkpoints whose files replace those of the newest one of the run."""
    return {
        "the checkpoint before": samples / "run" / "checkpoints" / "6",
        "the other run": samples / "other" / "checkpoints" / "9",
    }


def every_damage(folder: Path, samples: Path) -> Callable[[int], str]:
    """Target: each file of a checkpoint cut, emptied, removed, torn or exchanged."""
    source = samples / "run" / "checkpoints" / "9"
    copy = Copy(source, folder)
    found = list(damages(source, others(samples)))

    def attempt(number: int) -> str:
        its = found[number]
        path = files(copy.renew())[its.file]
        if its.content is None:
            path.unlink()
        else:
            path.write_bytes(its.content)
        try:
            return copy.outcome()
        except Broken as error:
            raise Broken(f"{path.name} {its.what}: {error}") from error

    return attempt


def count_of_damages(samples: Path) -> int:
    """Returns how many cases `every_damage` has."""
    return len(list(damages(samples / "run" / "checkpoints" / "9", others(samples))))
