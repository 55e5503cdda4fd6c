"""Environments in which a short training must end well, or with one message."""

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

NOBODY = 54321  # number of a user without an entry
NOWHERE = "/proc/nowhere"  # nothing can be created there
TOGETHER = 8  # switches of JAX that are tried at a time
ALONE = (
    "JAX_ENABLE_X64",
    "JAX_DISABLE_JIT",
    "JAX_DISABLE_MOST_OPTIMIZATIONS",
    "JAX_DEBUG_NANS",
    "JAX_NO_EXECUTION",
    "JAX_NO_TRACING",
    "JAX_SCAN3",
    "JAX_THREEFRY_PARTITIONABLE",
)
NO_LOCKS = """
import errno, fcntl
def flock(file, operation):
    raise OSError(errno.{name}, "made up")
fcntl.flock = flock
"""
PTY = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
TERMINAL = f"{sys.executable} -c '{PTY}' {{command}}"
TWICE = "{command} > /dev/null 2>&1 & {command}; status=$?; wait; exit $status"
REMOVED = "mkdir gone; cd gone; rmdir ../gone; {command}"
STYLE = "text.usetex: True\nsavefig.format: pdf\nfont.family: Nothing\nimage.cmap: nonsense\n"
MODULES = ("data", "config", "models", "settings", "files", "lock", "errors", "sweep", "stop")


def nothing() -> None:
    """Does nothing."""


@dataclass(frozen=True)
class Environment:
    """What surrounds a command.

    `same` is False if the result may differ from that of a plain environment, because the variable
    asks for it. `before` is called in the new process before it becomes the command. `shell` is a
    pattern for the whole command line. `files` lie in the current folder.
    """

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    same: bool = True
    before: Callable[[], object] = nothing
    shell: str = "{command}"
    workdir: str = "run"
    startup: str = ""  # a module that Python imports at its start
    command: str = "main"
    arguments: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def _set(name: str, value: str, same: bool = True) -> Environment:
    return Environment(f"{name}={value}", {name: value}, same=same)


def _limit(kind: str, value: int) -> Environment:
    def before() -> None:
        resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (value, value))

    return Environment(f"RLIMIT_{kind}={value}", before=before)


def _nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _anybody_can_run_python() -> bool:
    """True if this process can become another user, who can run this interpreter."""
    if os.getuid():
        return False
    try:
        its = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        return not subprocess.run([sys.executable, "-c", ""], **its).returncode
    except OSError:
        return False


def _switches() -> Iterator[Environment]:
    """Yields all settings of JAX that are on or off, as they are not by default, some at a time."""
    default = {"JAX_PLATFORMS": "cpu"} | {
        name: text for name, text in os.environ.items() if not name.startswith("JAX_")
    }
    printing = "import jax, json; print(json.dumps(jax.config.values, default=str))"
    done = subprocess.run(
        [sys.executable, "-c", printing], env=default, capture_output=True, check=True
    )
    other = {
        name.upper(): str(int(not value))
        for name, value in sorted(json.loads(done.stdout).items())
        if isinstance(value, bool)
    }
    alone = {name: other.pop(name) for name in ALONE if name in other}
    for name, value in alone.items():
        # Tests ask for the other program that JAX_DISABLE_MOST_OPTIMIZATIONS gives.
        yield _set(name, value, same=name != "JAX_DISABLE_MOST_OPTIMIZATIONS")
    names = sorted(other)
    for start in range(0, len(names), TOGETHER):
        some = {name: other[name] for name in names[start : start + TOGETHER]}
        yield Environment(" ".join(f"{name}={value}" for name, value in some.items()), some)


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
    yield from _of_jax(file)
    yield from _of_python(file, style)
    yield from _streams()
    yield from _around()
    yield from _limits()
    yield from _workdirs()
    yield Environment("a link to itself", shell="ln -s loop loop; {command}", workdir="loop")
    yield from _sweeps()


def _of_jax(file: Path) -> Iterator[Environment]:
    """Yields environments of what JAX and XLA read."""
    yield from _switches()
    for name, value in (
        ("JAX_DEFAULT_DTYPE_BITS", "32"),
        ("JAX_DEFAULT_PRNG_IMPL", "rbg"),
        ("JAX_DEFAULT_PRNG_IMPL", "unsafe_rbg"),
        ("JAX_DEFAULT_PRNG_IMPL", "nonsense"),
        ("JAX_DEFAULT_DEVICE", "cpu"),
        ("JAX_DEFAULT_DEVICE", "nonsense"),
        ("JAX_OPTIMIZATION_LEVEL", "nonsense"),
        ("JAX_NUMPY_DTYPE_PROMOTION", "strict"),
        ("JAX_NUMPY_RANK_PROMOTION", "raise"),
        ("JAX_TRANSFER_GUARD", "disallow"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "bfloat16"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "nonsense"),
        ("JAX_ERROR_CHECKING_BEHAVIOR_NAN", "raise"),
        ("JAX_LEGACY_PRNG_KEY", "error"),
        ("JAX_COMPILATION_CACHE_MAX_SIZE", "1"),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "abc"),
        ("JAX_LOGGING_LEVEL", "ERROR"),
        ("JAX_DUMP_IR_TO", NOWHERE),
        ("JAX_COORDINATOR_ADDRESS", "192.0.2.1:1"),
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
        ("JAX_ENABLE_X64", "perhaps"),
        ("XLA_FLAGS", "--xla_nonsense=1"),
        ("XLA_FLAGS", "nonsense"),
        ("XLA_FLAGS", f"--xla_dump_to={NOWHERE}"),
        ("XLA_PYTHON_CLIENT_MEM_FRACTION", "most"),
        ("SLURM_NTASKS", "4"),
        ("LD_PRELOAD", "/nowhere.so"),
        ("MALLOC_ARENA_MAX", "1"),
        ("TF_CPP_MIN_LOG_LEVEL", "0"),
        ("CUDA_VISIBLE_DEVICES", "0"),
    ):
        yield _set(name, value)
    for name, value in (  # another number of devices sums in another order
        ("JAX_NUM_CPU_DEVICES", "3"),
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=4"),
    ):
        yield _set(name, value, same=False)


