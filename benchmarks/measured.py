"""What was measured, kept as JSON in benchmarks/measured/ with what it was measured on.

A script that measures saves here; the tables in the two README files are written from these files
alone, so that a table can be made again without measuring again: `--json`, `--from`, `--write`.
"""

import datetime
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import readme
from mnist_jax.errors import UserError
from mnist_jax.training import provenance

FOLDER = readme.ROOT / "benchmarks" / "measured"
Found = dict[str, Any]  # what is kept; `conditions` says on what it was measured


def conditions() -> dict[str, Any]:
    """Date, hardware, versions and commit of what is being measured; ask at the start."""
    return {
        "date": datetime.date.today().isoformat(),
        "device": provenance.device(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def define(parser: ArgumentParser, quick: str, write: str) -> None:
    """The options of a script that measures; `quick` and `write` are their helps."""
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what was measured")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing")
    parser.add_argument("--write", action="store_true", help=write)


def find(
    arguments: Namespace, measure: Callable[[], Found], table: Callable[[Found], str]
) -> Found:
    """What `measure` gives, or `--from` holds; printed as a table, and saved for `--json`.

    Raises:
      UserError: there is no such file.
    """
    found = read(arguments.source) if arguments.source else measure()
    print(table(found))
    if arguments.json:
        save(found, arguments.json)
    return found


def read(file: Path) -> Found:
    """What `--json` kept.

    Raises:
      UserError: there is no such file.
    """
    if not file.is_file():
        raise UserError(f"--from: there is no file {file}; --json={file} writes one")
    return json.loads(file.read_text())


def save(found: Found, file: Path) -> None:
    """Writes what was measured."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n")


def keep(name: str, found: Found, text: str) -> None:
    """Saves benchmarks/measured/<name>.json, and puts `text` at its marks in benchmarks/README.md.

    Raises:
      ValueError: there are no such marks.
    """
    save(found, FOLDER / f"{name}.json")
    readme.replace(name, text, file="benchmarks/README.md")


def load(name: str) -> Found:
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
