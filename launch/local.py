"""Runs a command in several processes on this machine, which train together.

  python launch/local.py --processes=2 -- --config=configs/mlp.py --config.reduction=elastic
  python launch/local.py --processes=2 -m mnist_jax.sweep -- --config=configs/sweeps/looped.py

What follows `--` are the arguments of the command. Ctrl-C, SIGTERM and SIGHUP let all processes
save at the same step and exit with status 75; the same command then continues. If a process is
killed, the others end within a minute and a half; with --restarts=N all are started again, up to N
times.

Tried on Linux, with 2 and 4 processes on the CPU. Not tried with GPUs: there, let each process see
its own one, by CUDA_VISIBLE_DEVICES in a script of your own.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import IO

from mnist_jax import processors

SWEEP = "mnist_jax.sweep"
STOPPED = 75  # the status of a command that was told to stop, and can be run again
MISTAKES = (1, 2)  # statuses that would come again
BOUND = 60.0  # seconds in which the others end once a process has failed
SAME_REQUEST = 1.0  # seconds: a terminal that is closed may send two signals
LAST_LINES = 2.0  # seconds in which the last lines of a process are shown
POLL = 0.1


def main(argv: list[str]) -> int:
    """Runs the processes, again if they may be restarted; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=_count(1), required=True, metavar="N")
    parser.add_argument("-m", dest="module", default="mnist_jax.main", metavar="MODULE")
    parser.add_argument("--restarts", type=_count(0), default=0, metavar="N", help="default: none")
    parser.add_argument("--dry_run", action="store_true", help="only print what would be run")
    parser.add_argument("arguments", nargs="*", metavar="-- ARGUMENT", help="of the command")
    asked = parser.parse_args(argv)
    command = [sys.executable, "-m", asked.module, *asked.arguments]
    for restart in range(asked.restarts + 1):
        variables = _variables(asked.processes, asked.module)
        if asked.dry_run:
            for its in variables:
                print(
                    " ".join(f"{name}={value}" for name, value in its.items()), shlex.join(command)
                )
            return 0
        if restart:
            print(f"restart {restart} of {asked.restarts}", flush=True)
        group = Group(command, variables)
        status = group.wait()
        if status in (0, *MISTAKES) or group.stopped:
            break
    return status


class Group:
    """Processes that run one command together."""

    def __init__(self, command: list[str], variables: list[dict[str, str]]) -> None:
        """Starts the command once for each entry of `variables`, with these variables set."""
        self.stopped = False  # on request
        self._stopped_at = 0.0  # by `time.monotonic`
        self._ended: list[tuple[int, int]] = []  # processes and their statuses, in this order
        self._processes: list[subprocess.Popen[str]] = []
        heeded = [its for its in SIGNALS if signal.getsignal(its) is not signal.SIG_IGN]  # nohup
        self._before = {number: signal.signal(number, self._stop) for number in heeded}
        for its in variables:
            self._processes.append(_started(len(self._processes), command, its))
        self._shown = [
            threading.Thread(target=_show, args=(i, process.stdout), daemon=True)
            for i, process in enumerate(self._processes)
            if process.stdout is not None
        ]
        for thread in self._shown:
            thread.start()
        if self.stopped:  # while they were being started
            self._send(signal.SIGTERM)

    def wait(self) -> int:
        """Waits until all processes have ended; returns the exit status of the whole."""
        deadline: float | None = None
        while len(self._ended) < len(self._processes):
            for i, process in enumerate(self._processes):
                if process.poll() is None or i in dict(self._ended):
                    continue
                self._ended.append((i, process.returncode))
                if process.returncode and deadline is None:
                    deadline = time.monotonic() + BOUND
            if deadline is not None and time.monotonic() > deadline:
                self._send(signal.SIGKILL)
            time.sleep(POLL)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for thread in self._shown:
            thread.join(LAST_LINES)
        self._report()
        statuses = [status for _, status in self._ended]
        mistakes = [status for status in statuses if status in MISTAKES]
        return mistakes[0] if mistakes else STOPPED if any(statuses) else 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Lets all processes stop; a second signal ends them at once."""
        now = time.monotonic()
        if not self.stopped:
            self.stopped, self._stopped_at = True, now
            self._send(signal.SIGTERM)
        elif now - self._stopped_at > SAME_REQUEST:
            self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)

    def _report(self) -> None:
        """Names the processes that failed, in the order in which they ended.

        Those that JAX aborted because of another one come last.
        """
        failed = [its for its in self._ended if its[1] not in (0, STOPPED, *MISTAKES)]
        failed.sort(key=lambda its: its[1] == -signal.SIGABRT)
        for i, status in failed:
            print(f"process {i} of {len(self._processes)} {_how(status)}", file=sys.stderr)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _started(place: int, command: list[str], variables: dict[str, str]) -> subprocess.Popen[str]:
    """Starts a process; the lines of all but the first are shown with its number."""
    output = None if place == 0 else subprocess.PIPE
    return subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if place == 0 else subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that Ctrl-C reaches this process alone
    )


def _show(place: int, lines: IO[str]) -> None:
    for line in lines:
        print(f"process {place}: {line}", end="", file=sys.stderr, flush=True)


def _variables(count: int, module: str) -> list[dict[str, str]]:
    """Returns what the environment tells each process."""
    # A sweep uses each core as a device; of these, each process gets its share.
    devices = max(1, processors.count() // count) if module == SWEEP else 1
    shared = {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{_free_port()}",
        "JAX_NUM_PROCESSES": str(count),
        "JAX_NUM_CPU_DEVICES": os.environ.get("JAX_NUM_CPU_DEVICES", str(devices)),
    }
    return [shared | {"JAX_PROCESS_ID": str(place)} for place in range(count)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _how(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _count(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            expected = f"expected a whole number from {least} on"
            raise argparse.ArgumentTypeError(f"{expected}, got {text!r}")
        return int(text)

    return read


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
