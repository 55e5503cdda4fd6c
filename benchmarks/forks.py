"""Runs commands in forks of one process that has imported everything already.

Most of the time of a short command goes into its imports. A fork is a process like any other: it
has its own JAX, standard streams, working folder and exit status, and ends as the interpreter ends.
What a library reads from the environment when it is imported cannot be changed for a fork.

    python -m benchmarks.forks SOCKET    serves requests, one at a time, until the socket is closed
"""

import contextlib
import importlib
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

IMPORTED = (
    "mnist_jax.experiment",
    "mnist_jax.evaluations.split",
    "mnist_jax.compare",
    "mnist_jax.analysis.sweep.report",
    "mnist_jax.commands.cli",
    "jinja2",
    "matplotlib.backends.backend_agg",
    "orbax.checkpoint.experimental.v1",
    "tensorboardX",
)
# Read when it is needed, or set anew for each fork.
FREE = ("JAX_NUM_CPU_DEVICES", "PYTEST_CURRENT_TEST", "TFDS_DATA_DIR")
TIMEOUT = 300.0  # seconds


class Server:
    """A process that forks."""

    def __init__(self, environment: dict[str, str], timeout: float = TIMEOUT) -> None:
        """Starts it.

        Args:
          environment: of the process; what libraries read as they are imported holds for the forks.
          timeout: seconds that a fork may take; then all are killed, and TimeoutError is raised.
        """
        self.environment = environment
        self._socket, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.forks", str(number)],
                env=environment,
                pass_fds=(number,),
                start_new_session=True,
            )
        self._socket.settimeout(timeout)
        self._answers = self._socket.makefile("r")

    def fits(self, environment: dict[str, str]) -> bool:
        """True if a fork can have this environment."""
        names = (environment.keys() | self.environment.keys()).difference(FREE)
        return all(environment.get(name) == self.environment.get(name) for name in names)

    def run(
        self,
        arguments: list[str],
        *,
        cwd: Path,
        environment: dict[str, str],
        sent: tuple[signal.Signals, float] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `-m NAME ...` or `-c CODE ...` in a fork, as `subprocess.run` does with text.

        Args:
          arguments: of Python.
          cwd: the working folder.
          environment: of the fork.
          sent: a signal, and after how many seconds it is sent if the fork still runs.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("stdout", "stderr")]
            number = self._start(arguments, cwd, environment, files)
            with _sending(number, sent):
                status = self._answer()
            return subprocess.CompletedProcess(
                arguments, status, *(file.read_text() for file in files)
            )

    @contextlib.contextmanager
    def started(
        self, arguments: list[str], *, cwd: Path, environment: dict[str, str]
    ) -> Iterator["Started"]:
        """Starts it, for a context that follows its standard output; then waits for its end."""
        with tempfile.TemporaryDirectory() as folder:
            pipe = Path(folder, "stdout")
            os.mkfifo(pipe)
            number = self._start(arguments, cwd, environment, [pipe, Path(folder, "stderr")])
            with pipe.open() as output:
                its = Started(number, output)
                yield its
                output.read()
            its.status = self._answer()

    def _start(
        self, arguments: list[str], cwd: Path, environment: dict[str, str], files: list[Path]
    ) -> int:
        """Lets the process fork; returns the number of the fork."""
        request = {"arguments": arguments, "cwd": str(cwd), "environment": environment}
        request |= {"files": [str(file) for file in files]}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        return self._answer()

    def _answer(self) -> int:
        try:
            return int(self._answers.readline())
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise

    def close(self) -> None:
        """Ends the process, which sees that the socket is closed."""
        self._answers.close()  # which holds the socket, too
        self._socket.close()
        self._process.wait()


@contextlib.contextmanager
def _sending(process: int, sent: tuple[signal.Signals, float] | None) -> Iterator[None]:
    """Sends a process a signal after some seconds, unless the context has ended by then."""
    if sent is None:
        yield
        return

    def send() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, sent[0])

    timer = threading.Timer(sent[1], send)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


class Started:
    """A fork that runs."""

    def __init__(self, pid: int, output: TextIO) -> None:
        self.pid, self.output = pid, output
        self.status: int | None = None  # once it has ended


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Answers each request by the exit status of a fork; returns the request in the fork."""
    for line in requests.makefile("rb"):
        process = os.fork()
        if process == 0:
            requests.close()
            return json.loads(line)
        requests.sendall(f"{process}\n".encode())
        _, status = os.waitpid(process, 0)
        requests.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    return None


def _become(request: dict[str, Any]) -> None:
    """Turns this fork into the process that was asked for, up to the program that it runs."""
    for number, path in enumerate(request["files"], start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    import jax

    import mnist_jax

    jax.config.update("jax_num_cpu_devices", int(os.environ["JAX_NUM_CPU_DEVICES"]))
    mnist_jax.STARTED = time.perf_counter()


def _prepare() -> None:
    """Imports what the commands import, and lets Matplotlib read its fonts."""
    for name in IMPORTED:
        importlib.import_module(name)
    from mnist_jax.analysis import canvas

    with canvas.styled():
        figure = canvas.headed(4, 3, "Title", "note")
        canvas.panel(figure, 0.5, 0.5, 0.5).plot([0, 1], label="line")
        figure.axes[0].legend()
        figure.savefig(io.BytesIO(), format="png")


def main() -> None:
    """Serves requests; in a fork, runs what was asked for."""
    _prepare()
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
