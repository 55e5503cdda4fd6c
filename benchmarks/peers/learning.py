"""Checks that all contestants reach the same test accuracy, without which times mean nothing."""

import statistics
from collections.abc import Mapping

POINTS, SHARE = 0.005, 0.25
RULE = (
    "A contestant counts as trained if, after the same number of epochs, its test accuracy is at "
    "least a fixed floor and lies within max(0.5 points, 25 % of the median error) of the median."
)


def failures(accuracies: Mapping[str, float], floor: float) -> dict[str, str]:
    """Returns which contestants do not count as trained, and why.

    A contestant fails if its accuracy is below `floor`, or differs from the median by more than
    half a percentage point and more than a quarter of the median's error rate.

    Args:
      accuracies: the test accuracy of each contestant, a fraction, by name.
      floor: the lowest acceptable accuracy, a fraction.

    Returns:
      The reason of each contestant that fails, by name.
    """
    if not accuracies:
        return {}
    median = statistics.median(accuracies.values())
    distance = max(POINTS, SHARE * (1.0 - median))
    found = {name: below(accuracy, floor) for name, accuracy in accuracies.items()}
    for name, accuracy in accuracies.items():
        if not found[name] and abs(accuracy - median) > distance:
            found[name] = (
                f"test accuracy {accuracy:.2%} is more than {100 * distance:.1f} points from the "
                f"median, {median:.2%}"
            )
    return {name: why for name, why in found.items() if why}


def below(accuracy: float, floor: float) -> str:
    """Returns a message if an accuracy is below `floor` or NaN, or else an empty string."""
    return "" if accuracy >= floor else f"test accuracy {accuracy:.2%} is below {floor:.0%}"
