"""Measures each combination of XLA flags and precision in a process of its own."""

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
    """Measures all settings and returns one row per measurement.

    Each row has `flags` and `dtype`. If a process fails, a row with the reason in `failed` follows
    the rows that it has measured.
    """
    found = []
    for flags in ("", COMMAND_BUFFERS) if platform == "gpu" else ("",):
        for dtype in DTYPES[: 1 if quick else None]:
            rows, failed = ask(f"measure({asked | {'dtype': dtype}!r})", flags)
            said = {"flags": flags, "dtype": dtype}
            found += [said | row for row in rows]
            found += [said | {"failed": failed}] if failed else []
    return found


def ask(expression: str, flags: str = "") -> tuple[Rows, str]:
    """Evaluates a call of a function of `timed` in a new process with these XLA flags.

    XLA reads its flags once, at its start, and aborts a process with an unknown flag.

    Args:
      expression: the call, such as `described()`, which gives rows.
      flags: flags to add to the environment variable XLA_FLAGS.

    Returns:
      The rows, and the reason why the process failed or an empty string.
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
    """Describes how a process failed: its signal or exit status, and the line that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "nknown flag" in line or "Error" in line]
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"{how}: {(telling or lines or ['no output'])[-1][:200]}"
