"""What a checkpoint records of the conditions under which it was trained."""

import pytest

from mnist_jax.training import conditions

ONE, TWO = {"devices": 1, "versions": {"jax": "1"}}, {"devices": 2, "versions": {"jax": "2"}}


def entry(step, its):
    return {"step": step, "conditions": its}


def test_the_history_grows_where_the_conditions_change():
    history = conditions.added([], 0, ONE)
    assert history == [entry(0, ONE)]
    assert conditions.added(history, 7, ONE) == history
    longer = conditions.added(history, 7, TWO)
    assert longer == [entry(0, ONE), entry(7, TWO)]
    # Steps that are trained again, since their checkpoint was damaged, have the new conditions.
    assert conditions.added(longer, 5, {}) == [entry(0, ONE), entry(5, {})]


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(0, 7, [ONE]), (6, 8, [ONE, TWO]), (7, 9, [TWO]), (9, 12, [TWO])],
)
def test_the_conditions_of_a_stretch_are_those_of_its_steps(start, stop, expected):
    assert conditions.during([entry(0, ONE), entry(7, TWO)], start, stop) == expected


def test_steps_of_an_earlier_version_have_unknown_conditions():
    assert conditions.during([], 0, 5) == [None]
    assert conditions.during([entry(7, TWO)], 5, 9) == [None, TWO]
    assert conditions.during([entry(7, TWO)], 7, 9) == [TWO]
    assert conditions.differences([None], ONE, elastic=False) == [conditions.UNKNOWN]


def test_the_number_of_devices_does_not_count_in_elastic_mode():
    found = conditions.differences([ONE, TWO], TWO, elastic=False)
    assert found == ["devices: 1 -> 2", "versions.jax: '1' -> '2'"]
    assert conditions.differences([ONE], TWO, elastic=True) == ["versions.jax: '1' -> '2'"]
