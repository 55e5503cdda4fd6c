"""Watches what a case does to the system, by Python's audit events.

Data must run no code, and names in data must not lead out of the folder that holds them.
"""

import contextlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.reliability.fuzzing.worker import Broken

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
    "shutil.move",
)
BOTH = ("os.rename", "os.link", "os.symlink", "shutil.move")  # of these, two paths are changed
RUNS = (
    "pickle.find_class",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "ctypes.dlopen",
)
READS = ("open", "os.listdir", "os.scandir")
SYSTEM = ("/dev", "/etc", "/proc", "/sys", "/usr")  # may be read by libraries
# Libraries that make code of texts of their own.
MAKERS = ("dataclasses.py", "collections/__init__.py", "ast.py", "typing.py")
ROOT = Path(__file__).resolve().parents[3]
LIBRARIES = tuple(
    os.path.realpath(path) for path in {*sysconfig.get_paths().values(), sys.base_prefix}
)
NETWORK = ("socket.connect", "socket.bind", "urllib.Request")
SEEN = {*CHANGES, *RUNS, *NETWORK, *READS, "exec", "compile", "import"}

_watching: "Guard | None" = None
_installed = False


class Guard:
    """Raises `Broken` after a context in which something went beyond `inside`.

    Besides that folder, only the project, the libraries, the system and `others` may be read.
    """

    def __init__(
        self, inside: Path, others: tuple[Path, ...] = (), code: tuple[Path, ...] = ()
    ) -> None:
        """Prepares to watch.

        Args:
          inside: the folder that may be changed.
          others: further folders that may be read.
          code: files that may be run besides the project's and the libraries'.
        """
        self._inside = os.path.realpath(inside)
        self._code = {os.path.realpath(path) for path in code}
        others = (inside, ROOT, *others, *code)
        self._read = (*map(os.path.realpath, others), *LIBRARIES, *SYSTEM)
        self.found: list[str] = []
        global _installed
        if not _installed:  # a hook can never be removed
            sys.addaudithook(_hook)
            _installed = True

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Context manager that watches, one at a time; what it saw replaces any error."""
        global _watching
        self.found, _watching = [], self
        try:
            yield
        finally:
            _watching = None
            if self.found:
                raise Broken(self.found[0])

    def see(self, event: str, arguments: tuple[Any, ...], caller: str) -> None:
        """Notes an event that must not be; `caller` is the file whose code has led to it."""
        if event == "ctypes.dlopen" and arguments[0] is None:
            return  # of what is loaded already
        if event in RUNS or event in NETWORK:
            self.found.append(f"{event} {str(arguments)[:100]}")
        elif event == "open":
            path, mode, flags = arguments
            writes = (isinstance(flags, int) and flags & WRITES) or "w" in str(mode or "")
            self._place(event, path, changes=bool(writes))
        elif event in READS and not caller.startswith("<frozen importlib"):  # it lists `sys.path`
            self._place(event, arguments[0] or ".", changes=False)
        elif event == "exec" and (file := getattr(arguments[0], "co_filename", "")):
            self._runs(file, caller)
        elif event == "compile" and isinstance(file := arguments[1], str | bytes):
            self._runs(os.fsdecode(file), caller)
        elif event == "import" and (file := arguments[1]):  # of an extension; others are executed
            self._runs(file, caller)
        elif event in CHANGES:
            for path in arguments[: 2 if event in BOTH else 1]:
                self._place(event, path, changes=True)

    def _runs(self, file: str, caller: str) -> None:
        """Notes code of a text, or of a file that is no code of the project or a library."""
        if file.startswith("<frozen "):
            return
        if file.startswith("<"):
            known = any(caller.endswith(os.sep + name) for name in MAKERS)
            if not (known and self._is_code(caller)):
                self.found.append(f"code of a text, {file}, was made or run by {caller}")
        elif not self._is_code(file):
            self.found.append(f"code of {file} was run")

    def _is_code(self, file: str) -> bool:
        real = os.path.realpath(file)
        if self._is_in(real, self._inside):
            return False
        known = any(self._is_in(real, its) for its in (*LIBRARIES, str(ROOT)))
        return known or real in self._code

    def _place(self, event: str, path: Any, *, changes: bool) -> None:
        if isinstance(path, int) or path is None:
            return
        real = os.path.realpath(os.fsdecode(path))
        allowed = (self._inside, "/dev", "/proc") if changes else self._read
        if not any(self._is_in(real, folder) for folder in allowed):
            self.found.append(f"{event} {'changes' if changes else 'of'} {real}, outside")

    @staticmethod
    def _is_in(path: str, folder: str) -> bool:
        return path == folder or path.startswith(folder + os.sep)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching is not None and event in SEEN:  # no event of the next line's own
        try:
            caller = sys._getframe(1).f_code.co_filename
            _watching.see(event, arguments, caller)
        except Exception as error:  # must not change what is watched
            _watching.found.append(f"{event}: {type(error).__name__}: {error}")
