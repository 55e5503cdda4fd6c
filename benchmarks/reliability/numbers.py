"""Puts NaN and infinity into trainings, and looks at what they say, save and go on with.

Each case is a process in which one value of one array is replaced in one step. It must end with
status 1 and a message that names the epoch and the step, and every checkpoint and row on disk must
be that of the same training without the dose, up to the epoch before. In a sweep, each of many
networks gets a dose of its own; the others must end with the bits of the sweep without doses.
"""

import json
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import forks, readme
from benchmarks.reliability.planting import poison, saved
from benchmarks.reliability.planting.poison import Dose
from benchmarks.reliability.row import Row

EPOCHS, STEPS, CHUNK = 3, 10, 4
CONFIG = f"""
from mnist_jax.config import default

def get_config():
    config = default()
    config.num_epochs, config.batch_size, config.chunk_steps = {EPOCHS}, 64, {CHUNK}
    config.keep_latest = {EPOCHS}
    config.data.train_split, config.data.val_split = "train[:640]", "train[640:900]"
    config.model = dict(name="mlp", hidden=(8,), normalisation="batch")
    config.optimizer = dict(name="adam")
    config.schedule = dict(name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=1e-2)
    config.ema_decay, config.metrics = 0.9, ("brier",)
    return config
"""
VALUES = (math.nan, math.inf, -math.inf)
# The first one, within a chunk, the last of a chunk, of an epoch, the same in the second epoch, and
# the last one of the run; counted from 0.
WHEN = (0, 5, 7, 9, 15, 19, 29)
SETTINGS = {  # options and number of devices
    "2 devices, jit": (["parallel=jit"], 2),
    "2 devices, pmap": (["parallel=pmap"], 2),
    "2 devices, shard_map": (["parallel=shard_map"], 2),
    "2 devices, elastic": (["reduction=elastic"], 2),
    "elastic": (["reduction=elastic"], 1),
    "batches from the host": (["data.placement=host"], 1),
    "bfloat16": (["dtype=bfloat16"], 1),
    "no chunks": (["chunk_steps=0"], 1),
}
# A value that is spoilt between two steps shows in the next one, a moment in the one after it.
LATER = {"first moment": 2, "second moment": 2, "step count of Adam": 2}
AT_ONCE = ("image", "target", "loss", "gradient")
# Of the user's own metric, NaN is a result: the row says null.
HARMLESS = "sum of a further metric"
VALIDATION = "output in validation"
SPOILT = re.compile(r"diverged in epoch (\d+), (?:steps? (\d+)(?: to (\d+))?|validation): ")
SAID_EVERY = 30.0  # seconds


@dataclass(frozen=True)
class Case:
    """A run of `main` with one dose."""

    place: str
    dose: Dose
    setting: str = ""  # of `SETTINGS`

    def __str__(self) -> str:
        when = f"epoch {self.dose.step + 1}" if self.place == VALIDATION else self.dose.step + 1
        setting = f", {self.setting}" if self.setting else ""
        return f"{self.place} = {self.dose.value} in step {when}{setting}"


@dataclass
class Named:
    """Counts how exactly the messages name the step."""

    exactly: int = 0
    later: int = 0
    within: int = 0

    def __str__(self) -> str:
        return (
            f"the message names the step in {self.exactly:,}, the next or the one after it, in "
            f"which it first shows, in {self.later:,}, and the chunk's steps in {self.within:,}"
        )


class Runs:
    """Runs commands with and without doses in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "small.py").write_text(CONFIG)
        ours = {"PYTHONPATH": str(readme.ROOT), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
        self._environment = {**os.environ} | ours
        self._server = forks.Server(self._environment)
        self._said = time.monotonic()
        self._clean: dict[str, Path] = {}

    def close(self) -> None:
        """Ends the server."""
        self._server.close()

    def run(
        self, name: str, workdir: Path, *options: str, setting: str = "", place: str = "",
        doses: Sequence[Dose] = (),
    ) -> Any:  # fmt: skip
        """Runs a command to its end, with doses if a place is given."""
        overrides, devices = SETTINGS.get(setting, ([], 1))
        words = [f"--config={self.folder / 'small.py'}", f"--workdir={workdir}", *options]
        words += [f"--config.{override}" for override in overrides]
        its = json.dumps([asdict(dose) for dose in doses])
        start = ["-c", poison.CODE, place, its, name] if place else ["-m", f"mnist_jax.{name}"]
        environment = self._environment | {"JAX_NUM_CPU_DEVICES": str(devices)}
        return self._server.run([*start, *words], cwd=self.folder, environment=environment)

    def clean(self, name: str, *options: str, setting: str = "") -> Path:
        """Returns the folder of the same command without doses."""
        key = f"{name}-{setting.replace(' ', '-')}-{len(self._clean)}"
        known = f"{name} {options} {setting}"
        if known not in self._clean:
            self._clean[known] = self.folder / key
            done = self.run(name, self._clean[known], *options, setting=setting)
            if done.returncode:
                raise RuntimeError(f"{known}: status {done.returncode}\n{done.stderr}")
        return self._clean[known]

    def say(self, text: str) -> None:
        """Prints a line of progress, but at most one in half a minute."""
        if time.monotonic() - self._said > SAID_EVERY:
            self._said = time.monotonic()
            print(text, flush=True)


def measure(*, quick: bool) -> list[Row]:
    """Tries all cases, or, if `quick`, some of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder))
        try:
            plain, others = list(cases()), list(in_settings())
            places = list(poison.PLACES)
            if quick:
                plain, others, places = plain[::100], others[:: len(others) - 1], places[9:10]
            return [
                _of_main(runs, plain, "one network: NaN, infinity or minus infinity put into one "
                         "value of an array in one step"),
                _of_main(runs, others, "the same on two devices, in elastic mode, with batches "
                         "from the host, in bfloat16 and with an epoch in one chunk"),
                _of_sweeps(runs, places),
            ]  # fmt: skip
        finally:
            runs.close()


