"""XLA's flags and the precision: each setting has a process of its own."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

from benchmarks import readme

COMMAND_BUFFERS = "--xla_gpu_enable_command_buffer=+WHILE,+CONVOLUTION"
DTYPES = ("float32", "bfloat16")
Rows = list[dict[str, Any]]


def measure_all(asked: dict[str, Any], platform: str, quick: bool) -> Rows:
    """A row a measurement, with its `flags` and `dtype`; one that failed has `failed`."""
    found = []
    for flags in ("", COMMAND_BUFFERS) if platform == "gpu" else ("",):
        for dtype in DTYPES[: 1 if quick else None]:
            rows, failed = ask(f"measure({asked | {'dtype': dtype}!r})", flags)
            said = {"flags": flags, "dtype": dtype}
            found += [said | row for row in rows]
            found += [said | {"failed": failed}] if failed else []
    return found


def ask(expression: str, flags: str = "") -> tuple[Rows, str]:
    """The rows that a process with these flags gives, and what ended it, if something did.

    XLA reads its flags at the start, and ends a process that has one which it does not know.
    """
    code = f"import json; from {__package__} import timed\nfor row in timed.{expression}:"
    both = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    done = subprocess.run(
        [sys.executable, "-c", f"{code} print(json.dumps(row), flush=True)"],
        cwd=readme.ROOT,
        env=os.environ | {"XLA_FLAGS": both},
        capture_output=True,
        text=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return rows, "" if done.returncode == 0 else _end(done.returncode, done.stderr)


def _end(status: int, said: str) -> str:
    """How a process ended: by which signal or status, and the line that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "nknown flag" in line or "Error" in line]
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"{how}: {(telling or lines or ['nothing said'])[-1][:200]}"
