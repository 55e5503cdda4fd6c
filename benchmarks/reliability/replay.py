"""Flips single bits in the memory of trainings, and counts how many `verify --replay` finds.

Each training is compared with the same one without a flip. A flip that changes no bit of any
checkpoint is counted apart, as is one after which the training itself stops. Trainings without a
flip must be equal when they are replayed: in elastic mode on any number of devices.
"""

import atexit
import functools
import json
import os
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import forks, readme
from benchmarks.reliability.planting import flips
from benchmarks.reliability.row import Row
from mnist_jax.training import checkpoint, checkpoints, contents
from mnist_jax.training.comparison import TIMINGS
from mnist_jax.training.row_texts import rows_of

# With what a step can keep besides weights: dropout's key, batch statistics, an average.
CONFIG = """
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs = 4
    config.chunk_steps = 5
    config.keep_latest = 9
    config.batch_size = 96
    config.data.train_split = "train[:960]"
    config.data.val_split = "train[960:1200]"
    config.model = dict(name="mlp", hidden=(16,), dropout=0.2, normalisation="batch")
    config.optimizer = dict(name="adam", learning_rate=3e-3)
    config.ema_decay = 0.9
    return config
"""
STEPS, CHUNK = 40, 5  # of this configuration
MEMBERS = 3  # of the sweep
KINDS = {  # of flips: where, as `flips.plant` takes it, and what the table calls it
    "params": "a weight",
    "optimizer/0/0/mu": "Adam's first moment",
    "optimizer/0/0/nu": "Adam's second moment",
    "variables": "a batch statistic",
    "average": "an averaged weight",
    "sums": "a sum of metrics",
    "key": "the key of the random numbers",
    "images": "an image of the data in memory",
    "labels": "a label of the data in memory",
    flips.GRADIENT: "a gradient within the compiled step",
}
VERDICT = re.compile(
    r"^(?:\w+/)?(\d+): sound; replayed from (?:\d+|the start): (equal|DIFFERS)", re.M
)
FOUND, NOTHING, STOPPED = "found", "no effect", "stopped"  # what comes of a flip


@dataclass(frozen=True)
class Setting:
    """How trainings are run, with and without a flip."""

    title: str
    name: str  # of the command
    words: tuple[str, ...] = ()
    replayed_on: int = 1  # devices; all are trained on one

    @property
    def is_sweep(self) -> bool:
        """True if a population of several networks is trained."""
        return self.name == "sweep"


RUN = Setting("a run", "main")
ELASTIC = Setting(
    "an elastic run, replayed on 2 devices", "main", ("--config.reduction=elastic",), replayed_on=2
)
SWEEP = Setting(f"a population of {MEMBERS} networks", "sweep", (f"--seeds={MEMBERS}",))


def measure(*, quick: bool) -> list[Row]:
    """Plants the flips and replays; returns the rows of the table."""
    with tempfile.TemporaryDirectory(prefix="replay-") as name:
        bench = Bench(Path(name))
        rows = [bench.controls([RUN] if quick else [RUN, SWEEP]), bench.any_devices(quick=quick)]
        if quick:
            chosen = {"params": 1, "images": 1, flips.GRADIENT: 1}
            return [*rows, *(bench.flips(RUN, kind, n) for kind, n in chosen.items())]
        rows += [bench.flips(RUN, kind, 6) for kind in KINDS]
        for setting in (ELASTIC, SWEEP):
            rows += [bench.flips(setting, kind, 4) for kind in ("params", "images")]
        return rows


