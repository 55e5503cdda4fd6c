"""Gives one network a dose, and looks at how its run ends and what it leaves."""

import functools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability import left
from benchmarks.reliability.planting.messages import VALIDATION, Named, judged
from benchmarks.reliability.planting.poison import HARMLESS, Dose
from benchmarks.reliability.planting.trainings import STEPS, Trainings


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


def tried(trainings: Trainings, case: Case, named: Named) -> list[str]:
    """Runs a case; returns what is wrong with its end and with what it left, if anything."""
    with tempfile.TemporaryDirectory(dir=trainings.folder) as folder:
        workdir = Path(folder, "run")
        how: Any = {"setting": case.setting, "place": case.place, "doses": [case.dose]}
        done = trainings.run("main", workdir, **how)
        if case.place == HARMLESS:
            if done.returncode:
                return [f"ended with status {done.returncode}: {done.stderr[-300:]}"]
            json.loads((workdir / "result.json").read_text())
            return trainings.unlike(functools.partial(_harmless, workdir), "main", **how)
        epoch, wrong = judged(case.place, case.dose, done.stderr, case.setting, named)
        if done.returncode != 1 or "Traceback" in done.stderr:
            wrong.append(f"ended with status {done.returncode}: {done.stderr[-300:]}")
        if (workdir / "result.json").exists():
            wrong.append("there is a result.json")
        found = functools.partial(differences, workdir, epoch=epoch)
        return wrong + trainings.unlike(found, "main", **how)


def _harmless(workdir: Path, clean: Path) -> list[str]:
    """A further metric may be NaN: the row says null, and nothing else differs."""
    ours, theirs = (
        {n: d for n, d in left.digests(folder).items()
         if "sums/brier" not in n and not n.endswith(left.RECORD)}
        for folder in (workdir, clean)
    )  # fmt: skip
    rows = [left.rows(folder / "metrics.jsonl") for folder in (workdir, clean)]
    nulls = sum(row["train_brier"] is None for row in rows[0])
    others = [[row | {"train_brier": 0} for row in its] for its in rows]
    wrong = left.compared("checkpoints", ours, theirs)
    wrong += ["other rows"] if others[0] != others[1] else []
    return wrong + ([] if nulls == 1 else [f"{nulls} rows have null"])


def differences(workdir: Path, clean: Path, epoch: int) -> list[str]:
    """Compares what is on disk with the clean run up to the epoch before `epoch`."""
    steps = [STEPS * done for done in range(1, epoch)]
    theirs = left.digests(clean)
    expected = {name: its for name, its in theirs.items() if left.step_of(name) in steps}
    wrong = left.compared("checkpoints", left.digests(workdir), expected)
    rows = left.rows(clean / "metrics.jsonl")[: epoch - 1]
    return wrong + ([] if left.rows(workdir / "metrics.jsonl") == rows else ["rows differ"])
