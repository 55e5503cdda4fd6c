"""Tests three published claims about the depth of networks by contrasts that are fixed in advance.

The claim that deeper networks need more epochs is tested twice: among all networks, and among those
with hidden layers, because a network without hidden layers is a different kind of network.

A contrast compares test accuracies, which are never used to choose anything. It is computed
separately for each seed, from the trainings that share the seed (paired differences). Its mean over
n seeds has the standard error sd / sqrt(n) and a confidence interval by Student's t (The probable
error of a mean, Biometrika, 1908).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mnist_jax.analysis import canvas
from mnist_jax.analysis.sweep.comparison import (
    Member,
    Statistic,
    by_depth,
    confounded,
    statistic,
)

HOLDS = "holds"
NOT_SHOWN = "not shown: the difference cannot be distinguished from zero"
OPPOSITE = "does not hold: the opposite is the case"
ONE_SEED = "needs several seeds"
UNANSWERED = "cannot be answered from these runs"

IMPROVE = "Hidden layers improve accuracy."
EPOCHS = "Deeper networks need more epochs."
ALSO_FURTHER = "Deeper networks need more epochs (only networks with hidden layers)."
DIMINISH = "Returns diminish."


@dataclass(frozen=True)
class Claim:
    """A claim, the contrast that tests it, and the result over `n` seeds, in accuracy fractions."""

    sentence: str
    contrast: str  # in words: which accuracies are compared
    difference: float | None  # mean over seeds; None if the runs cannot answer
    standard_error: float | None  # None with fewer than two seeds
    n: int
    verdict: str
    reason: str = ""  # why the runs cannot answer
    details: tuple[tuple[str, Statistic], ...] = ()  # name and value of the contrast's parts


def examine(members: Sequence[Member]) -> list[Claim]:
    """Returns the claims with their verdicts; empty if the number of hidden layers does not vary.

    Only numbers of epochs for which every depth was trained are compared. Architectures of the same
    depth and number of epochs are averaged, separately for each seed. A contrast leaves out seeds
    that lack one of the accuracies it needs.
    """
    cells = by_depth(members)
    depths = sorted({depth for depth, _ in cells})
    budgets = [
        budget
        for budget in sorted({budget for _, budget in cells})
        if all((depth, budget) in cells for depth in depths)
    ]
    if len(depths) < 2:
        return []
    if others := confounded(members):
        reason = f"networks of different depths also differ in {', '.join(others)}"
        contrast = "accuracy by number of hidden layers"
        sentences = (IMPROVE, EPOCHS, ALSO_FURTHER, DIMINISH)
        return [_unanswered(sentence, contrast, reason) for sentence in sentences]
    seeds = sorted({seed for cell in cells.values() for seed in cell})
    runs = [
        _Run({place: cell[seed] for place, cell in cells.items() if seed in cell}) for seed in seeds
    ]
    return [
        _improve(runs, depths, budgets),
        _need_epochs(EPOCHS, runs, depths, budgets),
        _need_epochs(ALSO_FURTHER, runs, [depth for depth in depths if depth], budgets),
        _diminish(runs, depths, budgets),
    ]


@dataclass(frozen=True)
class _Run:
    """The accuracies of one seed by (hidden layers, epochs)."""

    accuracy: dict[tuple[int, int], float]

    def gain(self, to: tuple[int, int], base: tuple[int, int]) -> float | None:
        """Returns the accuracy at `to` minus that at `base`; None if either is missing."""
        here, there = self.accuracy.get(to), self.accuracy.get(base)
        return None if here is None or there is None else here - there


def _improve(runs: Sequence[_Run], depths: list[int], budgets: list[int]) -> Claim:
    contrast = "test accuracy with 1 hidden layer minus that with none"
    if lack := _lack(depths, budgets, (0, 1)):
        return _unanswered(IMPROVE, contrast, lack)
    longest = budgets[-1]

    def over_none(depth: int) -> Statistic:
        return statistic(run.gain((depth, longest), (0, longest)) for run in runs)

    details = [(f"{layers(depth)} minus none", over_none(depth)) for depth in depths if depth]
    return _judge(IMPROVE, f"{contrast}, {_after(longest)}", over_none(1), details)


def _need_epochs(
    sentence: str, runs: Sequence[_Run], depths: list[int], budgets: list[int]
) -> Claim:
    contrast = "increase, per hidden layer, of the gain from more epochs (least-squares slope)"
    lack = _lack(depths, budgets, ())
    if not lack and len(budgets) == 1:
        lack = f"only one number of epochs is common to all depths: {budgets[0]}"
    if not lack and len(depths) < 2:
        lack = "all networks with hidden layers have the same number of them"
    if lack:
        return _unanswered(sentence, contrast, lack)
    shortest, longest = budgets[0], budgets[-1]

    def gains(run: _Run) -> list[float | None]:
        return [run.gain((depth, longest), (depth, shortest)) for depth in depths]

    table = [gains(run) for run in runs]
    details = [
        (f"gain with {layers(depth)}", statistic(row[place] for row in table))
        for place, depth in enumerate(depths)
    ]
    span = f"test accuracy after {longest} epochs minus that after {shortest}"
    slopes = statistic(_slope(depths, row) for row in table)
    return _judge(sentence, f"{contrast}; gain: {span}", slopes, details)


def _diminish(runs: Sequence[_Run], depths: list[int], budgets: list[int]) -> Claim:
    contrast = "gain of the first hidden layer minus the mean gain of each further one"
    lack = _lack(depths, budgets, (0, 1))
    if not lack and depths[-1] < 2:
        lack = "no network with more than 1 hidden layer was trained"
    if lack:
        return _unanswered(DIMINISH, contrast, lack)
    longest, deepest = budgets[-1], depths[-1]

    def each(low: int, high: int, run: _Run) -> float | None:
        gain = run.gain((high, longest), (low, longest))
        return None if gain is None else gain / (high - low)

    def falling(run: _Run) -> float | None:
        first, further = each(0, 1, run), each(1, deepest, run)
        return None if first is None or further is None else first - further

    details = [
        (_layer(low, high), statistic(each(low, high, run) for run in runs))
        for low, high in pairwise(depths)
    ]
    difference = statistic(map(falling, runs))
    return _judge(DIMINISH, f"{contrast}, {_after(longest)}", difference, details)


def _lack(depths: list[int], budgets: list[int], needed: Sequence[int]) -> str:
    """Returns why a contrast cannot be computed; empty if it can."""
    for depth in needed:
        if depth not in depths:
            which = f"with {layers(depth)}" if depth else "without hidden layers"
            return f"no network {which} was trained"
    return "" if budgets else "no number of epochs is common to all depths"


def _judge(
    sentence: str, contrast: str, found: Statistic, details: Sequence[tuple[str, Statistic]]
) -> Claim:
    """Returns the claim with its verdict, decided by a 95 % confidence interval (Student's t).

    The interval needs at least two seeds.
    """
    from scipy.special import stdtrit  # imported late: it takes a quarter of a second

    if found.mean is None:
        return _unanswered(sentence, contrast, "no seed finished all trainings that it needs")
    if found.error is None:
        verdict = ONE_SEED
    elif abs(found.mean) <= stdtrit(found.count - 1, 0.975) * found.error:
        verdict = NOT_SHOWN
    else:
        verdict = HOLDS if found.mean > 0 else OPPOSITE
    return Claim(
        sentence, contrast, found.mean, found.error, found.count, verdict, details=tuple(details)
    )


def _unanswered(sentence: str, contrast: str, reason: str) -> Claim:
    return Claim(sentence, contrast, None, None, 0, UNANSWERED, reason)


def _slope(depths: Sequence[int], gains: Sequence[float | None]) -> float | None:
    """Returns the least-squares slope of gains over depths; None if a gain is missing."""
    known = [gain for gain in gains if gain is not None]
    if len(known) < len(depths):
        return None
    away = np.array(depths) - np.mean(depths)
    return float(away @ np.array(known) / (away @ away))


def layers(depth: int) -> str:
    """Formats a depth: `no hidden layer`, `1 hidden layer`, `2 hidden layers`."""
    return canvas.count(depth, "hidden layer") if depth else "no hidden layer"


def _layer(low: int, high: int) -> str:
    return f"layer {high}" if high == low + 1 else f"layers {low + 1} to {high}, each"


def _after(epochs: int) -> str:
    return f"after {canvas.count(epochs, 'epoch')}"
