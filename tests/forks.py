"""Runs commands in forks of one process that has imported everything already.

Most of the time of a short command goes into its imports. A fork is a process like any other: it
has its own JAX, standard streams, working folder and exit status, and ends as the interpreter ends.
What a library reads from the environment when it is imported cannot be changed for a fork.

    python -m tests.forks SOCKET      serves requests, one at a time, until the socket is closed
"""

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IMPORTED = (
    "mnist_jax.experiment",
    "mnist_jax.compare",
    "mnist_jax.analysis.sweep.report",
    "matplotlib.backends.backend_agg",
    "tensorboardX",
)
# Read when it is needed, or set anew for each fork.
FREE = ("JAX_NUM_CPU_DEVICES", "PYTEST_CURRENT_TEST", "TFDS_DATA_DIR")
TIMEOUT = 300.0  # seconds


class Server:
    """A process that forks."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._socket, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(number)],
                env=environment,
                pass_fds=(number,),
                start_new_session=True,
            )
        self._socket.settimeout(TIMEOUT)

    def fits(self, environment: dict[str, str]) -> bool:
        """True if a fork can have this environment."""
        names = (environment.keys() | self.environment.keys()).difference(FREE)
        return all(environment.get(name) == self.environment.get(name) for name in names)

    def run(
        self, arguments: list[str], *, cwd: Path, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Runs `-m NAME ...` or `-c CODE ...` in a fork, as `subprocess.run` does with text."""
        with tempfile.TemporaryDirectory() as folder:
            request = {"arguments": arguments, "cwd": str(cwd), "environment": environment}
            request |= {name: f"{folder}/{name}" for name in ("stdout", "stderr")}
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            try:
                status = int(self._socket.recv(64))
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                raise
            texts = [Path(request[name]).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(arguments, status, *texts)

    def close(self) -> None:
        """Ends the process."""
        self._socket.close()
        self._process.wait()


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Answers each request by the exit status of a fork; returns the request in the fork."""
    for line in requests.makefile("rb"):
        process = os.fork()
        if process == 0:
            requests.close()
            return json.loads(line)
        _, status = os.waitpid(process, 0)
        requests.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    return None


def _become(request: dict[str, Any]) -> None:
    """Turns this fork into the process that was asked for, up to the program that it runs."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    import jax

    import mnist_jax

    jax.config.update("jax_num_cpu_devices", int(os.environ["JAX_NUM_CPU_DEVICES"]))
    mnist_jax.STARTED = time.perf_counter()


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        return
    _become(request)
    how, what, *rest = request["arguments"]
    if how == "-c":
        sys.path[0], sys.argv = "", ["-c", *rest]
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path[0], sys.argv = request["cwd"], [what, *rest]
        runpy.run_module(what, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
