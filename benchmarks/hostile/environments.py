"""Environments in which a short training must end well, or with one message."""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

NOWHERE = "/proc/nowhere"  # nothing can be created there
NO_LOCKS = """
import errno, fcntl
def flock(file, operation):
    raise OSError(errno.{name}, "made up")
fcntl.flock = flock
"""


def nothing() -> None:
    """Does nothing."""


@dataclass(frozen=True)
class Environment:
    """What surrounds a command.

    `same` is False if the result may differ from that of a plain environment, because the variable
    asks for it. `before` is called in the new process before it becomes the command. `shell` is a
    pattern for the whole command line.
    """

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    same: bool = True
    before: Callable[[], object] = nothing
    shell: str = "{command}"
    workdir: str = "run"
    startup: str = ""  # a module that Python imports at its start


def _set(name: str, value: str, same: bool = True) -> Environment:
    return Environment(f"{name}={value}", {name: value}, same=same)


def _limit(kind: str, value: int) -> Environment:
    def before() -> None:
        resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (value, value))

    return Environment(f"RLIMIT_{kind}={value}", before=before)


def _nobody() -> None:
    os.setgroups([])
    os.setgid(54321)
    os.setuid(54321)


def environments(folder: Path) -> Iterator[Environment]:
    """Yields all environments.

    Args:
      folder: a folder for files that some of them need.
    """
    file = folder / "file"
    file.write_text("not a folder")
    style = folder / "style"
    style.write_text("figure.dpi: many\nbackend: nonsense\n")
    with contextlib.suppress(FileExistsError):
        (folder / "dangling").symlink_to(folder / "missing" / "target")
    # What JAX and XLA read
    for name, value in (
        ("JAX_ENABLE_X64", "1"),
        ("JAX_DEFAULT_DTYPE_BITS", "32"),
        ("JAX_DEFAULT_PRNG_IMPL", "rbg"),
        ("JAX_DEFAULT_PRNG_IMPL", "unsafe_rbg"),
        ("JAX_DEFAULT_PRNG_IMPL", "nonsense"),
        ("JAX_THREEFRY_PARTITIONABLE", "0"),
        ("JAX_NUMPY_DTYPE_PROMOTION", "strict"),
        ("JAX_NUMPY_RANK_PROMOTION", "raise"),
        ("JAX_DISABLE_JIT", "1"),
        ("JAX_TRANSFER_GUARD", "disallow"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "bfloat16"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "nonsense"),
        ("JAX_DEBUG_NANS", "1"),
        ("JAX_DEBUG_INFS", "1"),
        ("JAX_DEBUG_KEY_REUSE", "1"),
        ("JAX_CHECK_TRACER_LEAKS", "1"),
        ("JAX_ENABLE_CHECKS", "1"),
        ("JAX_ENABLE_CUSTOM_PRNG", "1"),
        ("JAX_LOG_COMPILES", "1"),
        ("JAX_EXPLAIN_CACHE_MISSES", "1"),
        ("JAX_TRACEBACK_FILTERING", "off"),
        ("JAX_PLATFORMS", "cuda"),
        ("JAX_PLATFORMS", "tpu"),
        ("JAX_PLATFORMS", "nonsense"),
        ("JAX_PLATFORM_NAME", "gpu"),
        ("JAX_NUM_CPU_DEVICES", "0"),
        ("JAX_NUM_CPU_DEVICES", "many"),
        ("JAX_COMPILATION_CACHE_DIR", NOWHERE),
        ("JAX_COMPILATION_CACHE_DIR", str(file)),
        ("JAX_COMPILATION_CACHE_DIR", ""),
        ("JAX_ENABLE_COMPILATION_CACHE", "0"),
        ("JAX_CPU_ENABLE_ASYNC_DISPATCH", "0"),
        ("JAX_ENABLE_X64", "perhaps"),
        ("XLA_FLAGS", "--xla_nonsense=1"),
        ("XLA_FLAGS", "nonsense"),
        ("TF_CPP_MIN_LOG_LEVEL", "0"),
        ("CUDA_VISIBLE_DEVICES", "0"),
    ):
        yield _set(name, value)
    for name, value in (  # another number of devices sums in another order
        ("JAX_NUM_CPU_DEVICES", "3"),
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=4"),
        ("JAX_DISABLE_MOST_OPTIMIZATIONS", "1"),
    ):
        yield _set(name, value, same=False)
    # What Matplotlib, Python, tfds and the terminal read
    for name, value in (
        ("MPLBACKEND", "module://ipympl.backend_nbagg"),
        ("MPLBACKEND", "nonsense"),
        ("MPLBACKEND", "TkAgg"),
        ("MATPLOTLIBRC", str(style)),
        ("MATPLOTLIBRC", NOWHERE),
        ("MPLCONFIGDIR", NOWHERE),
        ("PYTHONIOENCODING", "ascii"),
        ("PYTHONIOENCODING", "utf-16"),
        ("PYTHONOPTIMIZE", "2"),
        ("PYTHONWARNINGS", "error"),
        ("PYTHONDEVMODE", "1"),
        ("PYTHONHASHSEED", "12345"),
        ("PYTHONUNBUFFERED", "1"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONFAULTHANDLER", "1"),
        ("COLUMNS", "1"),
        ("COLUMNS", "100000"),
        ("COLUMNS", "wide"),
        ("TERM", "nonsense"),
        ("NO_COLOR", "1"),
        ("LC_ALL", "C"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("LC_ALL", "nonsense"),
        ("TZ", "Nowhere/Nothing"),
        ("TMPDIR", NOWHERE),
        ("HOME", NOWHERE),
        ("HOME", ""),
        ("XDG_CACHE_HOME", NOWHERE),
        ("XDG_CACHE_HOME", str(file)),
        ("XDG_CACHE_HOME", "relative"),
        ("XDG_CACHE_HOME", "~/cache"),
        ("XDG_CACHE_HOME", "~nobody-of-this-name/cache"),
        ("TFDS_DATA_DIR", NOWHERE),
        ("TFDS_DATA_DIR", str(file)),
        ("TFDS_DATA_DIR", "relative"),
        ("TFDS_DATA_DIR", "~/data"),
        ("TFDS_DATA_DIR", ""),
        ("GIT_DIR", NOWHERE),
        ("GIT_WORK_TREE", "/"),
        ("PATH", ""),
        ("OMP_NUM_THREADS", "0"),
        ("https_proxy", "nonsense://"),
    ):
        yield _set(name, value)
    yield Environment("no HOME", without=("HOME",))
    yield Environment(
        "an ASCII locale without UTF-8 mode",
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    # Standard streams
    for number, stream in enumerate(("input", "output", "error")):
        yield Environment(f"closed standard {stream}", shell=f"{{command}} {number}>&-")
    yield Environment("full standard output", shell="{command} > /dev/full")
    yield Environment("full standard error", shell="{command} 2> /dev/full")
    yield Environment("standard output that is read for one line", shell="{command} | head -n 1")
    yield Environment("standard output that nobody reads", shell="{command} | true")
    # Limits and rights
    yield _limit("NOFILE", 24)
    yield _limit("NOFILE", 64)
    yield _limit("FSIZE", 100_000)
    yield _limit("FSIZE", 10_000_000)
    yield _limit("AS", 1_500_000_000)
    yield _limit("STACK", 1_000_000)
    yield _limit("CORE", 0)
    for mask in (0o077, 0o777, 0o000):
        yield Environment(f"umask {mask:03o}", before=lambda mask=mask: os.umask(mask))
    if hasattr(os, "sched_setaffinity"):
        yield Environment("one processor", before=lambda: os.sched_setaffinity(0, {0}))
    yield Environment("lowest priority", before=lambda: os.nice(19))
    if os.getuid() == 0:
        yield Environment("a user without an entry and without rights", before=_nobody)
    for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "EIO"):
        yield Environment(f"locks fail with {name}", startup=NO_LOCKS.format(name=name))
    # Names of the working folder
    for workdir in (
        "with blanks in it",
        " leading and trailing ",
        "new\nline",
        "ünïcödé-数字",
        "-dash",
        "per%cent",
        "{braces}",
        "'quotes\"",
        "a/b/c/d/e/f",
        "x" * 200,
        "x" * 300,
        "run/",
        "./run/../run",
        "~/run",
        "dangling",
        "file",
        "file/below",
        "gs://bucket/run",
        "https://example.org/run",
        "",
        "\x01",
        NOWHERE,
    ):
        name = workdir if len(workdir) < 30 else f"{workdir[:10]}... ({len(workdir)} characters)"
        yield Environment(f"--workdir={name!r}", workdir=workdir)
