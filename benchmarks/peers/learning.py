"""Whether all contestants have learned the same: no time is worth anything before that."""

import statistics
from collections.abc import Mapping

POINTS, SHARE = 0.005, 0.25
RULE = (
    "To have learned is a test accuracy, after as many epochs, above a floor and within half a "
    "point, or a quarter of the median's error rate, of the median of all."
)


def failures(accuracies: Mapping[str, float], floor: float) -> dict[str, str]:
    """Who did not learn as the others did, and in what; accuracies and `floor` are fractions."""
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
    """Says so where an accuracy is below `floor`, or NaN; else empty."""
    return "" if accuracy >= floor else f"test accuracy {accuracy:.2%} is below {floor:.0%}"
