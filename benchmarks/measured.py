"""What was measured, kept as JSON in benchmarks/measured/ with what it was measured on.

A script that measures saves here; the tables in the two README files are written from these files
alone, so that a table can be made again without measuring again.
"""

import datetime
import json
from pathlib import Path
from typing import Any

from benchmarks import readme
from mnist_jax.training import provenance

FOLDER = readme.ROOT / "benchmarks" / "measured"


def conditions() -> dict[str, Any]:
    """Date, hardware, versions and commit of what is being measured; ask at the start."""
    return {
        "date": datetime.date.today().isoformat(),
        "device": provenance.device(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def save(found: dict[str, Any], file: Path) -> None:
    """Writes what was measured; `found["conditions"]` says on what."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n")


def load(name: str) -> dict[str, Any]:
    """What benchmarks/measured/<name>.json holds."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def sentence(conditions: dict[str, Any], *packages: str) -> str:
    """The conditions in words, for under a table; of the versions those of `packages`."""
    versions = conditions["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in packages or ("jax",))
    return (
        f"{conditions['device']}. Python {versions['python']}, {named}. "
        f"{conditions['date']}, commit {conditions['commit']}."
    )
