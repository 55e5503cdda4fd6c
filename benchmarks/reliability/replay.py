"""Flips single bits in the memory of trainings, and counts how many `verify --replay` finds.

Each training is compared with the same one without a flip. A flip that changes no bit of any
checkpoint is counted apart, as is one after which the training itself stops. Trainings without a
flip must be equal when they are replayed: in elastic mode on any number of devices.
"""

import functools
import itertools
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability import attempt, forked, left
from benchmarks.reliability.left import Left
from benchmarks.reliability.planting import flips
from benchmarks.reliability.row import Row

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
EPOCHS, STEPS, CHUNK = 4, 40, 5  # of this configuration
MEMBERS = 3  # of the sweep
VERDICT = re.compile(
    r"^(?:\w+/)?(\d+): sound; replayed from (?:\d+|the start): (equal|DIFFERS)", re.M
)
FOUND, NOTHING, STOPPED = "found", "no effect", "stopped"  # what comes of a flip
Flip = dict[str, Any]  # the arguments of `flips.plant`


@dataclass(frozen=True)
class Setting:
    """How trainings are run, with and without a flip."""

    title: str
    name: str  # of the command
    words: tuple[str, ...] = ()
    trained_on: int = 1  # devices
    replayed_on: int = 1

    @property
    def is_sweep(self) -> bool:
        """True if a population of several networks is trained."""
        return self.name == "sweep"


def _elastic(trained_on: int, replayed_on: int) -> Setting:
    on = "one device" if trained_on == 1 else f"{trained_on} devices"
    title = f"an elastic run trained on {on} and replayed on {replayed_on}"
    return Setting(title, "main", ("--config.reduction=elastic",), trained_on, replayed_on)


RUN = Setting("a run", "main")
ELASTIC = _elastic(1, 2)
ON_OTHERS = _elastic(2, 4), _elastic(4, 1)
SWEEP = Setting(f"a population of {MEMBERS} networks", "sweep", (f"--seeds={MEMBERS}",))
FIRST, SECOND = "optimizer/0/0/mu", "optimizer/0/0/nu"  # moments of Adam
KINDS = {  # of flips: where, as `flips.plant` takes it, and what the table calls it
    "params": "a weight",
    FIRST: "Adam's first moment",
    SECOND: "Adam's second moment",
    "variables": "a batch statistic",
    "average": "an averaged weight",
    "sums": "a sum of metrics",
    "key": "the key of the random numbers",
    "images": "an image of the data in memory",
    "labels": "a label of the data in memory",
    flips.GRADIENT: "a gradient within the compiled step",
}
FLIPS = {  # how many of each kind in each setting
    RUN: dict.fromkeys(KINDS, 6),
    ELASTIC: dict.fromkeys(("params", FIRST, SECOND, "images"), 4),
    SWEEP: dict.fromkeys(("params", FIRST, SECOND, "images"), 4),
    **{setting: dict.fromkeys(("params", FIRST), 4) for setting in ON_OTHERS},
}
QUICK_FLIPS = {RUN: {FIRST: 1, flips.GRADIENT: 1}}


def measure(*, quick: bool) -> list[Row]:
    """Plants the flips and replays; returns the rows of the table."""
    with tempfile.TemporaryDirectory(prefix="replay-") as name:
        bench = Bench(Path(name))
        rows = [] if quick else [bench.controls([RUN, SWEEP])]
        rows.append(bench.any_devices(quick=quick))
        for setting, kinds in (QUICK_FLIPS if quick else FLIPS).items():
            rows += [bench.flips(setting, kind, count) for kind, count in kinds.items()]
        return rows


