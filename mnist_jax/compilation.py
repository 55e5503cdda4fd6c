"""Shortens compilation: programs are kept on disk, and those that run once are optimized less."""

import contextlib
import functools
import glob
import os
import re
import threading
import warnings
from pathlib import Path
from typing import Any

import jax
from jax._src import compilation_cache

from mnist_jax import home
from mnist_jax.errors import print_warning

CONFIG: Any = jax.config  # not every version declares its settings

LARGEST = 1 << 30  # bytes of compiled programs that are kept
TROUBLE = r"Error (reading|writing) persistent compilation cache entry for '(.*?)': (.*)"


def optimized(level: int) -> dict[str, Any] | None:
    """Returns options for `jax.jit` with which XLA optimizes a program less, on a CPU.

    A network's random start takes XLA:CPU seconds to compile, and milliseconds to compute. At level
    1 it takes a fraction of that to compile, and computes the same bits as fast.

    Args:
      level: 0 or 1; XLA's own is 3. At level 0, programs run several times as long as at level 1.

    Returns:
      The options; None on other devices, whose programs take another compiler.
    """
    return {"xla_backend_optimization_level": level} if jax.default_backend() == "cpu" else None


def keep_programs() -> None:
    """Turns on JAX's persistent compilation cache, for programs of any size.

    The cache is in the folder that JAX was given, for example by `JAX_COMPILATION_CACHE_DIR`, else
    in the user's cache folder. There the programs that were not used for the longest time are
    removed if all take more than `LARGEST`; JAX's own limit needs a package and a lock. See
    https://docs.jax.dev/en/latest/persistent_compilation_cache.html
    """
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_raise_persistent_cache_errors", False)
    given = CONFIG.jax_compilation_cache_dir
    if not given:
        folder = home.caches() / "mnist_jax" / "programs"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        threading.Thread(target=_make_room, args=(folder,), daemon=True).start()
    elif given.startswith("~"):  # JAX would make a folder of that name
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(given))
    _add_checksums()
    _explain_trouble()


def _add_checksums() -> None:
    """Lets JAX compress programs by zlib, even where it would choose Zstandard.

    What zlib writes ends with a checksum. JAX writes Zstandard's frames without one, and runs a
    program in which a bit has flipped, which may then compute something else, in silence.
    """
    for name in ("zstd", "zstandard"):  # of Python 3.14, and the package
        if getattr(compilation_cache, name, None) is not None:
            setattr(compilation_cache, name, None)


def _make_room(folder: Path) -> None:
    """Removes the programs that were not used for the longest time, until `LARGEST` suffices."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [(entry, entry.stat()) for entry in entries if entry.name.endswith("-cache")]
    size = sum(stat.st_size for _, stat in found)
    for entry, stat in sorted(found, key=lambda pair: max(pair[1].st_atime, pair[1].st_mtime)):
        if size <= LARGEST:
            return
        with contextlib.suppress(OSError):  # removed by another process meanwhile
            os.unlink(entry)
        size -= stat.st_size


@functools.cache  # once in a process
def _explain_trouble() -> None:
    """Makes one line of JAX's warnings that a program could not be read or written.

    A damaged program is removed: JAX compiles it again, but would not replace it.
    """
    show = warnings.showwarning
    warnings.filterwarnings("always", TROUBLE)

    def explain(message: Any, *arguments: Any, **keywords: Any) -> None:
        trouble = re.match(TROUBLE, str(message))
        if trouble is None:
            show(message, *arguments, **keywords)
        elif trouble[1] == "writing" or not _remove(trouble[2]):
            _say_once(f"compiled programs cannot be kept: {trouble[3]}")

    warnings.showwarning = explain


def _remove(program: str) -> bool:
    """Removes a program of this name from the disk; returns False if there is none."""
    folder = Path(CONFIG.jax_compilation_cache_dir or "")
    with contextlib.suppress(OSError):
        for path in (found := list(folder.glob(f"{glob.escape(program)}-*-cache"))):
            path.unlink()
        if found:
            _say_once(f"compiled programs in {folder} are damaged, and are compiled again")
        return bool(found)
    return False


@functools.cache
def _say_once(text: str) -> None:
    print_warning(text)