class Bench:
    """Trains and replays in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "small.py").write_text(CONFIG)
        self._clean: dict[Setting, dict[int, Any]] = {}  # what the checkpoints hold
        self._said = time.monotonic()

    def controls(self, settings: Sequence[Setting]) -> Row:
        """Replays trainings without a flip: every stretch must be equal."""
        lost, stretches = [], 0
        for setting in settings:
            self._bits_of_clean(setting)
            said = self._replay(setting, self._path_of_clean(setting))
            verdicts = VERDICT.findall(said)
            stretches += len(verdicts)
            if len(verdicts) != len(self._clean[setting]) or "DIFFERS" in said:
                lost.append(f"{setting.title}, no flip: {_short(said)}")
        what = "stretches of trainings without a flip, replayed from their first step on"
        return Row(what, stretches, f"{stretches} stretches replayed, {len(lost)} alarms", lost)

    def any_devices(self, *, quick: bool) -> Row:
        """Trains in elastic mode on some devices and replays on others."""
        counts = (1, 2) if quick else (1, 2, 4, 8)
        lost, tried = [], 0
        for trained_on in counts[:1] if quick else counts:
            folder = self._folder / f"elastic-{trained_on}"
            words = [*self._words(ELASTIC), f"--workdir={folder}"]
            _run(["-m", "mnist_jax.main", *words], self._folder, trained_on)
            for replayed_on in counts:
                if quick and trained_on == replayed_on:
                    continue
                tried += 1
                said = _replayed(folder, self._folder, replayed_on).stdout
                if [verdict for _, verdict in VERDICT.findall(said)] != ["equal"] * 4:
                    lost.append(
                        f"trained on {trained_on}, replayed on {replayed_on}: {_short(said)}"
                    )
                self._progress("devices", tried)
        devices = ", ".join(map(str, counts))
        what = f"elastic runs without a flip, trained and replayed on {devices} devices"
        return Row(what, tried, f"{tried - len(lost)} of {tried} equal in all stretches", lost)

    def flips(self, setting: Setting, kind: str, count: int) -> Row:
        """Plants flips of one kind, each in a training of its own, and replays it."""
        outcomes: Counter[str] = Counter()
        lost = []
        for seed in range(count):
            outcome = self._outcome(setting, kind, seed)
            outcomes[outcome if outcome in (FOUND, NOTHING, STOPPED) else "lost"] += 1
            if outcome not in (FOUND, NOTHING, STOPPED):
                lost.append(f"{setting.title}, {kind}, case {seed}: {outcome}")
            self._progress(f"{setting.title}, {kind}", seed + 1)
        changed = outcomes[FOUND] + outcomes["lost"]
        found = f"{outcomes[FOUND]} of {changed} found, in the stretch in which it happened"
        if outcomes[NOTHING]:
            found += f"; {outcomes[NOTHING]} changed no bit of a checkpoint"
        if outcomes[STOPPED]:
            found += f"; {outcomes[STOPPED]} made the training stop as diverged"
        return Row(f"one bit of {KINDS[kind]} flipped in {setting.title}", count, found, lost)

    def _outcome(self, setting: Setting, kind: str, seed: int) -> str:
        """Trains with a flip and replays; returns what came of it, or what went wrong."""
        clean = self._bits_of_clean(setting)
        random = np.random.default_rng([seed, *kind.encode()])
        at, member = CHUNK * int(random.integers(STEPS // CHUNK)), int(random.integers(MEMBERS))
        flip = {"where": kind, "at": at, "seed": int(random.integers(1 << 32))}
        if setting.is_sweep:
            flip["member"] = member
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            folder = Path(name, "run")
            words = [*self._words(setting), f"--workdir={folder}"]
            trained = _run(flips.arguments(setting.name, *words, **flip), self._folder, status=None)
            steps = _differing(_bits(folder), clean)
            if trained.returncode and not (
                trained.returncode == 1 and "diverged" in trained.stderr
            ):
                return f"the training ended with {trained.returncode}: {trained.stderr[-300:]}"
            if not steps:
                return STOPPED if trained.returncode else NOTHING
            if steps[0] <= at:
                return f"before the flip at step {at}, checkpoint {steps[0]} differs already"
            said = self._replay(setting, folder)
        parted = [int(step) for step, verdict in VERDICT.findall(said) if verdict == "DIFFERS"]
        if parted[:1] != steps[:1] or (len(parted) > 1 and kind not in flips.DATA):
            return f"flipped before step {at}, {steps[0]} differs first, replay: {_short(said)}"
        if setting.is_sweep and kind not in flips.DATA:
            named = set(re.findall(r"^  small, seed (\d+): ", said, re.M))
            if named != {str(member)}:
                return f"network {member} was changed, replay names {', '.join(sorted(named))}"
        return FOUND

    def _words(self, setting: Setting) -> list[str]:
        return ["--config=small.py", *setting.words]

    def _path_of_clean(self, setting: Setting) -> Path:
        return self._folder / f"clean-{list(self._clean).index(setting)}"

    def _bits_of_clean(self, setting: Setting) -> dict[int, Any]:
        """Returns what the checkpoints of a training without a flip hold; trains it if need be."""
        if setting not in self._clean:
            self._clean[setting] = {}
            folder = self._path_of_clean(setting)
            words = [*self._words(setting), f"--workdir={folder}"]
            _run(["-m", f"mnist_jax.{setting.name}", *words], self._folder)
            self._clean[setting] = _bits(folder)
        return self._clean[setting]

    def _replay(self, setting: Setting, folder: Path) -> str:
        return _replayed(folder, self._folder, setting.replayed_on).stdout

    def _progress(self, what: str, done: int) -> None:
        if time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            print(f"replay: {what}: {done} done", flush=True)


def _replayed(folder: Path, cwd: Path, devices: int) -> subprocess.CompletedProcess[str]:
    words = ["-m", "mnist_jax.verify", f"--workdir={folder}", "--replay=start"]
    done = _run(words, cwd, devices, status=None)
    if done.returncode != ("DIFFERS" in done.stdout):
        raise RuntimeError(f"{words} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def _short(said: str) -> str:
    """Returns the first words of each line of a verdict."""
    lines = [line for line in said.splitlines() if not line.startswith((" ", "device"))]
    return "; ".join(line[:60] for line in lines) or "nothing"


def _bits(workdir: Path) -> dict[int, Any]:
    """Returns, by step, the digests of the arrays, the rows but for the timings, and the status."""
    found = {}
    for folder in _folders(workdir):
        for step in checkpoints.steps(folder):
            arrays, record = checkpoint.read(folder, step, contents.PARTS)
            rows = [[_untimed(row) for row in rows_of(text)] for text in record["rows"]]
            digests = {name: checkpoint.digests(array) for name, array in arrays.items()}
            found[step] = json.dumps([digests, rows, record["status"]])
    return found


def _folders(workdir: Path) -> Iterator[Path]:
    yield workdir / "checkpoints"
    yield from workdir.glob("populations/*/checkpoints")


def _untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMINGS}


def _differing(found: dict[int, Any], clean: dict[int, Any]) -> list[int]:
    """Returns the steps of the checkpoints that differ from those without a flip."""
    return [step for step in sorted(found) if found[step] != clean[step]]


@functools.cache
def _server() -> forks.Server:
    server = forks.Server(_environment(1))
    atexit.register(server.close)
    return server


def _environment(devices: int) -> dict[str, str]:
    paths = [str(readme.ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ} | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_PLATFORMS": "cpu",
    }


def _run(
    arguments: list[str], cwd: Path, devices: int = 1, status: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Runs `python ARGUMENTS` in a fork; with a status, it must end with that."""
    done = _server().run(arguments, cwd=cwd, environment=_environment(devices))
    if status is not None and done.returncode != status:
        raise RuntimeError(f"{arguments} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done