def cases() -> Iterator[Case]:
    """Yields the cases of one network on one device."""
    for place in poison.PLACES:
        for value in (-1.0,) if place == "step count of Adam" else VALUES:
            for step in range(EPOCHS) if place == VALIDATION else WHEN:
                yield Case(place, Dose(step, value))


def in_settings() -> Iterator[Case]:
    """Yields cases in which the step is compiled, or gets its data, in another way."""
    for setting in SETTINGS:
        for place, value in (
            ("image", math.nan), ("gradient", -math.inf), ("parameter", math.inf),
            ("second moment", math.inf), ("average", math.nan),
        ):  # fmt: skip
            for step in (5, 19):
                yield Case(place, Dose(step, value), setting)


def _of_main(runs: Runs, its: Sequence[Case], what: str) -> Row:
    lost, named = [], Named()
    for number, case in enumerate(its):
        runs.say(f"  {number:,} of {len(its):,} runs of main")
        lost += [f"{case}: {wrong}" for wrong in tried(runs, case, named)]
    found = (
        f"each run ended with status 1, and what it left was that of the run without it, bit for "
        f"bit, up to the epoch before; {named}"
    )
    return Row(what, len(its), found, lost)


def tried(runs: Runs, case: Case, named: Named) -> list[str]:
    """Runs a case; returns what is wrong with its end and with what it left, if anything."""
    clean = runs.clean("main", setting=case.setting)
    with tempfile.TemporaryDirectory(dir=runs.folder) as folder:
        workdir = Path(folder, "run")
        done = runs.run("main", workdir, setting=case.setting, place=case.place, doses=[case.dose])
        if case.place == HARMLESS:
            return _harmless(done, workdir, clean)
        epoch, wrong = _judged(case.place, case.dose, done.stderr, case.setting, named)
        if done.returncode != 1 or "Traceback" in done.stderr:
            wrong.append(f"ended with status {done.returncode}: {done.stderr[-300:]}")
        if (workdir / "result.json").exists():
            wrong.append("there is a result.json")
        return wrong + _differences(workdir, clean, epoch)


def _harmless(done: Any, workdir: Path, clean: Path) -> list[str]:
    """A further metric may be NaN: the row says null, and nothing else differs."""
    if done.returncode:
        return [f"ended with status {done.returncode}: {done.stderr[-300:]}"]
    weights = [saved.digests(folder) for folder in (workdir, clean)]
    ours, theirs = ({n: d for n, d in its.items() if "sums/brier" not in n} for its in weights)
    rows = [saved.rows(folder / "metrics.jsonl") for folder in (workdir, clean)]
    nulls = sum(row["train_brier"] is None for row in rows[0])
    others = [[row | {"train_brier": 0} for row in its] for its in rows]
    wrong = ["other weights"] if ours != theirs else []
    wrong += ["other rows"] if others[0] != others[1] else []
    return wrong + ([] if nulls == 1 else [f"{nulls} rows have null"])


def _judged(place: str, dose: Dose, said: str, setting: str, named: Named) -> tuple[int, list[str]]:
    """Returns the epoch of a dose, from 1, and what is wrong with the message about it."""
    if place == VALIDATION:
        epoch, first = dose.step + 1, 0
    else:
        epoch, first = dose.step // STEPS + 1, dose.step + 1
    found = SPOILT.search(said)
    if found is None:
        return epoch, [f"not named: {said[-300:]!r}"]
    told, start, stop = (int(text) if text else 0 for text in found.groups())
    if place == VALIDATION:
        right = start == 0
    elif stop:
        named.within += 1
        length = STEPS if setting == "no chunks" else CHUNK
        right = start <= first <= stop < start + length
    else:
        named.exactly += start == first
        named.later += start > first
        later = 0 if place in AT_ONCE else LATER.get(place, 1)
        right = first <= start <= first + later
    return epoch, [] if right and told == epoch else [f"named wrongly: {found[0]!r}"]


