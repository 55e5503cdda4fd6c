"""Saves measurements as JSON in benchmarks/measured/, with the hardware and versions used.

The tables in the two README files are written from these files alone, so that a table can be
rewritten without measuring again. The options for this are `--json`, `--from` and `--write`.
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
Found = dict[str, Any]  # measurements; `conditions` holds the date, hardware, versions and commit


def conditions() -> dict[str, Any]:
    """Returns the date, hardware, versions and commit; call it when a measurement starts."""
    return {
        "date": datetime.date.today().isoformat(),
        "device": provenance.device(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def define(parser: ArgumentParser, quick: str, write: str) -> None:
    """Adds the options of a script that measures; `quick` and `write` are their help texts."""
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the measurements")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="use the measurements that --json saved, instead of measuring",
    )
    parser.add_argument("--write", action="store_true", help=write)


def find(
    arguments: Namespace, measure: Callable[[], Found], table: Callable[[Found], str]
) -> Found:
    """Returns the measurements, taken by `measure` or read from the file that `--from` names.

    Prints them as a table, and saves them if `--json` is given.

    Raises:
      UserError: the file that `--from` names does not exist.
    """
    found = read(arguments.source) if arguments.source else measure()
    print(table(found))
    if arguments.json:
        save(found, arguments.json)
    return found


def read(file: Path) -> Found:
    """Reads measurements that `--json` saved.

    Raises:
      UserError: the file does not exist.
    """
    if not file.is_file():
        raise UserError(f"--from: there is no file {file}; measure with --json={file} to write it")
    return json.loads(file.read_text())


def save(found: Found, file: Path) -> None:
    """Writes measurements to a JSON file, creating its folder if necessary."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n")


def keep(name: str, found: Found, text: str) -> None:
    """Saves benchmarks/measured/<name>.json, and puts `text` into benchmarks/README.md.

    Raises:
      ValueError: benchmarks/README.md has no marks `<!-- name: start -->` and `<!-- name: end -->`.
    """
    save(found, FOLDER / f"{name}.json")
    readme.replace(name, text, file="benchmarks/README.md")


def load(name: str) -> Found:
    """Reads benchmarks/measured/<name>.json."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def sentence(conditions: dict[str, Any], *packages: str) -> str:
    """Returns the conditions as text to put under a table, with the versions of `packages`."""
    versions = conditions["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in packages or ("jax",))
    return (
        f"{conditions['device']}. Python {versions['python']}, {named}. "
        f"{conditions['date']}, commit {conditions['commit']}."
    )
