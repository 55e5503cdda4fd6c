"""Runs the same command twice, and under other circumstances, and compares what it leaves.

Compared are each array of each checkpoint, the rows, the evaluation, the result and the pictures,
without what the clock says. The processes are new ones. All is done with this Python, and the same
command twice also with a second one, in which the project is installed as well:

    OTHER_PYTHON=.venv-3.11/bin/python python -m benchmarks.reliability determinism
"""

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import readme
from benchmarks.reliability import attempt
from benchmarks.reliability.left import RECORD, Left, compared
from benchmarks.reliability.repeating import costs
from benchmarks.reliability.repeating.commands import Commands, fresh
from benchmarks.reliability.row import Row

OTHER = "OTHER_PYTHON"
QUICK, ONE = "mlp_tiny", "cnn"  # configurations for short trials, and for other circumstances
GPU_NAMES = ("mlp", "cnn")
ON_GPU = "`--config.deterministic` twice on a GPU"  # the only row that may have no cases
VERSIONS = """
import importlib.metadata, platform
print("Python", platform.python_version(), "with jax", importlib.metadata.version("jax"))
"""


def measure(*, quick: bool) -> list[Row]:
    """Compares all configurations and circumstances, or, if `quick`, a few with one Python."""
    with tempfile.TemporaryDirectory() as folder:
        return rows(Commands(Path(folder), quick=quick))


def rows(commands: Commands) -> list[Row]:
    """Compares what the commands leave; returns the rows of the table."""
    if commands.quick:
        twice = _twice(commands, [QUICK], [sys.executable])
        others = [_circumstances(commands, QUICK), _deterministic(commands, [QUICK])]
    else:
        names = sorted(path.stem for path in (readme.ROOT / "configs").glob("*.py"))
        pythons = [sys.executable, *filter(None, [os.environ.get(OTHER)])]
        twice = _twice(commands, names, pythons)
        others = [_circumstances(commands, ONE), _cores(commands, names)]
        others.append(_deterministic(commands, names))
    return [twice, *others, _on_gpu(commands, GPU_NAMES)]


def _twice(commands: Commands, names: Sequence[str], pythons: Sequence[str]) -> Row:
    """Trains each configuration and a sweep twice with each Python."""
    lost, arrays, tried, good = [], 0, 0, 0
    versions = [_version(python) for python in pythons]
    if not commands.quick and len({*versions}) < 2:
        lost.append(f"only one Python was measured: set {OTHER} to a second one")
    for python, version in zip(pythons, versions, strict=True):
        for name, (train, again) in _trainings(commands, names, python).items():
            tried += 1
            what = f"{name}, {version}"
            pair: list[Left] = []
            wrong = attempt.lines(what, functools.partial(_differ, pair, train, again))
            arrays += sum(map(_is_array, pair[0] if pair else ()))
            lost += wrong
            good += not wrong
    found = (
        f"of {good} the same bits: {arrays:,} arrays in checkpoints, rows, evaluations, results "
        f"and pictures"
    )
    anew = "" if commands.quick else ", compiled anew the second time"
    what = f"the same command twice{anew}, with {' and '.join(versions)}"
    return Row(what, tried, found, lost)


def _trainings(
    commands: Commands, names: Sequence[str], python: str
) -> dict[str, tuple[Callable[[], Left], Callable[[], Left]]]:
    """Returns two functions that train the same, by the name of what they train.

    The second one compiles all programs anew, except in the quick form.
    """
    its: dict[str, tuple[Callable[[], Left], Callable[[], Left]]] = {}
    for name in names:
        first = functools.partial(commands.main, name, python=python)
        usual = functools.partial(commands.usual, name) if python == sys.executable else first
        its[name] = (usual, functools.partial(first, **_no_programs(commands)))
    if not commands.quick:
        sweep = functools.partial(commands.sweep, python=python)
        its["a sweep"] = (sweep, functools.partial(sweep, **_no_programs(commands)))
    return its


def _no_programs(commands: Commands) -> dict[str, str]:
    """Returns the setting of an empty folder for compiled programs; none for the quick form."""
    if commands.quick:
        return {}
    return {"JAX_COMPILATION_CACHE_DIR": tempfile.mkdtemp(dir=commands.folder)}


def _differ(pair: list[Left], first: Callable[[], Left], second: Callable[[], Left]) -> list[str]:
    """Compares what two trainings leave, and adds both to `pair`."""
    pair += [first(), second()]
    return compared("two trainings", *pair)


