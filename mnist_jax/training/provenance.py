"""Describes the device, the package versions and the commit that produced a result."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from mnist_jax import devices, processes, processors

VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}  # flags of Linux, widest first
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")


def conditions(commit: str | None) -> dict[str, Any]:
    """Returns the `device`, `versions` and `commit` of a result, for `result.json`."""
    return {"device": device(), "versions": versions(), "commit": commit}


def announce() -> None:
    """Prints the hardware, and a warning if an accelerator lies idle.

    Raises:
      UserError: JAX cannot start its devices.
    """
    print(f"device: {device()}", flush=True)
    devices.warn()


def versions() -> dict[str, str]:
    """Returns the versions of Python and of each package that results depend on."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in PACKAGES
    }


def device() -> str:
    """Describes the hardware, such as `2 x TPU v5e` or `CPU AMD EPYC (...), 2 cores`."""
    found = devices.start()
    several = f", {processes.count()} processes" if processes.count() > 1 else ""
    if found[0].platform != "cpu":
        return f"{len(found)} x {kind()}{several}"
    virtual = f", {len(found)} virtual devices" if len(found) > 1 else ""
    return f"{kind()}{several}{virtual}"


def kind() -> str:
    """Describes one device, such as `TPU v5e`, or the CPU with the cores that may be used."""
    one = devices.start()[0]
    if one.platform != "cpu":
        return one.device_kind
    return f"CPU {_cpu_model()}, {processors.count()} cores"


@functools.cache  # the code that this process has imported stays the same
def commit() -> str | None:
    """Returns the commit of the code, with `+` if files were changed; `None` outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        name = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return name + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    # Variables such as GIT_DIR, which a hook of git hands over, name another repository.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _cpu_model() -> str:
    """Returns the name of the CPU, with its family, model and widest vectors if they are known.

    Machines with the same name can differ in speed by a factor of two.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (
        line.partition(":") for line in reversed(lines)
    )  # reversed, so that the first core's values win
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    details = [
        f"{name.split()[-1]} {facts[name]}" for name in ("cpu family", "model") if name in facts
    ]
    flags = facts.get("flags", "").split()
    details += [words for flag, words in VECTORS.items() if flag in flags][:1]
    name = facts.get("model name", platform.machine())
    return f"{name} ({', '.join(details)})" if details else name
