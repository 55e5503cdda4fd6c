"""Runs short trainings in hostile environments, and commands with mistakes in them.

  python -m benchmarks.hostile                      all of them, some hundred processes
  python -m benchmarks.hostile --write              writes their counts to benchmarks/README.md
  python -m benchmarks.hostile --only 'JAX_|umask'  those whose names match

A training in a hostile environment must end with the bits of one in a plain environment, or with
one message and exit status 1 or 2. A mistake must end with one message and exit status 1 or 2, and
leave no run behind. A traceback, a hang, other results or a silent failure is a fault.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measured, readme
from benchmarks.hostile.environments import Environment, environments, nothing
from benchmarks.hostile.mistakes import MLP, TINY, Mistake, mistakes
from mnist_jax.training import provenance

TIMEOUT = 180.0  # seconds; a longer one hangs
LINES = 12  # of a message, at most
WELL, TOLD, FAULT = "well", "told", "fault"
KINDS = ("environment", "mistake")


@dataclass(frozen=True)
class Outcome:
    """What came of one trial."""

    kind: str
    name: str
    verdict: str  # WELL, TOLD or FAULT
    status: int
    seconds: float
    said: str  # the message, or what is wrong


def surrounded(plain: float | None, its: Environment) -> Outcome:
    """Trains in an environment.

    Args:
      plain: the test loss in a plain environment, which is to be reached; None: any.
      its: the environment.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        cwd = Path(folder)
        (cwd / "file").write_text("not a folder")
        variables = _variables(cwd) | its.variables
        for name, content in its.files.items():
            (cwd / name).write_text(content)
        if its.startup:
            (cwd / "sitecustomize.py").write_text(its.startup)
        for name in its.without:
            variables.pop(name, None)
        words = [sys.executable, "-m", f"mnist_jax.{its.command}", MLP, *TINY, *its.arguments]
        words += [f"--workdir={its.workdir}"]
        command = its.shell.format(command=shlex.join(words))
        status, text, seconds = _run(
            ["/bin/bash", "-o", "pipefail", "-c", command], cwd, variables, its.before
        )
        results = [*cwd.rglob("result.json"), *Path(variables.get("HOME", "/")).glob("run/r*.json")]
        found = json.loads(results[0].read_text()) if results else None
    verdict, said = _verdict(status, text)
    if found is not None and verdict != FAULT:
        verdict, said = WELL, ""
        loss = found.get("test_loss", plain)  # a sweep has many
        if its.same and plain is not None and loss != plain:
            verdict, said = FAULT, f"test loss {loss} instead of {plain}"
    elif verdict == WELL:
        verdict, said = FAULT, "status 0 without a result"
    return Outcome("environment", its.name, verdict, status, seconds, said)


def mistaken(run: Path, its: Mistake) -> Outcome:
    """Runs a command with a mistake in it.

    Args:
      run: the folder of a finished run.
      its: the command.
    """
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        if its.trained:
            shutil.copytree(run, cwd / "run")
        for name, content in its.files.items():
            path = cwd / name
            path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        command, *arguments = its.arguments
        words = [sys.executable, "-m", f"mnist_jax.{command}", *arguments]
        status, text, seconds = _run(words, cwd, _variables(cwd), nothing)
        left = [path for path in cwd.rglob("config.json") if not its.trained]
    verdict, said = _verdict(status, text)
    if verdict == WELL:
        verdict, said = FAULT, "accepted"
    elif left and verdict == TOLD:
        verdict, said = FAULT, f"leaves a run behind: {said}"
    return Outcome("mistake", its.name, verdict, status, seconds, said)


def _variables(cwd: Path) -> dict[str, str]:
    """Returns a plain environment, with data and compiled programs that all trials share."""
    shared = {
        "PYTHONPATH": f"{cwd}{os.pathsep}{readme.ROOT}",
        "HOME": str(cwd),
        "JAX_PLATFORMS": "cpu",
        "TFDS_DATA_DIR": os.environ["TFDS_DATA_DIR"],
        "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
    }
    return {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ} | shared


