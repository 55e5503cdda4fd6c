"""Counts the instructions in the program of a step that XLA compiled, by kind."""

import math
import re
from collections import defaultdict
from typing import Any

OPCODE = re.compile(r"^\s*(?:ROOT )?%\S+ = (.+?) ([\w-]+)\(")
ARRAY = re.compile(r"\b(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "after-all"}
KINDS = ("convolution", "dot", "while", "gather", "scatter", "reduce-window", "reduce")


def instructions(text: str) -> list[dict[str, Any]]:
    """Counts the instructions that run in a step, by kind.

    The kind of a fusion is that of its most expensive operation, or else of its last one.

    Args:
      text: the optimized HLO of a program with a loop over steps.

    Returns:
      Rows with the keys `kind`, `count` and `bytes` (the bytes written), largest first.
    """
    computations = _computations(text)
    loop = max(re.findall(r"body=%?([\w.-]+)", text), key=lambda name: len(computations[name]))
    found: dict[str, list[int]] = defaultdict(list)
    for line in computations[loop]:
        matched = OPCODE.match(line)
        if matched and matched[2] not in FREE:
            found[_kind(line, matched[2], computations)].append(_bytes(matched[1]))
    rows = [{"kind": k, "count": len(v), "bytes": sum(v)} for k, v in found.items()]
    return sorted(rows, key=lambda row: -row["bytes"])


def _computations(text: str) -> dict[str, list[str]]:
    """Returns the lines of each computation in the HLO, by the name of the computation."""
    blocks = re.findall(r"^(?:ENTRY )?%?([\w.-]+) \([^\n]*\{\n(.*?)^\}", text, flags=re.M | re.S)
    return {name: body.splitlines() for name, body in blocks}


def _kind(line: str, opcode: str, computations: dict[str, list[str]]) -> str:
    if opcode not in ("fusion", "call"):
        return opcode
    called = re.search(r"(?:calls|to_apply)=%?([\w.-]+)", line)
    inner = computations.get(called[1], []) if called else []
    opcodes = [m[2] for m in map(OPCODE.match, inner) if m and m[2] not in FREE]
    costly = next((kind for kind in KINDS if kind in opcodes), None)
    name = f"{opcode}: {costly or (opcodes[-1] if opcodes else 'none')}"
    library = re.search(r'"fusion_config":\{"kind":"([^"]+)"', line)
    return name + (f" ({library[1].strip('_')})" if library else "")


def _bytes(shape: str) -> int:
    bits = [
        int(m[1] or 8) * math.prod(map(int, filter(None, m[2].split(","))))
        for m in ARRAY.finditer(shape)
    ]
    return sum(bits) // 8
