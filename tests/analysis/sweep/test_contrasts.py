"""The statistics that an analysis of a sweep uses, by hand."""

import pandas
import pytest

from mnist_jax.analysis.sweep import contrasts
from mnist_jax.analysis.sweep.contrasts import by_seed, confounders, contrast
from mnist_jax.analysis.sweep.table import Comparison
from tests.analysis.members import member


def test_mean_and_standard_error_over_the_seeds_that_have_a_difference():
    found = contrast(pandas.Series([0.04, None, 0.04, 0.03]))
    assert (found.mean, found.count) == (pytest.approx(0.11 / 3), 3)
    assert found.error == pytest.approx(0.01 / 3)  # sd sqrt(1/3) points, over sqrt(3)
    assert found.points == "+3.667 ± 0.333"


@pytest.mark.parametrize(
    ("points", "verdict"),
    [
        ((2, 4, 3), contrasts.HOLDS),
        ((-2, 2, 0), contrasts.NOT_SHOWN),  # 0 ± 1.15
        ((0, 3, 0), contrasts.NOT_SHOWN),  # 1 ± 1
        ((2.5, 5.5, 2.5), contrasts.NOT_SHOWN),  # 3.5 ± 1: of 3 seeds 4.3 errors decide
        ((3.5, 6.5, 3.5), contrasts.HOLDS),  # 4.5 ± 1
        ((-3, -4, -2), contrasts.OPPOSITE),
        ((4,), contrasts.ONE_SEED),
    ],
)
def test_an_interval_of_95_percent_decides(points: tuple, verdict: str):
    assert contrast(pandas.Series(points) / 100).verdict == verdict


def test_one_seed_has_a_number_without_spread_and_none_has_no_number():
    one = contrast(pandas.Series([-0.04]))
    assert (one.error, one.points) == (None, "\u22124.000")
    none = contrast(pandas.Series([None], dtype=float))
    assert (none.mean, none.count, none.points) == (None, 0, "—")
    assert "no seed finished" in none.verdict


def cells(*members: dict, keys=("optimizer.rate",)) -> pandas.DataFrame:
    return by_seed(Comparison(members).networks, keys)


def test_accuracies_of_one_seed_stand_in_one_row():
    found = cells(
        *(
            member(f"{rate}", seed, 0.5 + seed / 10 + rate, rate=rate)
            for rate in (0.1, 0.2)
            for seed in (0, 1)
        )
    )
    assert list(found.index) == [0, 1]
    assert list(found[0.2] - found[0.1]) == pytest.approx([0.1, 0.1])


def test_several_keys_are_combined():
    found = cells(
        member("a", 0, 0.90, rate=0.1),
        member("b", 0, 0.95, rate=0.2, epochs=5),
        keys=("optimizer.rate", "num_epochs"),
    )
    assert list(found) == [(0.1, 3), (0.2, 5)]
    assert list(found[0.2, 5]) == [0.95]


def test_a_seed_averages_and_is_missing_where_it_lost_a_part():
    found = cells(
        member("a", 0, 0.90, rate=0.1),
        member("b", 0, 0.94, rate=0.1),
        member("a", 1, 0.91, rate=0.1),
        member("b", 1, rate=0.1, status="diverged in epoch 1"),
    )
    assert found[0.1][0] == pytest.approx(0.92)
    assert found[0.1].isna().tolist() == [False, True]


def test_a_field_confounds_unless_it_is_part_of_a_grid():
    def found(*members: dict) -> list[str]:
        return confounders(Comparison(members).networks, ["optimizer.rate"])

    one, other = member("a", rate=0.1, decay=1), member("b", rate=0.2, decay=2)
    assert found(one, other) == ["optimizer.decay"]
    grid = member("c", rate=0.1, decay=2), member("d", rate=0.2, decay=1)
    assert found(one, other, *grid) == []
    table = Comparison([one, other]).networks
    assert confounders(table, ["optimizer.rate"], without=["optimizer.decay"]) == []
