"""The record of the measurements, part by part, which is saved as JSON."""

from pathlib import Path
from typing import Any

from benchmarks import measured
from benchmarks.peers.networks import NETWORKS
from mnist_jax.errors import UserError

PARTS = (*NETWORKS, "recipe", "whole")
Found = dict[str, Any]  # measurements, as saved in JSON


def begin(file: Path | None, *, quick: bool) -> Found:
    """Returns the record in `file`, to be continued, or an empty record if there is no file.

    Raises:
      UserError: exactly one of the file and this run was made with `--quick`.
    """
    if file is not None and file.exists():
        found = measured.read(file)
        if found["quick"] != quick:
            how = "without" if quick else "with"
            raise UserError(f"--json: {file} was made {how} --quick; name another file")
        return found | {"left_out": []}
    return {
        "quick": quick,
        "conditions": {},  # date, hardware, versions and commit, by part
        "incomplete": [],  # parts that lack rounds or contestants
        "left_out": [],  # parts that were not started for lack of time
        "networks": {},
        "recipe": None,
        "whole": {},
    }


def require_same(found: Found, conditions: dict[str, Any]) -> None:
    """Checks that all recorded parts were measured with the hardware and versions of `conditions`.

    Raises:
      UserError: a part was measured under other conditions than `conditions`.
    """
    for part, its in found["conditions"].items():
        for name in ("device", "versions"):
            if its[name] != conditions[name]:
                raise UserError(
                    f"--only: {part} was measured with {its[name]}, but this run has "
                    f"{conditions[name]}; measure all parts again, without --only"
                )


def enter(found: Found, part: str, conditions: dict[str, Any], *, complete: bool) -> None:
    """Records that a part is about to be measured, replacing an earlier measurement of it."""
    found["conditions"][part] = conditions
    found["incomplete"] = [other for other in found["incomplete"] if other != part]
    if not complete:
        found["incomplete"].append(part)


def is_complete(found: Found) -> bool:
    """Returns True if the record is complete, so that the README files may show it."""
    missing = set(PARTS) - set(found["conditions"])
    return not (found["quick"] or missing or found["incomplete"])
