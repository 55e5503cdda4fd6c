"""What was found, part by part, each with what it was measured on; kept as JSON."""

from pathlib import Path
from typing import Any

from benchmarks import measured
from benchmarks.peers.networks import NETWORKS
from mnist_jax.errors import UserError

PARTS = (*NETWORKS, "recipe", "whole")
Found = dict[str, Any]  # what is kept as JSON


def begin(file: Path | None, *, quick: bool) -> Found:
    """What `file` holds, to be gone on with; nothing found yet where there is none.

    Raises:
      UserError: it was made with `--quick`, and this is not, or the other way round.
    """
    if file is not None and file.exists():
        found = measured.read(file)
        if found["quick"] != quick:
            raise UserError(f"--json: {file} was made {'with' if not quick else 'without'} --quick")
        return found | {"left_out": []}
    return {
        "quick": quick,
        "conditions": {},  # by part
        "incomplete": [],  # parts that lack rounds or contestants
        "left_out": [],  # for want of time
        "networks": {},
        "recipe": None,
        "whole": {},
    }


def require_same(found: Found, conditions: dict[str, Any]) -> None:
    """Raises UserError where a part was measured on other hardware, or with other versions."""
    for part, its in found["conditions"].items():
        for name in ("device", "versions"):
            if its[name] != conditions[name]:
                raise UserError(
                    f"--only: {part} was measured with {its[name]}, and here is "
                    f"{conditions[name]}; measure all parts again, without --only"
                )


def enter(found: Found, part: str, conditions: dict[str, Any], *, complete: bool) -> None:
    """Notes that a part is about to be measured, anew if it was before."""
    found["conditions"][part] = conditions
    found["incomplete"] = [other for other in found["incomplete"] if other != part]
    if not complete:
        found["incomplete"].append(part)


def is_complete(found: Found) -> bool:
    """Whether the README files may show it."""
    missing = set(PARTS) - set(found["conditions"])
    return not (found["quick"] or missing or found["incomplete"])
