"""Gives each of many networks of a sweep a dose of its own, and compares all with no dose at all.

Two networks get none.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability import left
from benchmarks.reliability.planting.messages import Named, judged
from benchmarks.reliability.planting.poison import HARMLESS, Dose
from benchmarks.reliability.planting.trainings import EPOCHS, STEPS, Trainings


def tried(trainings: Trainings, place: str, doses: Sequence[Dose], named: Named) -> list[str]:
    """Trains a sweep; returns what is wrong with its end and with what it left, if anything."""
    seeds = f"--seeds={len(doses) + 2}"
    with tempfile.TemporaryDirectory(dir=trainings.folder) as folder:
        workdir = Path(folder, "sweep")
        done = trainings.run("sweep", workdir, seeds, place=place, doses=doses)
        if done.returncode:
            return [f"ended with status {done.returncode}: {done.stderr[-300:]}"]
        (ours,) = workdir.glob("populations/*")
        statuses = [its["status"] for its in json.loads((ours / "results.json").read_text())]
        wrong = []
        ends = [EPOCHS] * len(statuses)
        if place != HARMLESS:
            for dose in doses:
                epoch, its = judged(place, dose, statuses[dose.seed or 0], "", named)
                ends[dose.seed or 0] = epoch - 1
                wrong += [f"seed {dose.seed} of {len(doses)}: {line}" for line in its]
        others = statuses if place == HARMLESS else statuses[len(doses) :]
        if set(others) != {"finished"}:
            wrong.append(f"others did not go on: {others}")

        def differences(clean: Path) -> list[str]:
            (theirs,) = clean.glob("populations/*")
            return _members(ours, theirs, ends, place) + _lines(workdir, clean, ends)

        return wrong + trainings.unlike(differences, "sweep", seeds, place=place, doses=doses)


def _members(ours: Path, theirs: Path, ends: Sequence[int], place: str) -> list[str]:
    """Compares the networks in two sweeps' checkpoints, each up to its last good epoch."""
    mine, expected = left.arrays(ours), left.arrays(theirs)
    wrong = [] if mine.keys() == expected.keys() else [f"checkpoints are {sorted(mine)}"]
    for step in sorted(mine.keys() & expected.keys()):
        for name, array in mine[step].items():
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
        rows = left.rows(folder / "sweep.jsonl")
        return {(row["seed"], row["epoch"]): row | {"train_brier": 0} for row in rows}

    ours, theirs = by_member(workdir), by_member(clean)
    expected = {key: row for key, row in theirs.items() if key[1] <= ends[key[0]]}
    return [] if ours == expected else ["lines of sweep.jsonl differ"]
