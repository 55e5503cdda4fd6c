"""Resolves a tfds split string to the rows of the prepared splits that it selects."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mnist_jax.errors import UserError

Shards = Mapping[str, Sequence[int]]  # for each split, the number of examples in each of its files
PLAIN = re.compile(r"([\w-]+)(?:\[(-?\d+)?:(-?\d+)?\])?")


class Rows(NamedTuple):
    """The rows of a prepared split from `start` to before `stop`."""

    split: str
    start: int
    stop: int


def resolve(spec: str, shards: Shards) -> list[Rows]:
    """Returns the rows that a tfds split string selects, in order; none for the empty string.

    Plain 'name' and 'name[from:to]' are resolved here, which avoids importing tfds at every start;
    tfds resolves all other strings.

    Raises:
      UserError: the string is malformed, names an unknown split, reaches beyond the examples of a
        split, or selects no example.
    """
    if not spec:
        return []
    plain = PLAIN.fullmatch(spec)
    try:
        if plain and plain[1] in shards and not spec.endswith("[:]"):
            rows = [_plain(plain[1], plain[2], plain[3], sum(shards[plain[1]]))]
        else:
            rows = _by_tfds(spec, shards)
    except (ValueError, NotImplementedError) as error:
        raise UserError(_complaint(spec, shards, str(error))) from error
    if not sum(max(stop - start, 0) for _, start, stop in rows):
        raise UserError(_complaint(spec, shards, "it selects no example; write '' for no split"))
    return rows


def _plain(split: str, start: str | None, stop: str | None, count: int) -> Rows:
    bounds = (int(start or 0), count if stop is None else int(stop))
    if max(map(abs, bounds)) > count:
        raise ValueError(f"the slice [{bounds[0]}:{bounds[1]}] reaches beyond the examples")
    return Rows(split, *(count + bound if bound < 0 else bound for bound in bounds))


def _by_tfds(spec: str, shards: Shards) -> list[Rows]:
    import tensorflow_datasets as tfds

    infos = {
        name: tfds.core.SplitInfo(name=name, shard_lengths=list(lengths), num_bytes=0)
        for name, lengths in shards.items()
    }
    absolute = tfds.core.ReadInstruction.from_spec(spec).to_absolute(infos)
    return [
        Rows(
            part.splitname,
            part.from_ or 0,
            sum(shards[part.splitname]) if part.to is None else part.to,
        )
        for part in absolute
    ]


def describe(shards: Shards) -> str:
    """Lists the prepared splits for a message: `train (60000 examples), ...`."""
    return ", ".join(f"{name} ({sum(lengths)} examples)" for name, lengths in shards.items())


def _complaint(spec: str, shards: Shards, why: str) -> str:
    return f"the split {spec!r} cannot be read: {why}\nThe splits are {describe(shards)}"
