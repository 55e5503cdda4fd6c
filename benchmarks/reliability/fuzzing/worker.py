"""One of the processes that try cases; `watch` starts them.

It tells the number of each case before it tries it, and reports what came of them every second.
"""

import faulthandler
import hashlib
import importlib
import json
import mmap
import os
import re
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.fuzzing.samples import enter

TOO_LARGE = 3  # exit status
REPORT = 1.0  # seconds


_given: set[str] = set()  # digests of the inputs since the last report


class Broken(Exception):
    """A case in which the promise did not hold."""


def prepared(target: str, folder: Path, samples: Path) -> Callable[[int], str]:
    """Returns the function of a target, `module:name`, that tries a case."""
    module, _, name = target.partition(":")
    make = getattr(importlib.import_module(f"benchmarks.reliability.fuzzing.{module}"), name)
    return make(folder, samples)


def given(*content: bytes) -> None:
    """Notes the input of a case: those that differ are counted."""
    _given.add(hashlib.sha256(b"\0".join(content)).hexdigest()[:16])


def taken() -> list[str]:
    """Returns the digests of the inputs since the last call."""
    found = [*_given]
    _given.clear()
    return found


def tried(attempt: Callable[[int], str], number: int) -> tuple[str, str]:
    """Tries a case; returns its outcome, and what is wrong with it, if anything."""
    try:
        return attempt(number), ""
    except Broken as error:
        return "lost", str(error)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        own = [its for its in frames if f"{os.sep}mnist_jax{os.sep}" in its.filename]
        where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else at
        return "lost", f"{type(error).__name__} at {where} ({at}): {str(error)[:150]}"


def main() -> None:
    """Tries the cases that the request on standard input names."""
    request = json.load(sys.stdin)
    reports = os.fdopen(os.dup(1), "w")
    errors = os.fdopen(os.dup(2), "w")
    faulthandler.enable(errors)
    samples = Path(request["samples"])
    enter(samples)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    attempt = prepared(request["target"], Path(request["folder"]), samples)
    os.dup2(nowhere, 2)
    with open(request["current"], "r+b") as file:
        current = mmap.mmap(file.fileno(), 8)
    without = set(request["without"])
    numbers = range(*request["numbers"])
    outcomes, lost, count, last = Counter(), [], 0, time.perf_counter()

    def report(number: int) -> None:
        nonlocal outcomes, lost, count, last
        its = {"tried": count, "outcomes": outcomes, "lost": lost, "peak": peak(), "next": number}
        its["inputs"] = taken()
        print(json.dumps(its), file=reports, flush=True)
        outcomes, lost, count, last = Counter(), [], 0, time.perf_counter()

    for number in numbers:
        if number in without:
            continue
        current[:] = struct.pack("q", number)
        outcome, why = tried(attempt, number)
        if peak() > request["memory"]:
            report(number)  # the next process goes on after this case
            os._exit(TOO_LARGE)
        count += 1
        if why:
            lost.append(f"case {number}: {why}")
        else:
            outcomes[outcome] += 1
        if time.perf_counter() - last > REPORT or len(lost) > 50:
            report(number + numbers.step)
    report(numbers.stop)
    os._exit(0)


def peak() -> int:
    """Returns the most memory in bytes that this process has had.

    Not by `getrusage`, whose figure begins with that of the process that started this one.
    """
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) * 1024


if __name__ == "__main__":  # the targets know this module by its own name
    importlib.import_module("benchmarks.reliability.fuzzing.worker").main()
