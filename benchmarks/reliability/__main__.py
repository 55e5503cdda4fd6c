"""Kills, corrupts, starves and misleads real trainings, and counts what they lose.

  python -m benchmarks.reliability kills              one part, printed
  python -m benchmarks.reliability kills faults       several
  python -m benchmarks.reliability all --write        all, which takes hours; updates RELIABILITY.md
  python -m benchmarks.reliability kills --quick      some cases of each kind, in seconds
  python -m benchmarks.reliability --write            updates RELIABILITY.md from what was measured

Exits with status 1 if anything was lost. The parts need Linux, some of them a C compiler, and
`determinism` a second Python: OTHER_PYTHON=.venv-3.11/bin/python, with the project installed.
"""

import argparse
import importlib
import json
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from typing import Any

from benchmarks import measured, readme
from benchmarks.reliability import page
from benchmarks.reliability.row import Row

NAME = "reliability"


def main() -> int:
    """Measures the parts that the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*page.PARTS, "all"], metavar="PART")
    parser.add_argument("--quick", action="store_true", help="some cases of each kind, in seconds")
    parser.add_argument("--write", action="store_true", help="update RELIABILITY.md")
    arguments = parser.parse_args()
    if arguments.write and arguments.quick:
        parser.error("--write: is for all cases, without --quick")
    names = list(page.PARTS) if "all" in arguments.parts else arguments.parts
    lost = 0
    for name in names:
        found = measure(name, quick=arguments.quick)
        print(page.table({name: found}), flush=True)
        lost += sum(len(row["lost"]) for row in found["rows"])
        if arguments.write:
            _keep(name, found)
    if arguments.write:
        page.write(measured.load(NAME))
    return int(lost > 0)


def measure(name: str, *, quick: bool) -> dict[str, Any]:
    """Runs one part; returns its rows, its seconds, and where and when they were measured.

    What ends a part is a loss, so that the other parts are measured.
    """
    part = importlib.import_module(f"benchmarks.reliability.{name}")
    conditions, code, started = measured.conditions(), _code(), time.perf_counter()
    try:
        rows = part.measure(quick=quick)
    except Exception as error:
        traceback.print_exc()
        rows = [Row(f"`{name}`", 0, "not measured", [f"{name} ended: {error!r}"])]
    if _code() != code:
        rows.append(Row("the code", 1, "", ["it was changed while it was measured"]))
    for row in rows:
        for line in row.lost:
            print(f"LOST  {line}", flush=True)
    seconds = time.perf_counter() - started
    return {"conditions": conditions, "seconds": seconds, "rows": [asdict(row) for row in rows]}


def _code() -> str:
    """Returns what the code is: the commit, and what differs from it or is not in it."""
    written = (":!RELIABILITY.md", ":!benchmarks/measured")  # by a measurement
    words = (("rev-parse", "HEAD"), ("diff", "HEAD", "--", *written), ("status", "-s", *written))
    git = ("git", "-C", str(readme.ROOT))
    return "".join(
        subprocess.run([*git, *its], capture_output=True, text=True).stdout for its in words
    )


def _keep(name: str, found: dict[str, Any]) -> None:
    path = measured.FOLDER / f"{NAME}.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    measured.save({**before, name: found}, path)


if __name__ == "__main__":
    sys.exit(main())