def _differences(workdir: Path, clean: Path, epoch: int) -> list[str]:
    """Compares what is on disk with the clean run up to the epoch before `epoch`."""
    steps = [STEPS * done for done in range(1, epoch)]
    ours, theirs = saved.digests(workdir), saved.digests(clean)
    expected = {n: d for n, d in theirs.items() if int(n.partition("/")[0]) in steps}
    wrong = [] if ours == expected else [f"checkpoints differ: {_some(ours, expected)}"]
    rows = saved.rows(clean / "metrics.jsonl")[: epoch - 1]
    return wrong + ([] if saved.rows(workdir / "metrics.jsonl") == rows else ["rows differ"])


def _some(ours: dict[str, str], expected: dict[str, str]) -> str:
    names = [n for n in ours.keys() | expected.keys() if ours.get(n) != expected.get(n)]
    return f"{sorted(names)[:3]} and {max(0, len(names) - 3)} more"


def _of_sweeps(runs: Runs, places: Sequence[str]) -> Row:
    """Gives each network of a population a dose of its own, and leaves two without any."""
    lost, named, networks = [], Named(), 0
    for number, place in enumerate(its for its in places if its != "learning rate"):
        runs.say(f"  {number:,} of {len(places):,} sweeps")
        if place == VALIDATION:
            both = [(value, step) for value in VALUES for step in range(EPOCHS)]
        else:
            values = (-1.0,) if place == "step count of Adam" else VALUES
            both = [(value, step) for value in values for step in WHEN]
        doses = [Dose(step, value, seed) for seed, (value, step) in enumerate(both)]
        networks += len(doses)
        lost += [f"{place}: {wrong}" for wrong in _sweep(runs, place, doses, named)]
    found = (
        "each of these networks was reported as diverged, the others of its population ended with "
        f"the bits of a sweep without it, and every number in the checkpoints is finite; {named}"
    )
    what = "a network of a sweep with a dose of its own, among networks of one population"
    return Row(what, networks, found, lost)


def _sweep(runs: Runs, place: str, doses: Sequence[Dose], named: Named) -> list[str]:
    seeds = f"--seeds={len(doses) + 2}"
    clean = runs.clean("sweep", seeds)
    with tempfile.TemporaryDirectory(dir=runs.folder) as folder:
        workdir = Path(folder, "sweep")
        done = runs.run("sweep", workdir, seeds, place=place, doses=doses)
        if done.returncode:
            return [f"ended with status {done.returncode}: {done.stderr[-300:]}"]
        (ours,), (theirs,) = (list(its.glob("populations/*")) for its in (workdir, clean))
        statuses = [its["status"] for its in json.loads((ours / "results.json").read_text())]
        wrong = []
        ends = [EPOCHS] * len(statuses)
        if place != HARMLESS:
            for dose in doses:
                epoch, its = _judged(place, dose, statuses[dose.seed or 0], "", named)
                ends[dose.seed or 0] = epoch - 1
                wrong += [f"seed {dose.seed} of {len(doses)}: {line}" for line in its]
        if set(statuses[len(doses) :]) != {"finished"}:
            wrong.append(f"others did not go on: {statuses[len(doses) :]}")
        return wrong + _members(ours, theirs, ends, place) + _lines(workdir, clean, ends)


def _members(ours: Path, theirs: Path, ends: Sequence[int], place: str) -> list[str]:
    """Compares the networks in two sweeps' checkpoints, each up to its last good epoch."""
    mine, expected = saved.saved(ours), saved.saved(theirs)
    wrong = [] if mine.keys() == expected.keys() else [f"checkpoints are {sorted(mine)}"]
    for step, arrays in mine.items():
        for name, array in arrays.items():
            if not np.isfinite(array).all() and place != HARMLESS:
                wrong.append(f"checkpoint {step}: {name} is not finite")
            for seed, end in enumerate(ends):
                good = step <= end * STEPS and not name.startswith("sums/")
                if good and array[seed].tobytes() != expected[step][name][seed].tobytes():
                    wrong.append(f"checkpoint {step}: {name} of seed {seed} differs")
    return wrong


def _lines(workdir: Path, clean: Path, ends: Sequence[int]) -> list[str]:
    """Compares the lines of `sweep.jsonl`, each network's up to its last good epoch."""

    def by_member(folder: Path) -> dict[tuple[int, int], dict[str, Any]]:
        rows = saved.rows(folder / "sweep.jsonl")
        return {(row["seed"], row["epoch"]): row | {"train_brier": 0} for row in rows}

    ours, theirs = by_member(workdir), by_member(clean)
    expected = {key: row for key, row in theirs.items() if key[1] <= ends[key[0]]}
    return [] if ours == expected else ["lines of sweep.jsonl differ"]
