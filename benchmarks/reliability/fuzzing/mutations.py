"""Random changes of bytes and of JSON values, each a function of the number of a case."""

import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

OUTSIDE = "/OUTSIDE"  # `workdirs` puts the path of a folder in its place
CLIMBING = (  # names of a file outside of a workdir, seen from it and from the folders in it
    *("../" * levels + "outside/x" for levels in (1, 2, 3)),
    *("a/../../outside/x", "../new", "..", OUTSIDE, f"{OUTSIDE}/x", f"{OUTSIDE}/new"),
)
ODD = ("x\0y", "~root", "con:aux")  # names
TEXTS = (
    "",
    " ",
    "0",
    "\x00",
    "\ud800",
    "\U0001d7d8",
    "\u202e",
    "a" * 5000,
    "<script>",
    "nan",
    "-1",
    "1e999",
    "os:system",
    "builtins:eval",
    "planted:Planted",
    "populations.planted:run",
    "../x:y",
    ":",
    "a:",
    "train[:10%]",
    "test",
    "%s%n",
    "{}",
    "\n",
    "best",
    "latest",
)
NUMBERS = (
    0,
    -1,
    1,
    2,
    -0.0,
    0.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    2**31,
    2**32,
    2**63,
    -(2**63),
    10**40,
    10**400,
    1e-320,
    True,
    False,
)
TOKENS = (b"null", b"NaN", b"[", b"]", b"{", b"}", b'"', b",", b":", b"\\u0000", b"\xff", b"\n")


def generator(target: str, number: int) -> random.Random:
    """Returns the generator of a case, the same in every run."""
    return random.Random(f"{target}/{number}")


# Bytes


def flipped(content: bytes, bit: int) -> bytes:
    """Returns the bytes with one bit flipped."""
    found = bytearray(content)
    found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Returns other bytes: those after one to four changes, each anywhere."""
    found = content
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        found = rng.choice(CHANGES)(found, rng)
    return mutated(content, rng) if found == content else found


def _flip(content: bytes, rng: random.Random) -> bytes:
    return flipped(content, rng.randrange(8 * len(content))) if content else content


def _set(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return bytes([rng.randrange(256)])
    at = rng.randrange(len(content))
    return content[:at] + bytes([rng.choice((0, 1, 127, 128, 254, 255))]) + content[at + 1 :]


def _word(content: bytes, rng: random.Random) -> bytes:
    """Overwrites two or four bytes by an extreme number."""
    at = rng.randrange(len(content) + 1)
    form = rng.choice((">I", "<I", ">H", "<H"))
    top = 2 ** (8 * struct.calcsize(form))
    word = struct.pack(form, rng.choice((0, 1, top - 1, top // 2, rng.randrange(top))))
    return content[:at] + word + content[at + len(word) :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _remove(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.randrange(1, 40) :]


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    more = rng.choice(
        (rng.randbytes(rng.randrange(1, 20)), bytes(rng.randrange(1, 600)), rng.choice(TOKENS))
    )
    return content[:at] + more + content[at:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    end = at + rng.randrange(1, 60)
    return content[:end] + content[at:end] * rng.choice((1, 2, 50)) + content[end:]


def _zero(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    gone = content[at : at + rng.randrange(1, 600)]
    return content[:at] + bytes(len(gone)) + content[at + len(gone) :]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _flip,
    _set,
    _word,
    _cut,
    _remove,
    _insert,
    _repeat,
    _zero,
)


def with_checksums(content: bytes) -> bytes:
    """Returns a PNG file whose chunks have the right checksums, so that their contents are read."""
    found, at = content[:8], 8
    while at + 12 <= len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        body = content[at + 4 : at + 8 + size]
        found += content[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return found + content[at:]


# JSON


def json_text(value: Any, rng: random.Random) -> bytes:
    """Returns the text of a JSON value that was changed in one to three places, or in its bytes."""
    kind = rng.random()
    if kind < 0.25:
        return mutated(json.dumps(value, indent=rng.choice((None, 2))).encode(), rng)
    if kind < 0.28:
        return rng.choice(
            (
                b"[" * 100_000,
                b'{"a":' * 50_000,
                b"",
                b"\xef\xbb\xbf{}",
                b"\xff\xfe",
                b"1" * 5000,
                b'"\\ud800"',
                b"[1e999]",
                b"nul",
            )
        )
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = json_changed(value, rng)
    text = json.dumps(value)
    if kind < 0.33 and text.startswith("{"):  # a name that is there twice: the last one counts
        text = text[:-1] + ", " + json.dumps(json_changed(value, rng))[1:]
    return text.encode()


def json_changed(value: Any, rng: random.Random) -> Any:
    """Returns a JSON value, changed in one place; others share what is not changed."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        name = rng.choice([*value])
        kind = rng.random()
        if kind < 0.08:
            return {its: value[its] for its in value if its != name}
        if kind < 0.14:
            return {(rng.choice(TEXTS) if its == name else its): value[its] for its in value}
        if kind < 0.18:
            return {**value, rng.choice(TEXTS): any_value(rng)}
        if kind < 0.22:
            return {**value, name: value[rng.choice([*value])]}
        return {**value, name: json_changed(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.1:
            return value[:at] + value[at + 1 :]
        if kind < 0.2:
            return [*value[:at], value[rng.randrange(len(value))], *value[at:]]
        if kind < 0.25:
            return value * rng.choice((2, 40))
        return [*value[:at], json_changed(value[at], rng), *value[at + 1 :]]
    if isinstance(value, str) and value and rng.random() < 0.4:
        return mutated(value.encode(errors="surrogatepass"), rng).decode(errors="replace")
    if type(value) in (int, float) and rng.random() < 0.5:
        return _other_number(value, rng)
    return any_value(rng)


def _other_number(value: Any, rng: random.Random) -> Any:
    return rng.choice((value + 1, -value, value * 1000, value // 3, str(value), [value]))


def any_value(rng: random.Random) -> Any:
    """Returns any JSON value, often an unpleasant one."""
    kind = rng.randrange(7)
    if kind == 0:
        return None
    if kind < 3:
        return rng.choice(NUMBERS)
    if kind < 5:
        return rng.choice((*TEXTS, *CLIMBING, *ODD))
    if kind == 5:
        return [any_value(rng) for _ in range(rng.randrange(3))]
    if rng.random() < 0.1:
        deep: Any = 1
        for _ in range(500):
            deep = [deep] if rng.random() < 0.5 else {"a": deep}
        return deep
    return {rng.choice(TEXTS): any_value(rng) for _ in range(rng.randrange(3))}
