"""Puts NaN and infinity into trainings, and looks at what they say, save and go on with.

Each case is a process in which one value of one array is replaced in one step. It must end with
status 1 and a message that names the epoch and the step, and every checkpoint and row on disk must
be that of the same training without the dose, up to the epoch before. In a sweep, each of many
networks gets a dose of its own; the others must end with the bits of the sweep without doses. If a
program with a place for the dose rounds differently, the comparison is with the same program and a
dose that never comes.
"""

import functools
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.reliability import attempt
from benchmarks.reliability.planting import network, poison, population
from benchmarks.reliability.planting.messages import VALIDATION, Named
from benchmarks.reliability.planting.network import Case
from benchmarks.reliability.planting.poison import HARMLESS, Dose
from benchmarks.reliability.planting.trainings import EPOCHS, SETTINGS, Trainings
from benchmarks.reliability.progress import Progress
from benchmarks.reliability.row import Row

VALUES = (math.nan, math.inf, -math.inf)
# The first one, within a chunk, the last of a chunk, of an epoch, the same in the second epoch, and
# the last one of the run; counted from 0.
WHEN = (0, 5, 7, 9, 15, 19, 29)
ONE = "one network: NaN, infinity or minus infinity put into one value of an array in one step"
OTHERS = (
    "the same on two devices, in elastic mode, with batches from the host, in bfloat16 and with an "
    "epoch in one chunk"
)
ONE_HARMLESS = "one network: the same put into the sum of a metric that is only reported"
MANY = "a network of a sweep with a dose of its own, among networks of one population"
MANY_HARMLESS = f"{MANY}, in the sum of a metric that is only reported"
IN_SWEEPS = [place for place in poison.PLACES if place not in ("learning rate", HARMLESS)]


def measure(*, quick: bool) -> list[Row]:
    """Tries all cases, or, if `quick`, some of each kind."""
    harmful = [case for case in cases() if case.place != HARMLESS]
    harmless = [case for case in cases() if case.place == HARMLESS]
    others, places, more = list(in_settings()), IN_SWEEPS, [HARMLESS]
    if quick:
        harmful, harmless, others = harmful[::140], harmless[:1], others[len(others) // 2 :][:1]
        places, more = ["second moment"], []
    with tempfile.TemporaryDirectory() as folder:
        trainings = Trainings(Path(folder))
        rows = [
            _of_main(trainings, harmful, ONE),
            _of_main(trainings, others, OTHERS),
            _of_main(trainings, harmless, ONE_HARMLESS),
            _of_sweeps(trainings, places, MANY),
        ]
        return rows + [_of_sweeps(trainings, more, MANY_HARMLESS)] * bool(more)


def cases() -> Iterator[Case]:
    """Yields the cases of one network on one device."""
    for place in poison.PLACES:
        for dose in doses(place):
            yield Case(place, dose)


def doses(place: str) -> Iterator[Dose]:
    """Yields each value at each time that is tried in a place."""
    for value in (-1.0,) if place == "step count of Adam" else VALUES:
        for step in range(EPOCHS) if place == VALIDATION else WHEN:
            yield Dose(step, value)


def in_settings() -> Iterator[Case]:
    """Yields cases in which the step is compiled, or gets its data, in another way."""
    for setting in SETTINGS:
        for place, value in (
            ("image", math.nan), ("gradient", -math.inf), ("parameter", math.inf),
            ("second moment", math.inf), ("average", math.nan),
        ):  # fmt: skip
            for step in (5, 19):
                yield Case(place, Dose(step, value), setting)


def _of_main(trainings: Trainings, its: Sequence[Case], what: str) -> Row:
    """Runs `main` once for each case."""
    lost, named, good = [], Named(), 0
    progress = Progress("numbers, main", len(its))
    for case in its:
        wrong = attempt.lines(str(case), functools.partial(network.tried, trainings, case, named))
        lost += ["; ".join(wrong)] if wrong else []
        good += not wrong
        progress.add("; ".join(wrong))
    if what == ONE_HARMLESS:
        found = (
            f"{good:,} ended with status 0; the row of that epoch says null for this metric, and "
            f"no other bit differs from the run without it"
        )
    else:
        found = (
            f"{good:,} ended with status 1, and what they left was that of the run without it, "
            f"bit for bit, up to the epoch before; {named}"
        )
    return Row(what, len(its), found, lost)


def _of_sweeps(trainings: Trainings, places: Sequence[str], what: str) -> Row:
    """Trains a sweep for each place, in which each network but two gets a dose of its own."""
    lost, named, networks, good = [], Named(), 0, 0
    progress = Progress("numbers, sweeps", len(places))
    for place in places:
        its = [Dose(dose.step, dose.value, seed) for seed, dose in enumerate(doses(place))]
        networks += len(its)
        case = functools.partial(population.tried, trainings, place, its, named)
        wrong = attempt.lines(f"a sweep, {place}", case)
        lost += wrong
        good += not wrong
        progress.add("; ".join(wrong))
    if what == MANY_HARMLESS:
        found = (
            f"in {good} of {len(places)} sweeps all networks finished, with the bits of a sweep "
            f"without it but for this metric"
        )
    else:
        found = (
            f"in {good} of {len(places)} sweeps each of these networks was reported as diverged, "
            f"the others of its population ended with the bits of a sweep without it, and every "
            f"number in the checkpoints is finite; {named}"
        )
    return Row(what, networks, found, lost)
