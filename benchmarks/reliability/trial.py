"""Runs commands whose file operations are counted, and at one of them disturbed.

The operations are met between the process and its C library (`interposed.c`), so that those of
TensorStore, which writes the arrays of a checkpoint, are among them.
"""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import forks, readme
from mnist_jax.errors import UserError

SOURCE = Path(__file__).with_name("interposed.c")
WRITING = ("create", "mkdir", "rename", "rmdir", "truncate", "unlink", "write", "fsync")
READING = (  # and what else kills are not tried at
    "open",
    "read",
    "list",
    "stat",
    "lock",
    "close",
    "map",
    "chmod",
    "utime",
)


@dataclass(frozen=True)
class Disturbance:
    """What happens at which file operation of a process."""

    at: int = 0  # number of the operation, from 1; 0: at none of them
    act: str = ""  # as `interposed.c` lists them, such as `kill`, `short` or an error's number
    kinds: tuple[str, ...] = WRITING  # of the operations that are counted
    onward: bool = False  # True: all operations after it are disturbed as well
    seconds: float = 0.0  # that it waits, for `slow`

    def variables(self) -> dict[str, str]:
        """Returns the settings that `interposed.c` reads."""
        return {
            "INTERPOSED_AT": str(self.at),
            "INTERPOSED_ACT": self.act,
            "INTERPOSED_KINDS": f",{','.join(self.kinds)},",
            "INTERPOSED_ONWARD": str(int(self.onward)),
            "INTERPOSED_MICROSECONDS": str(round(self.seconds * 1e6)),
        }


@dataclass(frozen=True)
class Operation:
    """A file operation of a process."""

    number: int
    kind: str
    path: str
    disturbed: bool


@dataclass(frozen=True)
class Trial:
    """What a process did and how it ended."""

    status: int  # negative: the number of the signal that killed it
    output: str
    errors: str
    operations: list[Operation] = field(repr=False)

    @property
    def disturbed(self) -> Operation | None:
        """The first operation that was disturbed, if there was one."""
        return next((each for each in self.operations if each.disturbed), None)


class Bench:
    """A process that forks disturbed commands, one at a time, in a folder of its own.

    The data and the compiled programs of other benches can be shared.
    """

    def __init__(
        self, folder: Path, shared: Path, *, timeout: float = forks.TIMEOUT, **variables: str
    ) -> None:
        """Compiles `interposed.c`, and starts the process.

        Args:
          folder: the working folder of the commands; created if necessary.
          shared: holds the library, the data and the compiled programs.
          timeout: seconds that a command may take; after that, `run` raises TimeoutError, and
            the bench is of no further use.
          variables: of the environment, in addition to those that are needed.

        Raises:
          UserError: there is no C compiler.
        """
        self.folder = folder
        self._log = folder / "operations.txt"
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = environment(folder, shared) | variables
        self.library = compiled(shared)
        self._server = forks.Server(self.environment | {"LD_PRELOAD": str(self.library)}, timeout)

    def run(
        self,
        *words: str,
        disturbance: Disturbance | None = None,
        sent: tuple[signal.Signals, float] | None = None,
        **variables: str,
    ) -> Trial:
        """Runs `python WORDS`, where WORDS are `-m NAME ...` or `-c CODE ...`, in a fork.

        Operations below the working folder, the data and the compiled programs are counted.

        Args:
          words: the arguments of `python`.
          disturbance: what happens to it; None: nothing.
          sent: a signal, and the seconds after which it is sent.
          variables: of the environment.
        """
        self._log.unlink(missing_ok=True)
        caches = (self.environment[name] for name in ("TFDS_DATA_DIR", "XDG_CACHE_HOME"))
        its = {
            **self.environment,
            "INTERPOSED_LOG": str(self._log),
            "INTERPOSED_MATCH": "benchmarks.forks",  # not in processes that it starts
            **(disturbance or Disturbance()).variables(),
            **variables,
            # The last, since all settings are read as soon as this one is there.
            "INTERPOSED_FOLDERS": ":".join([str(self.folder), *caches]),
        }
        done = self._server.run(list(words), cwd=self.folder, environment=its, sent=sent)
        return Trial(done.returncode, done.stdout, done.stderr, operations(self._log))

    def close(self) -> None:
        """Ends the process."""
        self._server.close()

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def operations(log: Path) -> list[Operation]:
    """Reads the operations that `interposed.c` has logged; none if there is no such file."""
    if not log.exists():
        return []
    lines = [line.split(" ", 2) for line in log.read_text().splitlines()]
    return [
        Operation(int(number.rstrip("*")), kind, path, number.endswith("*"))
        for number, kind, path in lines
    ]


def compiled(folder: Path) -> Path:
    """Compiles `interposed.c` into a folder, unless it is there; returns the library.

    Raises:
      UserError: there is no C compiler, or it fails.
    """
    library = folder / "interposed.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        raise UserError("needs Linux and a C compiler named cc: apt-get install gcc")
    partial = library.with_suffix(f".{os.getpid()}")
    words = [compiler, "-shared", "-fPIC", "-O2", "-o", str(partial), str(SOURCE), "-ldl"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{SOURCE} cannot be compiled: {done.stderr[:500]}")
    partial.replace(library)
    return library


def environment(folder: Path, shared: Path) -> dict[str, str]:
    """Returns the environment of commands in a folder, with data and programs of their own."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(readme.ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",  # which would be written by the first start only
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # of forks while other threads run
        "HOME": str(folder),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "TFDS_DATA_DIR": str(shared / "data"),
        "XDG_CACHE_HOME": str(shared / "cache"),
    }