def _is_array(name: str) -> bool:
    return "checkpoints/" in name and not name.endswith(f"/{RECORD}")


def _version(python: str) -> str:
    return fresh([python, "-c", VERSIONS], cwd=readme.ROOT)


def _circumstances(commands: Commands, name: str) -> Row:
    """Trains one configuration again where something about the process or machine is different."""
    cold = str(commands.folder / "programs")
    again = functools.partial(commands.again, name)
    tried: dict[str, Callable[[], Left]] = {
        "another hash seed": functools.partial(again, PYTHONHASHSEED="4711"),
        "no compiled programs kept": functools.partial(again, JAX_COMPILATION_CACHE_DIR=cold),
        "programs kept by another process": functools.partial(
            again, JAX_COMPILATION_CACHE_DIR=cold
        ),
        "another locale": functools.partial(again, LC_ALL="C", LANG="C"),
        "another time zone": functools.partial(again, TZ="Asia/Kathmandu"),
        "a machine under load": functools.partial(_under_load, again),
    }
    if commands.quick:
        tried = dict(list(tried.items())[:1])
    lost = [
        line
        for what, train in tried.items()
        for line in attempt.lines(what, functools.partial(_as_usual, commands, name, train))
    ]
    found = f"the bits of the usual run in {len(tried) - len(lost)}, with {', '.join(tried)}"
    return Row(f"`configs/{name}.py` under other circumstances", len(tried), found, lost)


def _as_usual(commands: Commands, name: str, train: Callable[[], Left]) -> list[str]:
    return compared("against the usual run", commands.expected(name), train())


def _under_load(train: Callable[[], Left]) -> Left:
    with _load(2 * (os.cpu_count() or 1)):
        return train()


@contextlib.contextmanager
def _load(processes: int) -> Iterator[None]:
    """Keeps the machine busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _cores(commands: Commands, names: Sequence[str]) -> Row:
    """Compares a process that may use one core with one that may use all; nothing is promised."""
    differ: list[str] = []
    lost = []
    for name in names:
        case = functools.partial(_alone, commands, name, differ)
        lost += attempt.lines(f"{name} on one core", case)
    cores = len(os.sched_getaffinity(0))
    told = f"other bits in {', '.join(differ)}" if differ else "the same bits in all"
    found = f"{told}: on one core instead of {cores}; nothing is promised here"
    return Row("another number of cores", len(names), found, lost, promised=False)


def _alone(commands: Commands, name: str, differ: list[str]) -> list[str]:
    """Adds a configuration to `differ` if it has other bits on one core, which is no loss."""
    if compared(name, commands.expected(name), commands.again(name, cores=1)):
        differ.append(name)
    return []


def _deterministic(commands: Commands, names: Sequence[str]) -> Row:
    """Compares a run with `deterministic` with one without on the CPU, where they must agree."""
    lost = []
    for name in names:
        lost += attempt.lines(name, functools.partial(_asked, commands, name))
    found = f"the same bits with and without it in {len(names) - len(lost)}"
    return Row(
        "`--config.deterministic` on a CPU, where it changes nothing", len(names), found, lost
    )


def _asked(commands: Commands, name: str) -> list[str]:
    """Compares without the files that hold the configuration itself."""
    train = functools.partial(commands.main, JAX_PLATFORMS="cpu")
    on_cpu = commands.backend == "cpu"
    its = [
        commands.expected(name) if on_cpu else train(name),
        train(name, "deterministic=True", report=not commands.quick),
    ]
    of_config = ("config.json", "result.json")
    kept = [{n: d for n, d in each.items() if n not in of_config} for each in its]
    return compared("with and without it", *kept)


def _on_gpu(commands: Commands, names: Sequence[str]) -> Row:
    """Trains twice with `deterministic` on a GPU, and measures what that costs."""
    if commands.backend != "gpu":
        found = (
            "not yet measured: there was no GPU; on a machine with one, "
            "`python -m benchmarks.reliability determinism` measures it"
        )
        return Row(ON_GPU, 0, found)
    lost = []
    for name in names:
        train = functools.partial(commands.main, name, "deterministic=True")
        lost += attempt.lines(name, functools.partial(_differ, [], train, train))
    found = f"the same bits in {len(names) - len(lost)}; {costs.told(names, at_least=1.0)}"
    return Row(ON_GPU, len(names), found, lost)
