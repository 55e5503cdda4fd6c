"""Paired contrasts over seeds, for an analysis of a sweep: mean, standard error and verdict.

A contrast compares results of networks that share a seed. It is computed separately for each seed,
and its mean over n seeds has the standard error sd / sqrt(n) and a confidence interval by Student's
t (The probable error of a mean, Biometrika, 1908).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_jax.analysis.page import MISSING
from mnist_jax.analysis.sweep.section import Frame

HOLDS = "holds"
NOT_SHOWN = "not shown: the difference cannot be distinguished from zero"
OPPOSITE = "does not hold: the opposite is the case"
ONE_SEED = "needs several seeds"
UNANSWERED = "cannot be answered from these runs"


@dataclass(frozen=True)
class Contrast:
    """Mean over seeds of a difference of accuracies (fractions), with its standard error."""

    mean: float | None  # None if no seed has all the results that it needs
    error: float | None  # None with fewer than two seeds
    count: int  # number of seeds

    @property
    def verdict(self) -> str:
        """Whether the difference is positive, by a 95 % confidence interval (Student's t)."""
        from scipy.special import stdtrit  # imported late: it takes a quarter of a second

        if self.mean is None:
            return f"{UNANSWERED}: no seed finished all trainings that it needs"
        if self.error is None:
            return ONE_SEED
        if abs(self.mean) <= stdtrit(self.count - 1, 0.975) * self.error:
            return NOT_SHOWN
        return HOLDS if self.mean > 0 else OPPOSITE

    @property
    def points(self) -> str:
        """The difference in percentage points with its standard error: `+0.250 ± 0.030`."""
        if self.mean is None:
            return MISSING
        spread = "" if self.error is None else f" ± {100 * self.error:.3f}"
        return f"{100 * self.mean:+.3f}{spread}".replace("-", "\u2212")


def contrast(differences: Any) -> Contrast:
    """Returns the contrast of a series of differences, one per seed, which may be NaN."""
    known = differences.dropna()
    return Contrast(
        mean=float(known.mean()) if len(known) else None,
        error=float(known.sem()) if len(known) > 1 else None,
        count=len(known),
    )


def by_seed(networks: Frame, keys: Sequence[str], column: str = "test_accuracy") -> Frame:
    """Returns results with one row per seed and one column per combination of values.

    Args:
      networks: the networks of a sweep.
      keys: the columns of `networks` whose combinations are compared.
      column: the results.

    Returns:
      The results, of which differences of columns are paired. If several networks share a seed and
      a combination, it has their mean, or NaN if one of them did not finish: a mean over the others
      would be no fair partner.
    """
    groups = networks.groupby([*keys, "seed"])[column]
    return groups.agg(lambda values: values.mean(skipna=False)).unstack(list(keys))


def confounders(networks: Frame, keys: Sequence[str], without: Collection[str] = ()) -> list[str]:
    """Returns the fields whose values depend on the keys, so that comparing these is not fair.

    A field that takes the same values for every combination of keys is part of a grid, and fair.

    Args:
      networks: the networks of a sweep; every column behind `status` counts as a field.
      keys: the columns that are compared.
      without: fields that differ by intention.
    """
    fields = networks.columns[networks.columns.get_loc("status") + 1 :]
    cells = [cell for _, cell in networks.groupby(list(keys))]
    return [
        field
        for field in fields
        if field not in {*keys, *without} and len({frozenset(cell[field]) for cell in cells}) > 1
    ]
