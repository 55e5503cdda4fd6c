"""Starts a worker process and exchanges requests and answers with it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from benchmarks import readme


class FailedError(Exception):
    """Raised if a worker could not carry out a request; the message says why."""


class Process:
    """A process that runs `benchmarks.peers.worker`; requests wait for their answers."""

    def __init__(self, maker: str, environment: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, closed where the process ends
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.worker", maker],
            cwd=readme.ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._imported = False

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Sends a request to the worker and returns its answer.

        Args:
          do: the name of a method of `worker.Worker`.
          **arguments: its arguments.

        Raises:
          FailedError: the worker could not carry out the request, or has ended.
        """
        if not self._imported:
            self._read()
            self._imported = True
        assert self._process.stdin is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError as error:
            raise FailedError(self._last_words()) from error
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise FailedError(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise FailedError(answer["error"])
        return answer

    def _last_words(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"ended with status {status}: {lines[-1][:200] if lines else 'no output'}"

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
