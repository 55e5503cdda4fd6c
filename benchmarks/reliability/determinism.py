"""Runs the same command twice, and under other circumstances, and compares what it leaves.

Compared are each array of each checkpoint, the rows, the evaluation, the result and the pictures,
without what the clock says. The processes are new ones, with this Python and, if the environment
variable `OTHER_PYTHON` names another one in which the project is installed, with that one too.
"""

import contextlib
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import readme
from benchmarks.reliability.planting import saved
from benchmarks.reliability.row import Row

OTHER = "OTHER_PYTHON"
SHORT = (
    "num_epochs=2", "data.train_split=train[:1280]", "data.val_split=train[1280:1800]",
    "chunk_steps=4",
)  # fmt: skip
QUICK, ONE = "mlp_tiny", "cnn"  # configurations for short trials, and for other circumstances
TIMES = (*saved.TIMINGS, "train_seconds", "compile_seconds", "total_seconds")
SWEEP = """
import mnist_jax
from mnist_jax.config import default
from mnist_jax.members import Sweep

def get_sweep():
    members = {}
    for width in (8, 16):
        config = default()
        config.num_epochs, config.metrics = 2, ("brier",)
        config.data.train_split, config.data.val_split = "train[:1280]", "train[1280:1800]"
        config.model = dict(name="mlp", hidden=(width,), dropout=0.2)
        members[f"w{width}"] = config
    return Sweep(members, seeds=3)
"""
Left = dict[str, str]  # digests of what a command leaves, by name
SAID_EVERY = 30.0  # seconds


