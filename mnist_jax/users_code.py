"""Imports the user's own modules, and imports them again when they have changed.

Configuration files and the modules that a configuration names are the user's. In a process that
lives long, such as a notebook, a module whose file has changed since, or of which there is another
one in a new current folder, is imported again when the next training starts (`refresh`).
"""

import ast
import contextlib
import importlib
import importlib.util
import os
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import FileFinder, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from mnist_jax import STARTED
from mnist_jax.errors import UserError
from mnist_jax.failures import is_own, reported


@dataclass(frozen=True)
class Imported:
    """A module of the user's as it was imported: the module, its file, and the source that ran."""

    module: ModuleType
    file: Path
    source: bytes


_imported: dict[str, Imported] = {}
_added: list[str] = []  # the current folder at the last import, if it was not on the path by itself


def import_named(name: str, where: str) -> Any:
    """Imports the module `name`, from Python's import path or the current folder.

    Args:
      name: dotted name of the module.
      where: path of the field that names it, for messages.

    Raises:
      UserError: there is no such module, or its code fails.
    """
    look_in_current_folder()
    try:
        with reported(f"{where}: cannot import {name!r}"), remembered():
            _use_current(name)
            return importlib.import_module(name)
    except UserError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise  # an import inside the module failed
        raise UserError(
            f"{where}: cannot import {name!r}; run in the folder that holds it, or install it"
        ) from cause


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Context manager that remembers the source of each module of the user's imported in it."""
    before = set(sys.modules)
    _look_again()
    try:
        yield
    finally:
        for name in sys.modules.keys() - before:
            _remember(name)


def _remember(name: str) -> None:
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if isinstance(module, ModuleType) and file and file.endswith(".py") and is_own(file):
        with contextlib.suppress(OSError):
            _imported[name] = Imported(module, Path(file), Path(file).read_bytes())


def _use_current(name: str) -> None:
    """Forgets a module that the user has imported before, if its file has changed since."""
    module = sys.modules.get(name)
    if module is None or name in _imported or name == "__main__":
        return
    _remember(name)
    if name in _imported and _edited(_imported[name].file):
        _forget(name)


def _edited(file: Path) -> bool:
    """True if a source file has changed since Python imported it.

    Python's own cache of compiled code tells, as it holds the size and the time of the source.
    Without a cache, a file that is younger than this process counts as edited.
    """
    try:
        now = file.stat()
        cache = Path(importlib.util.cache_from_source(str(file)))
        flags, *its = struct.unpack("<3I", cache.read_bytes()[4:16])
        if flags == 0 and now.st_mtime_ns <= cache.stat().st_mtime_ns:
            return its != [int(now.st_mtime) & 0xFFFFFFFF, now.st_size & 0xFFFFFFFF]
        return flags == 0
    except (NotImplementedError, struct.error, OSError):
        started = time.time() - (time.perf_counter() - STARTED)
        return file.exists() and file.stat().st_mtime > started


def source(name: str) -> Imported | None:
    """Returns a module of the user's as it was imported here; None if it was not, or not by us."""
    its = _imported.get(name)
    return its if its is not None and sys.modules.get(name) is its.module else None


def refresh() -> None:
    """Forgets the user's modules whose source has changed since, and modules that import these.

    Called when a training or an evaluation starts, and never within one, which goes on with the
    code with which it has started.
    """
    look_in_current_folder()
    _look_again()
    for name in [name for name in list(_imported) if source(name) is None]:
        del _imported[name]
    changed = {name for name in list(_imported) if _differs(name)}
    while more := {name for name in _imported.keys() - changed if _uses(name, changed)}:
        changed |= more
    for name in changed:
        _forget(name)


def _differs(name: str) -> bool:
    its = _imported[name]
    found = files(name)
    file = found[-1] if found else its.file
    try:
        return file != its.file or file.read_bytes() != its.source
    except OSError:  # deleted: what was imported is all there is
        return False


def _uses(name: str, changed: set[str]) -> bool:
    """True if the source of a module, anywhere in it, imports one of those that have changed."""
    its = _imported[name]
    package = getattr(its.module, "__package__", None) or ""
    for node in ast.walk(ast.parse(its.source)):
        if isinstance(node, ast.Import):
            if changed & {alias.name for alias in node.names}:
                return True
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join(filter(None, [*above, node.module or ""]))
            if changed & {base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)}:
                return True
    return False


def _forget(name: str) -> None:
    its = _imported.pop(name)
    sys.modules.pop(name, None)
    # Python would take compiled code for that of a source of the same size and second.
    with contextlib.suppress(OSError, NotImplementedError):
        os.unlink(importlib.util.cache_from_source(str(its.file)))


def look_in_current_folder() -> None:
    """Adds the current folder to Python's import path; removes an earlier one that it has added."""
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        return
    while _added and _added[-1] != folder:
        earlier = _added.pop()
        if earlier in sys.path:
            sys.path.remove(earlier)
    if folder not in sys.path:
        sys.path.append(folder)
        _added.append(folder)


def _look_again() -> None:
    """Lets Python notice files of the user's that are younger than its knowledge of their folder.

    `importlib.invalidate_caches` does so for all folders, and imports a package for that.
    """
    for folder, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, FileFinder) and is_own(os.path.join(folder, "")):
            finder.invalidate_caches()


def files(name: str) -> list[Path]:
    """Returns the files that importing a module would run, its packages' first; runs none of them.

    The list is empty if there is no such module, or if it is not in files.
    """
    found: list[Path] = []
    folders = None
    parts = name.split(".")
    for i in range(len(parts)):
        spec: ModuleSpec | None = PathFinder.find_spec(".".join(parts[: i + 1]), folders)
        if spec is None:
            return found if i and found else []
        if spec.origin is not None and spec.has_location:
            found.append(Path(spec.origin))
        folders = spec.submodule_search_locations
        if folders is None and i + 1 < len(parts):
            return found
    return found


def refuse_inside(names: Iterable[str], folder: Path) -> None:
    """Raises UserError if one of these modules lies inside the folder of a run or a sweep.

    A folder may come from somebody else: the names in its configuration must not make its own files
    run. No module is imported to find that out.
    """
    look_in_current_folder()
    _look_again()
    holders = {os.path.abspath(folder), os.path.realpath(folder)}
    for name in dict.fromkeys(names):
        for file in files(name):
            its = {os.path.abspath(file), os.path.realpath(file)}
            if any(path.startswith(os.path.join(holder, "")) for path in its for holder in holders):
                raise UserError(
                    f"{folder}: its configuration names the module {name!r}, whose code would be "
                    f"{file}, inside that folder. The code in the folder of a run is never run: if "
                    f"you trust it, move it out of there"
                )
