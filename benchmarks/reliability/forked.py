"""Runs commands in forks of one process that has imported everything already, on CPUs."""

import atexit
import functools
import os
import subprocess
from pathlib import Path

from benchmarks import forks, readme


@functools.cache
def server() -> forks.Server:
    """Returns the process that forks, and starts it on the first call."""
    its = forks.Server(environment())
    atexit.register(its.close)
    return its


def environment(devices: int = 1) -> dict[str, str]:
    """Returns the environment of a command that computes on so many CPU devices."""
    paths = [str(readme.ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ} | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_PLATFORMS": "cpu",
    }


def run(arguments: list[str], *, cwd: Path, devices: int = 1) -> subprocess.CompletedProcess[str]:
    """Runs `python ARGUMENTS` to its end, whatever its status.

    Raises:
      TimeoutError: it took longer than `forks.TIMEOUT`, and was killed.
    """
    try:
        return server().run(arguments, cwd=cwd, environment=environment(devices))
    except (OSError, ValueError):  # the process that forks was killed as well: start another one
        server.cache_clear()
        raise


def succeeded(
    arguments: list[str], *, cwd: Path, devices: int = 1
) -> subprocess.CompletedProcess[str]:
    """Runs `python ARGUMENTS` to its end, with status 0.

    Raises:
      RuntimeError: it ended with another status than 0.
      TimeoutError: as in `run`.
    """
    done = run(arguments, cwd=cwd, devices=devices)
    if done.returncode:
        raise RuntimeError(f"{arguments}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done