class Commands:
    """Runs commands in new processes, each into a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self._said = time.monotonic()
        self.usual = functools.cache(self.main)  # by name, of the first training of each

    def main(self, name: str, *overrides: str, python: str = sys.executable, **how: Any) -> Left:
        """Trains a short form of a configuration; returns what it leaves."""
        workdir = self._new(f"main with configs/{name}.py")
        words = [f"--config={readme.ROOT / 'configs' / name}.py", f"--workdir={workdir}"]
        words += [f"--config.{override}" for override in (*SHORT, *overrides)]
        _run([python, "-m", "mnist_jax.main", *words], cwd=self.folder, **how)
        return left(workdir)

    def sweep(self, python: str = sys.executable) -> Left:
        """Trains a sweep of two architectures, three seeds each; returns what it leaves."""
        workdir = self._new("a sweep")
        (self.folder / "small_sweep.py").write_text(SWEEP)
        words = ["--config=small_sweep.py", f"--workdir={workdir}"]
        _run([python, "-m", "mnist_jax.sweep", *words], cwd=self.folder)
        return left(workdir)

    def _new(self, what: str) -> Path:
        self.count += 1
        if time.monotonic() - self._said > SAID_EVERY:
            self._said = time.monotonic()
            print(f"  command {self.count}: {what}", flush=True)
        return self.folder / f"run-{self.count}"


def measure(*, quick: bool) -> list[Row]:
    """Compares all configurations and circumstances, or, if `quick`, a few."""
    names = sorted(path.stem for path in (readme.ROOT / "configs").glob("*.py"))
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder))
        pythons = [sys.executable] + ([os.environ[OTHER]] if os.environ.get(OTHER) else [])
        if quick:
            names = [QUICK]
        rows = [_twice(commands, names, its, quick=quick) for its in pythons]
        rows.append(_circumstances(commands, QUICK if quick else ONE, quick=quick))
        if not quick:
            rows.append(_cores(commands, names))
        rows.append(_deterministic(commands, names))
        return [*rows, _on_gpu(commands, ["mlp", "cnn"])]


def left(workdir: Path) -> Left:
    """Returns digests of all that a training leaves, without what the clock says."""
    found: dict[str, str] = {}
    for folder in (workdir, *sorted(workdir.glob("populations/*"))):
        its = saved.digests(folder)
        found |= {f"{folder.relative_to(workdir)}/checkpoints/{n}": d for n, d in its.items()}
    for path in sorted(workdir.rglob("*")):
        if path.suffix in (".json", ".jsonl", ".png") and "checkpoints" not in path.parts:
            found[str(path.relative_to(workdir))] = hashlib.sha256(_content(path)).hexdigest()
    found.pop("clock.json", None)
    return found


def _content(path: Path) -> bytes:
    if path.suffix == ".png":
        return path.read_bytes()
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    return json.dumps([_untimed(json.loads(line)) for line in lines]).encode()


def _untimed(value: Any) -> Any:
    """Leaves out of a JSON value, at any depth, what the clock says."""
    if isinstance(value, dict):
        return {name: _untimed(its) for name, its in value.items() if name not in TIMES}
    return [_untimed(its) for its in value] if isinstance(value, list) else value


def compared(what: str, first: Left, second: Left) -> list[str]:
    """Returns a line that names what differs, or none if nothing does."""
    names = sorted(n for n in first.keys() | second.keys() if first.get(n) != second.get(n))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{what}: {', '.join(names[:3])}{more} differ"] if names else []


def _twice(commands: Commands, names: Sequence[str], python: str, *, quick: bool) -> Row:
    """Trains each configuration and a sweep twice with one Python."""
    what, lost, arrays = _version(python), [], 0
    own = python == sys.executable
    trainings: dict[str, tuple[Callable[[], Left], Callable[[], Left]]] = {}
    for name in names:
        again = functools.partial(commands.main, name, python=python)
        trainings[name] = (functools.partial(commands.usual, name) if own else again, again)
    if not quick:
        sweep = functools.partial(commands.sweep, python)
        trainings["a sweep"] = (sweep, sweep)
    for name, (train, again) in trainings.items():
        first, second = train(), again()
        arrays += sum("/checkpoints/" in its for its in first)
        lost += compared(f"{name}, {what}", first, second)
    found = (
        f"of {len(trainings) - len(lost)} the same bits: {arrays:,} arrays in checkpoints, rows, "
        f"evaluations, results and pictures"
    )
    return Row(f"the same command twice, {what}", len(trainings), found, lost)


def _version(python: str) -> str:
    code = (
        "import platform, jax; print('Python', platform.python_version(), 'jax', jax.__version__)"
    )
    return _run([python, "-c", code], cwd=readme.ROOT).strip()


def _circumstances(commands: Commands, name: str, *, quick: bool) -> Row:
    """Trains one configuration again where something about the process or machine is different."""
    usual = commands.usual(name)
    cold = str(commands.folder / "programs")
    tried: dict[str, Callable[[], Left]] = {
        "another hash seed": functools.partial(commands.main, name, PYTHONHASHSEED="4711"),
        "no compiled programs kept": functools.partial(
            commands.main, name, JAX_COMPILATION_CACHE_DIR=cold
        ),
        "programs kept by another process": functools.partial(
            commands.main, name, JAX_COMPILATION_CACHE_DIR=cold
        ),
        "another locale": functools.partial(commands.main, name, LC_ALL="C", LANG="C"),
        "another time zone": functools.partial(commands.main, name, TZ="Asia/Kathmandu"),
        "a machine under load": functools.partial(_under_load, commands, name),
    }
    if quick:
        tried = dict(list(tried.items())[:1])
    lost = [line for what, train in tried.items() for line in compared(what, usual, train())]
    found = f"the bits of the usual run with {', '.join(tried)}"
    return Row(f"`configs/{name}.py` under other circumstances", len(tried), found, lost)


def _under_load(commands: Commands, name: str) -> Left:
    with _load(2 * (os.cpu_count() or 1)):
        return commands.main(name)


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
    differ = []
    for name in names:
        usual, alone = commands.usual(name), commands.main(name, cores=1)
        differ += [name] if compared(name, usual, alone) else []
    cores = len(os.sched_getaffinity(0))
    told = f"other bits in {', '.join(differ)}" if differ else "the same bits in all"
    found = f"{told}: on one core instead of {cores} (nothing is promised here)"
    return Row("another number of cores", len(names), found)


def _deterministic(commands: Commands, names: Sequence[str]) -> Row:
    """Compares a run with `deterministic` with one without on the CPU, where they must agree."""
    lost = []
    for name in names:
        cpu = {"JAX_PLATFORMS": "cpu"}
        usual = commands.usual(name) if backend() == "cpu" else commands.main(name, **cpu)
        asked = commands.main(name, "deterministic=True", **cpu)
        lost += compared(name, _without_config(usual), _without_config(asked))
    found = f"the same bits with and without it in {len(names) - len(lost)}"
    return Row(
        "`--config.deterministic` on a CPU, where it changes nothing", len(names), found, lost
    )


def _without_config(its: Left) -> Left:
    """Leaves out the files that hold the configuration itself, and cards made from it."""
    return {name: d for name, d in its.items() if name not in ("config.json", "result.json")}


def _on_gpu(commands: Commands, names: Sequence[str]) -> Row:
    """Trains twice with `deterministic` on a GPU, and measures what that costs."""
    what = "`--config.deterministic` twice on a GPU"
    if backend() != "gpu":
        return Row(what, 0, "not measured: this machine has no GPU")
    lost = []
    for name in names:
        runs = [commands.main(name, "deterministic=True") for _ in range(2)]
        lost += compared(name, *runs)
    found = f"the same bits in {len(names) - len(lost)}; {costs(names, at_least=1.0)}"
    return Row(what, len(names), found, lost)


@functools.cache
def backend() -> str:
    """Returns the platform on which JAX computes, asked of another process: it keeps the memory."""
    return _run([sys.executable, "-c", "import jax; print(jax.default_backend())"], cwd=readme.ROOT)


def costs(names: Sequence[str], *, at_least: float) -> str:
    """Measures, in another process, the time per step with and without; returns a sentence."""
    code = f"from {__name__} import print_costs; print_costs({[*names]!r}, {at_least})"
    its = json.loads(_run([sys.executable, "-c", code], cwd=readme.ROOT).splitlines()[-1])
    told = [
        f"{1e3 * slow:.3f} ms per step of {name} instead of {1e3 * fast:.3f}"
        for name, (fast, slow) in its.items()
    ]
    return ", ".join(told)


def print_costs(names: Sequence[str], at_least: float) -> None:
    """Prints the least seconds per step of each configuration, without and with, as JSON."""
    from benchmarks.scaling.watch import Stopwatch
    from mnist_jax import config_file, models
    from mnist_jax.training.program import prepare_one

    found = {}
    for name in names:
        path = str(readme.ROOT / "configs" / f"{name}.py")
        watches = []
        for asked in (False, True):
            overrides = [("data.train_split", "train[:12800]"), ("deterministic", asked)]
            config = models.resolve(config_file.load(path, overrides))
            watches.append(Stopwatch(prepare_one(config), at_least))
        repeats = [[watch.seconds() for watch in watches] for _ in range(5)]
        found[name] = [min(times) for times in zip(*repeats, strict=True)]
    print(json.dumps(found), flush=True)


def _run(words: Sequence[str], *, cwd: Path, cores: int = 0, **variables: str) -> str:
    """Runs a command in a new process to its end; returns what it prints.

    Raises:
      RuntimeError: it ended with another status than 0.
    """
    paths = [str(readme.ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))} | variables
    pinned = ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))]
    done = subprocess.run(
        [*(pinned if cores else []), *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: status {done.returncode}\n{done.stderr}")
    return done.stdout.strip()
