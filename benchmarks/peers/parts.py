"""Evaluates the measurements of each part: which contestants are trained, and the time ratios."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.peers import learning
from benchmarks.peers.contestants import OURS
from benchmarks.peers.networks import NETWORKS
from benchmarks.peers.record import Found

QUICK_FLOOR = 0.7  # test accuracy after a few hundred steps
RECIPE_FLOOR = WHOLE_FLOOR = 0.9


@dataclass(frozen=True)
class Part:
    """One comparison: of a network, of recipes, or of whole processes."""

    kind: str  # "networks", "recipe" or "whole"
    name: str
    found: Found  # the measurements
    floor: float  # test accuracy below which a contestant is not trained
    conditions: Found  # date, hardware, versions and commit

    @property
    def contestants(self) -> dict[str, Found]:
        """The measurements of each contestant by name; a `reason` if it was not measured."""
        return self.found["contestants"]

    def absent(self) -> list[Found]:
        """Returns the contestants that were not measured."""
        return [one for one in self.contestants.values() if "reason" in one]

    def failures(self) -> dict[str, str]:
        """Returns `title: reason` of each contestant that is not trained, by name.

        If this project was not measured, that is a failure, too.
        """
        accuracies = {
            name: statistics.mean(_accuracies(one))
            for name, one in self.contestants.items()
            if "reason" not in one
        }
        if self.kind == "recipe":  # networks and schedules differ, so accuracies need not agree
            found = {n: learning.below(accuracy, self.floor) for n, accuracy in accuracies.items()}
        else:
            found = learning.failures(accuracies, self.floor)
        if "reason" in self.contestants.get(OURS, {}):
            found[OURS] = "was not measured"
        return {n: f"{self.contestants[n]['title']}: {why}" for n, why in found.items() if why}

    def ratios(self, name: str) -> list[float]:
        """Returns the time divided by this project's in the same round, for each round.

        The list is empty if either contestant was not measured or failed to train.
        """
        void = self.failures()
        for one in (name, OURS):
            if one in void or "reason" in self.contestants.get(one, {"reason": "left out"}):
                return []
        ours = seconds(self.contestants[OURS])
        return [theirs / o for theirs, o in zip(seconds(self.contestants[name]), ours, strict=True)]


def seconds(one: Found) -> list[float]:
    """Returns the seconds that a contestant took in each round."""
    return [run["seconds"] for run in one["runs"]] if "runs" in one else one["seconds"]


def _accuracies(one: Found) -> list[float]:
    if "runs" in one:
        return [run["accuracy"] for run in one["runs"]]
    return one["accuracies"] if "accuracies" in one else [one["accuracy"]]


def parts(found: Found) -> Iterator[Part]:
    """Yields the comparisons that were made, in the order of the tables."""
    on = found["conditions"]
    for name, part in found["networks"].items():
        floor = QUICK_FLOOR if found["quick"] else NETWORKS[name].floor
        yield Part("networks", name, part, floor, on[name])
    if found["recipe"]:
        yield Part("recipe", "recipe", found["recipe"], RECIPE_FLOOR, on["recipe"])
    for name, part in found["whole"].items():
        yield Part("whole", name, part, WHOLE_FLOOR, on["whole"])