def _run(
    words: list[str], cwd: Path, variables: dict[str, str], before: Callable[[], object]
) -> tuple[int, str, float]:
    """Runs a command; returns its status, what it printed, and the seconds that it took."""
    started = time.perf_counter()
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=before,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, status = process.communicate()[0] + b"\nhangs", -9
    return status, output.decode(errors="replace"), time.perf_counter() - started


def _verdict(status: int, text: str) -> tuple[str, str]:
    """Judges a status and an output; returns the verdict and the message."""
    if "Traceback" in text or "Fatal Python error" in text or status < 0:
        return FAULT, " / ".join(text.strip().splitlines()[-2:])
    if status == 0:
        return WELL, ""
    lines = text.strip().splitlines()
    found = next((i for i, line in enumerate(lines) if "error: " in line), None)
    if found is None or status not in (1, 2):
        return FAULT, f"status {status} without a message: {' / '.join(lines[-2:])}"
    message = lines[found:]
    if len(message) > LINES or max(map(len, message)) > 2000:
        return FAULT, f"a message of {len(message)} lines: {message[0][:100]}"
    return TOLD, message[0]


def _shown(outcome: Outcome) -> str:
    return f"{outcome.verdict:5}  {outcome.seconds:5.1f} s  {outcome.name}  {outcome.said[:200]}"


def main() -> int:
    """Runs the trials, prints what came of them, and returns 1 if there is a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="names to try")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="trials at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the outcomes")
    parser.add_argument("--write", action="store_true", help="update benchmarks/README.md")
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("--write: is for all trials, without --only")
    commit = provenance.commit()
    outcomes = _tried(arguments.only, arguments.jobs)
    # Last, as it starts JAX, which cannot be forked.
    print(text := statement(outcomes, measured.conditions() | {"commit": commit}))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(its) for its in outcomes], indent=1))
    if arguments.write:
        readme.replace("hostile", text, file="benchmarks/README.md")
    return int(any(outcome.verdict == FAULT for outcome in outcomes))


def statement(outcomes: Sequence[Outcome], conditions: dict[str, Any]) -> str:
    """Returns the sentences that say what came of all trials, where and when."""
    kinds = {kind: [its.verdict for its in outcomes if its.kind == kind] for kind in KINDS}
    around, wrong = kinds["environment"], kinds["mistake"]
    return (
        f"Of {len(around)} environments, {around.count(WELL)} let a training end well and "
        f"{around.count(TOLD)} end it with one message; {around.count(FAULT)} are faults. Of "
        f"{len(wrong)} mistakes, {wrong.count(TOLD)} end with one message; "
        f"{wrong.count(FAULT) + wrong.count(WELL)} are faults. {measured.sentence(conditions)}"
    )


def _tried(only: str, jobs: int) -> list[Outcome]:
    """Runs the trials whose names match, and prints one line for each."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.environ["TFDS_DATA_DIR"], os.environ["XDG_CACHE_HOME"] = f"{folder}/d", f"{folder}/c"
        first = surrounded(None, Environment("plain"))
        print(_shown(first), flush=True)
        run = Path(folder, "run")
        plain = _trained(run)
        trials: list[Callable[[], Outcome]] = [
            partial(surrounded, plain, its)
            for its in environments(Path(folder))
            if re.search(only, its.name)
        ]
        trials += [partial(mistaken, run, its) for its in mistakes() if re.search(only, its.name)]
        with ThreadPoolExecutor(jobs) as pool:
            return list(_printed(pool.map(lambda trial: trial(), trials)))


def _printed(outcomes: Iterable[Outcome]) -> Iterable[Outcome]:
    for outcome in outcomes:
        print(_shown(outcome), flush=True)
        yield outcome


def _trained(run: Path) -> float:
    """Trains in a plain environment, into the folder `run`; returns the test loss."""
    words = [sys.executable, "-m", "mnist_jax.main", MLP, *TINY, f"--workdir={run}"]
    subprocess.run(
        words, cwd=run.parent, env=_variables(run.parent), check=True, stdout=subprocess.DEVNULL
    )
    return json.loads((run / "result.json").read_text())["test_loss"]


if __name__ == "__main__":
    sys.exit(main())
