"""Axes whose labels are numbers that people read."""

import numpy as np
import pytest

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import bar_ends, error_bars, log_axis, metric_axis, number_axis
from mnist_jax.metrics import ACCURACY, LOSS, Metric


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


GAIN = Metric("gain", "gain", percent=True)


@pytest.mark.parametrize(
    ("values", "scale"),
    [([50.0, 99.0], "function"), ([50.0, 250.0], "linear"), ([-20.0, 99.0], "linear")],
    ids=["fractions", "above", "below"],
)
def test_only_fractions_have_the_scale_of_errors(values, scale: str):
    axes = axes_of()
    metric_axis(axes, values, "gain", GAIN)
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low <= min(values) < max(values) <= high


def test_a_foot_leaves_room_for_crosses_on_every_scale():
    for values, metric in (([1.0, 2.0], LOSS), ([0.01, 1.0], LOSS), ([90.0, 91.0], ACCURACY)):
        plain, footed = axes_of(), axes_of()
        metric_axis(plain, values, "result", metric)
        metric_axis(footed, values, "result", metric, foot=0.12)
        assert footed.get_ylim()[0] < plain.get_ylim()[0]


def test_ends_of_error_bars_stay_fractions_unless_the_means_are_none():
    assert bar_ends([0.5, np.nan], [0.25, 0.5], ACCURACY) == [25, 75]
    assert bar_ends([0.99, 0.5], [0.02, np.nan], ACCURACY) == pytest.approx([97, 50, 100, 50])
    assert bar_ends([1.5], [0.25], GAIN) == [125, 175]
    assert bar_ends([0.5], [1.0], LOSS) == [-0.5, 1.5]


@pytest.mark.parametrize("side", ["x", "y"])
def test_error_bars_are_drawn_where_there_is_a_deviation(side):
    axes = axes_of()
    error_bars(axes, [0, 1, 2, 3], [0.1, np.nan, 0.3, 0.4], [0.05, 0.1, np.nan, 0.0], LOSS, side)
    points, _, [bars] = axes.containers[0]
    means, places = points.get_data() if side == "x" else points.get_data()[::-1]
    assert (list(means), list(places)) == ([0.1, 0.3, 0.4], [0, 2, 3])
    lengths = [np.ptp(line, axis=0).max() for line in bars.get_segments() if len(line)]
    assert [length for length in lengths if length > 0] == pytest.approx([0.1])
