"""Axes whose labels are numbers that people read."""

import numpy as np
import pytest

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import log_axis, number_axis


def axes_of():
    return canvas.panel(canvas.new_figure(9, 5), 0.75, 0.6, 0.45)


def labels(axis) -> list[str]:
    """The tick labels that are drawn, with plain minus signs."""
    axis.figure.canvas.draw()
    low, high = sorted(axis.get_view_interval())
    shown = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [text.get_text().replace("\N{MINUS SIGN}", "-") for x, text in shown if low <= x <= high]


@pytest.mark.parametrize("start", [[], [0.0]], ids=["log", "with a zero"])
@pytest.mark.parametrize("count", [4, 16])
def test_a_field_over_many_powers_of_ten_is_labelled_by_plain_numbers(start, count: int):
    values = [*start, *np.geomspace(1e-3, 1, count).tolist()]
    with canvas.styled():
        axes = axes_of()
        axes.plot(values, values, "o")
        number_axis(axes, values, "learning rate")
        assert labels(axes.xaxis) == [*(["0"] if start else []), "0.001", "0.01", "0.1", "1"]


@pytest.mark.parametrize(
    ("fine", "expected"),
    [(True, ["2", "5", "10", "20", "50", "100", "200"]), (False, ["10", "100"])],
)
def test_a_log_axis_has_ticks_at_1_2_and_5_or_at_powers_alone(fine: bool, expected: list[str]):
    with canvas.styled():
        axes = axes_of()
        log_axis(axes, fine=fine)
        axes.set_ylim(1.5, 210)
        assert labels(axes.yaxis) == expected
        assert not len(axes.yaxis.get_minorticklocs())
