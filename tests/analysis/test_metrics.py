"""Values of metrics as people read them, and names that are ambiguous in a comparison."""

import math

import pytest

from mnist_jax import metrics
from mnist_jax.errors import UserError
from mnist_jax.metrics import ACCURACY, LOSS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.07123, "0.0712"),
        (0.01, "0.0100"),
        (0.00999949, "0.009999"),
        (0.0042, "0.0042"),
        (-0.00123456, "-0.001235"),
        (3.00001e-5, "3e-05"),
        (3.12345e-5, "3.123e-05"),
        (0.0, "0.0000"),
        (12.0, "12.0000"),
    ],
)
def test_a_small_value_keeps_four_digits(value: float, text: str):
    assert LOSS.number(value) == LOSS.text(value) == text


@pytest.mark.parametrize(
    ("metric", "mean", "deviation", "text"),
    [
        (LOSS, 0.0712, 0.0031, "0.0712 ± 0.0031"),
        (LOSS, 0.0712, 3e-5, "0.0712 ± 0.0000"),
        (LOSS, 3.2e-5, 4.56789e-6, "3.2e-05 ± 4.568e-06"),
        (LOSS, 0.0712, None, "0.0712"),
        (ACCURACY, 0.97853, 0.00102, "97.85 ± 0.10"),
        (ACCURACY, 0.97853, math.nan, "97.85"),
    ],
)
def test_a_deviation_has_the_form_of_its_mean(metric, mean, deviation, text: str):
    assert metric.with_deviation(mean, deviation) == text


def test_two_metrics_of_one_name_cannot_be_compared():
    metrics.refuse_ambiguous(["brier", "a:score", "brier", "a:score", "a:other"])
    with pytest.raises(UserError, match=r"both 'a:score' and 'b:score'.* share a column"):
        metrics.refuse_ambiguous(["a:score", "brier", "b:score"])
    with pytest.raises(UserError, match="both 'brier' and 'mine:brier'"):
        metrics.refuse_ambiguous(["brier", "mine:brier"])
