"""The commands as a user runs them, and what they leave behind."""

import atexit
import csv
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import forks
from mnist_jax.training import checkpoint, checkpoints

ROOT = Path(__file__).resolve().parent.parent
BASE = dict(os.environ)  # before any test changes it
TIMINGS = ("seconds", "images_per_second")

SMALL = (
    "--config=configs/mlp.py",
    "--config.num_epochs=2",
    "--config.data.train_split=train[:2000]",
    "--config.data.val_split=train[2000:2500]",
)


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"mnist_jax.{name}", *arguments]


def environment(devices: int = 1, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    paths = [str(ROOT), base.get("PYTHONPATH", "")]
    return {**base} | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_PLATFORMS": "cpu",
    }


@functools.cache
def _server() -> forks.Server:
    server = forks.Server(environment(base=BASE))
    atexit.register(server.close)
    return server


def finished(
    arguments: list[str], *, cwd: Path, status: int = 0, devices: int = 1, **variables: str
) -> Any:
    """Runs `python ARGUMENTS` to its end; fails with its output where it ends otherwise."""
    its = environment(devices) | variables
    forked = _server().fits(its)
    done = (_server().run if forked else _fresh)(arguments, cwd=cwd, environment=its)
    assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def _fresh(
    arguments: list[str], *, cwd: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Runs `python ARGUMENTS` in a process that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=forks.TIMEOUT,
    )


def run(
    name: str,
    *arguments: str,
    cwd: Path = ROOT,
    devices: int = 1,
    status: int = 0,
    drawn: bool = False,
) -> Any:
    """Runs a command to its end; fails with its output where it ends with another status.

    Plots are left out unless `drawn`: they take longer than all the rest.
    """
    words = ["-m", *([] if drawn else ["benchmarks.undrawn"]), f"mnist_jax.{name}", *arguments]
    return finished(words, cwd=cwd, status=status, devices=devices)


def python(code: str, *arguments: str, cwd: Path = ROOT) -> str:
    """What a script prints that Python runs in a process that has imported nothing yet."""
    done = _fresh(["-c", code, *arguments], cwd=cwd, environment=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(name: str, *arguments: str, cwd: Path = ROOT) -> str:
    """The message of a command that ends with status 1 and no traceback."""
    message = run(name, *arguments, cwd=cwd, status=1).stderr
    assert "error: " in message
    assert "Traceback" not in message
    return message


def benchmark(name: str, *options: str, status: int = 0) -> Any:
    """Runs a script of benchmarks/ to its end; fails where it ends with another status."""
    words = ["-m", f"benchmarks.{name}", *options]
    return finished(words, cwd=ROOT, status=status, JAX_DISABLE_MOST_OPTIMIZATIONS="1")


def interrupt(
    number: signal.Signals, when: str, *arguments: str, cwd: Path = ROOT, name: str = "main"
) -> int:
    """Runs a command, sends the signal at the first line of output that has `when`; the status."""
    words = ["-m", f"mnist_jax.{name}", *arguments]
    with _server().started(words, cwd=cwd, environment=environment()) as process:
        for line in process.output:
            if when in line:
                os.kill(process.pid, number)
                break
        else:
            raise AssertionError(f"{when!r} was not printed")
    assert process.status is not None
    return process.status


def read(path: Path) -> Any:
    return json.loads(path.read_text())


# Sends the signal once the first chunk of steps is done, at whatever speed that is.
STOPPED = """
import os, runpy, signal, sys
from mnist_jax.training.console import Console
Console.update = lambda *arguments: os.kill(os.getpid(), signal.SIGTERM)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def stop_in_first_chunk(name: str, *arguments: str, cwd: Path = ROOT) -> str:
    """Stops a command in the first chunk that it trains; what it prints."""
    return finished(["-c", STOPPED, f"mnist_jax.{name}", *arguments], cwd=cwd, status=75).stdout


def rows(workdir: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (workdir / name).read_text().splitlines()]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in rows]


def bits(workdir: Path) -> dict[str, Any]:
    """The SHA-256s of each array of the newest checkpoint, read back from disk."""
    folder = workdir / "checkpoints"
    step = checkpoints.steps(folder)[-1]
    checkpoint.check(folder, step)
    return checkpoint._read_seal(folder / str(step))["digests"] | {"step": str(step)}


def fingerprint(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def flip_bit(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