def _of_python(file: Path, style: Path) -> Iterator[Environment]:
    """Yields environments of what Matplotlib, Python, tfds and the terminal read."""
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
        ("PYTHONSAFEPATH", "1"),
        ("PYTHONMALLOC", "debug"),
        ("PYTHONPYCACHEPREFIX", NOWHERE),
        ("PYTHONINTMAXSTRDIGITS", "640"),
        ("PYTHONNOUSERSITE", "1"),
        ("PYTHON_CPU_COUNT", "1"),
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
        ("USER", ""),
        ("PWD", "/nowhere"),
        ("LANG", "xx_YY.nonsense"),
        ("XDG_CONFIG_HOME", NOWHERE),
        ("SOURCE_DATE_EPOCH", "soon"),
        ("FORCE_COLOR", "1"),
    ):
        yield _set(name, value)
    yield Environment("no HOME", without=("HOME",))
    yield Environment(
        "an ASCII locale without UTF-8 mode",
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )


def _streams() -> Iterator[Environment]:
    """Yields environments of standard streams."""
    for number, stream in enumerate(("input", "output", "error")):
        yield Environment(f"closed standard {stream}", shell=f"{{command}} {number}>&-")
    yield Environment("full standard output", shell="{command} > /dev/full")
    yield Environment("full standard error", shell="{command} 2> /dev/full")
    yield Environment("standard output that is read for one line", shell="{command} | head -n 1")
    yield Environment("standard output that nobody reads", shell="{command} | true")
    for kind in ("dumb", "xterm"):
        yield Environment(f"a terminal, TERM={kind}", {"TERM": kind}, shell=TERMINAL)
    yield Environment("under nohup", shell="nohup {command}")
    yield Environment("in the background", shell="{command} & wait $!")
    yield Environment("the same command at once", shell=TWICE)


def _around() -> Iterator[Environment]:
    """Yields environments of folders and files around the command."""
    yield Environment("a current folder that was removed", shell=REMOVED)
    yield Environment("a matplotlibrc", files={"matplotlibrc": STYLE})
    yield Environment(
        "modules of other people's names",
        files={f"{name}.py": "raise RuntimeError(__name__)" for name in MODULES},
    )


def _limits() -> Iterator[Environment]:
    """Yields environments of limits and rights."""
    yield _limit("NOFILE", 24)
    yield _limit("NOFILE", 64)
    yield _limit("FSIZE", 100_000)
    yield _limit("FSIZE", 10_000_000)
    yield _limit("FSIZE", 1_000)
    yield _limit("FSIZE", 1_000_000)
    for size in (300_000_000, 1_500_000_000, 4_000_000_000):
        yield _limit("AS", size)
    for size in (300_000_000, 1_200_000_000):
        yield _limit("DATA", size)
    for seconds in (5, 3600):  # of processor time
        yield _limit("CPU", seconds)
    yield Environment("RLIMIT_CPU, soft alone", shell="ulimit -S -t 5; {command}")
    yield _limit("STACK", 1_000_000)
    yield _limit("CORE", 0)
    for mask in (0o077, 0o777, 0o000):
        yield Environment(f"umask {mask:03o}", before=lambda mask=mask: os.umask(mask))
    if hasattr(os, "sched_setaffinity"):
        yield Environment("one processor", before=lambda: os.sched_setaffinity(0, {0}))
    yield Environment("lowest priority", before=lambda: os.nice(19))
    if _anybody_can_run_python():
        yield Environment("a user without an entry and without rights", before=_nobody)
    for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "EIO"):
        yield Environment(f"locks fail with {name}", startup=NO_LOCKS.format(name=name))


def _workdirs() -> Iterator[Environment]:
    """Yields environments of names of the working folder."""
    for workdir in (
        "with blanks in it",
        " leading and trailing ",
        "new\nline",
        "ünïcödé-数字",
        "עברית",
        os.fsdecode(b"latin-\xe9"),
        "tab\tand\rreturn",
        "*",
        "$HOME",
        "run.py",
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


def _sweeps() -> Iterator[Environment]:
    """Yields environments of a sweep, which has devices, tables and plots of its own."""
    for name, variables, limit in (
        ("no HOME", {"HOME": ""}, None),
        ("PYTHONIOENCODING=ascii", {"PYTHONIOENCODING": "ascii"}, None),
        ("COLUMNS=1", {"COLUMNS": "1"}, None),
        ("MPLBACKEND=nonsense", {"MPLBACKEND": "nonsense"}, None),
        ("JAX_NUM_CPU_DEVICES=3", {"JAX_NUM_CPU_DEVICES": "3"}, None),
        ("JAX_DISABLE_JIT=1", {"JAX_DISABLE_JIT": "1"}, None),
        ("RLIMIT_NOFILE=64", {}, ("NOFILE", 64)),
        ("RLIMIT_AS=1500000000", {}, ("AS", 1_500_000_000)),
        ("RLIMIT_FSIZE=100000", {}, ("FSIZE", 100_000)),
    ):
        yield Environment(
            f"a sweep, {name}",
            variables,
            before=_limit(*limit).before if limit else nothing,
            command="sweep",
            arguments=("--seeds=2",),
        )