class Bench:
    """Trains and replays in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "small.py").write_text(CONFIG)
        self._clean: dict[tuple[object, ...], tuple[Path, Left]] = {}
        self._said = time.monotonic()

    def controls(self, settings: Sequence[Setting]) -> Row:
        """Replays trainings without a flip: every stretch must be equal."""
        lost, verdicts = [], []
        for setting in settings:
            case = functools.partial(self._alarms, setting, verdicts)
            lost += attempt.lines(f"{setting.title}, no flip", case)
        what = "stretches of trainings without a flip, replayed from their first step on"
        equal = verdicts.count("equal")
        return Row(what, len(verdicts), f"{equal} of {len(verdicts)} replayed are equal", lost)

    def _alarms(self, setting: Setting, verdicts: list[str]) -> list[str]:
        """Replays a training without a flip, and adds to the verdicts."""
        folder, _ = self._without_flip(setting)
        said = self._replay(setting, folder)
        its = [verdict for _, verdict in VERDICT.findall(said)]
        verdicts += its
        return [] if its == ["equal"] * EPOCHS else [_short(said)]

    def any_devices(self, *, quick: bool) -> Row:
        """Trains in elastic mode on some devices and replays on others."""
        before, after = ((1,), (3,)) if quick else ((1, 2, 4, 8), (1, 2, 3, 4, 6, 8))
        lost, tried = [], 0
        for trained_on, replayed_on in itertools.product(before, after):
            setting = _elastic(trained_on, replayed_on)
            tried += 1
            lost += attempt.lines(setting.title, functools.partial(self._alarms, setting, []))
            self._progress("devices", tried)
        before, after = (", ".join(map(str, counts)) for counts in (before, after))
        what = (
            f"elastic runs without a flip, trained on {before} devices and replayed where there "
            f"are {after}, of which as many are used as share a batch equally"
        )
        return Row(what, tried, f"{tried - len(lost)} of {tried} equal in all stretches", lost)

    def flips(self, setting: Setting, kind: str, count: int) -> Row:
        """Plants flips of one kind, each in a training of its own, and replays it."""
        outcomes: Counter[str] = Counter()
        lost = []
        for seed in range(count):
            what = f"{setting.title}, {kind}, case {seed}"
            case = functools.partial(self._case, setting, kind, seed, outcomes)
            lost += attempt.lines(what, case)
            self._progress(what, seed + 1)
        if not outcomes[FOUND]:
            lost.append(f"{setting.title}, {kind}: not one of {count} flips was found")
        changed = count - outcomes[NOTHING] - outcomes[STOPPED]
        found = f"{outcomes[FOUND]} of {changed} found, at the first checkpoint that it changed"
        if outcomes[NOTHING]:
            found += f"; {outcomes[NOTHING]} changed no bit of a checkpoint"
        if outcomes[STOPPED]:
            found += f"; {outcomes[STOPPED]} made the training stop as diverged"
        return Row(f"one bit of {KINDS[kind]} flipped in {setting.title}", count, found, lost)

    def _case(self, setting: Setting, kind: str, seed: int, outcomes: Counter[str]) -> list[str]:
        """Counts what comes of a flip; returns what went wrong, if anything."""
        outcome = self._outcome(setting, kind, seed)
        if outcome not in (FOUND, NOTHING, STOPPED):
            return [outcome]
        outcomes[outcome] += 1
        return []

    def _outcome(self, setting: Setting, kind: str, seed: int) -> str:
        """Trains with a flip and replays; returns what came of it, or what went wrong."""
        random = np.random.default_rng([seed, *kind.encode()])
        at, member = CHUNK * int(random.integers(STEPS // CHUNK)), int(random.integers(MEMBERS))
        flip: Flip = {"where": kind, "at": at, "seed": int(random.integers(1 << 32))}
        if setting.is_sweep:
            flip["member"] = member
        # A step in which a flip has a place is rounded in another way, also where none is made.
        place = {**flip, "at": flips.NEVER} if kind == flips.GRADIENT else None
        _, clean = self._without_flip(setting, place)
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            folder = Path(name, "run")
            words = _python(setting.name, _words(setting, folder), flip)
            trained = forked.run(words, cwd=self._folder, devices=setting.trained_on)
            if trained.returncode and not (
                trained.returncode == 1 and "diverged" in trained.stderr
            ):
                return f"the training ended with {trained.returncode}: {trained.stderr[-300:]}"
            if not re.search(f"^{flips.FLIPPED} ", trained.stdout, re.M):
                return f"nothing was flipped before step {at}"
            bits = _bits(folder)
            if not trained.returncode and bits.keys() != clean.keys():
                return "the training left other checkpoints than one without a flip"
            steps = _differing(bits, clean)
            if not steps:
                return STOPPED if trained.returncode else NOTHING
            if steps[0] <= at:
                return f"before the flip at step {at}, checkpoint {steps[0]} differs already"
            said = self._replay(setting, folder, place)
        parted = [int(step) for step, verdict in VERDICT.findall(said) if verdict == "DIFFERS"]
        if parted[:1] != steps[:1] or (len(parted) > 1 and kind not in flips.DATA):
            return f"flipped before step {at}, {steps[0]} differs first, replay: {_short(said)}"
        if setting.is_sweep and kind not in flips.DATA:
            named = set(re.findall(r"^  small, seed (\d+): ", said, re.M))
            if named != {str(member)}:
                return f"network {member} was changed, replay names {', '.join(sorted(named))}"
        return FOUND

    def _without_flip(self, setting: Setting, place: Flip | None = None) -> tuple[Path, Left]:
        """Returns the folder of a training without a flip, and what its checkpoints hold."""
        known = (setting.name, *setting.words, setting.trained_on, str(place))
        if known not in self._clean:
            folder = self._folder / f"clean-{len(self._clean)}"
            words = _python(setting.name, _words(setting, folder), place)
            forked.succeeded(words, cwd=self._folder, devices=setting.trained_on)
            self._clean[known] = folder, _bits(folder)
        return self._clean[known]

    def _replay(self, setting: Setting, folder: Path, place: Flip | None = None) -> str:
        """Returns what `verify` prints."""
        words = _python("verify", [f"--workdir={folder}", "--replay=start"], place)
        done = forked.run(words, cwd=self._folder, devices=setting.replayed_on)
        if done.returncode != ("DIFFERS" in done.stdout):
            raise RuntimeError(f"verify: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def _progress(self, what: str, done: int) -> None:
        if time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            print(f"replay: {what}: {done} done", flush=True)


def _python(name: str, words: Sequence[str], flip: Flip | None) -> list[str]:
    """Returns the arguments of a Python that runs a command, with a flip if one is given."""
    if flip is None:
        return ["-m", f"mnist_jax.{name}", *words]
    return flips.arguments(name, *words, **flip)


def _words(setting: Setting, workdir: Path) -> list[str]:
    return ["--config=small.py", f"--workdir={workdir}", *setting.words]


def _short(said: str) -> str:
    """Returns the first words of each line of a verdict."""
    lines = [line for line in said.splitlines() if not line.startswith((" ", "device"))]
    return "; ".join(line[:60] for line in lines) or "nothing"


def _differing(found: Left, clean: Left) -> list[int]:
    """Returns the steps of the checkpoints that differ from those without a flip."""
    return sorted({left.step_of(name) for name in found if found[name] != clean.get(name)})


def _bits(workdir: Path) -> Left:
    """Returns what the checkpoints of a run, or of a sweep of one population, hold."""
    return {n: d for folder in left.folders(workdir) for n, d in left.digests(folder).items()}
