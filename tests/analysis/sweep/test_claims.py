import dataclasses
from collections.abc import Iterable

import pytest

from mnist_jax.analysis.sweep import claims
from mnist_jax.analysis.sweep.comparison import Member
from tests.analysis.members import member

# Test accuracy in percent by (hidden layers, epochs), a value a seed.
FIGURES = {
    (0, 2): (80, 80, 80),
    (1, 2): (90, 90, 90),
    (3, 2): (88, 88, 88),
    (0, 9): (91, 92, 93),
    (1, 9): (95, 96, 96),
    (3, 9): (97, 97, 98),
}


def members_of(figures: dict, seeds: Iterable[int] = range(3)) -> list[Member]:
    return [
        member(f"{depth} {epochs}", seed, values[seed] / 100, hidden=(8,) * depth, epochs=epochs)
        for (depth, epochs), values in figures.items()
        for seed in seeds
    ]


def test_hidden_layers_improve_accuracy_at_the_longest_budget():
    claim = claims.examine(members_of(FIGURES))[0]
    # By hand: 95 - 91, 96 - 92, 96 - 93 = 4, 4, 3; mean 11/3, sd sqrt(1/3), se sqrt(1/3)/sqrt(3).
    assert claim.sentence == "Hidden layers improve accuracy."
    assert claim.difference == pytest.approx(0.11 / 3)
    assert claim.standard_error == pytest.approx(0.01 / 3)
    assert (claim.n, claim.verdict) == (3, claims.HOLDS)
    assert "after 9 epochs" in claim.contrast
    (one, first), (three, second) = claim.details
    assert (one, three) == ("1 hidden layer minus none", "3 hidden layers minus none")
    assert first.mean == claim.difference
    assert second.mean == pytest.approx((6 + 5 + 5) / 300)


def test_deeper_networks_need_more_epochs_by_the_slope_of_the_gain():
    claim = claims.examine(members_of(FIGURES))[1]
    # Gains of depths 0, 1, 3 by seed: (11, 5, 9), (12, 6, 9), (13, 6, 10). About their mean 4/3
    # the depths are (-4, -1, 5)/3, of squares 14/3; slopes (-44 - 5 + 45)/14, (-48 - 6 + 45)/14,
    # (-52 - 6 + 50)/14 = -4/14, -9/14, -8/14: mean -1/2, sd sqrt(7)/14, se sqrt(7/3)/14.
    assert claim.difference == pytest.approx(-0.005)
    assert claim.standard_error == pytest.approx(0.01 * (7 / 3) ** 0.5 / 14)
    assert claim.verdict == claims.OPPOSITE
    assert [part.mean for _, part in claim.details] == pytest.approx([0.12, 0.17 / 3, 0.28 / 3])
    assert "after 9 epochs minus that after 2" in claim.contrast


def test_deeper_networks_are_also_compared_among_those_with_hidden_layers():
    claim = claims.examine(members_of(FIGURES))[2]
    # Gains of depths 1 and 3: (5, 9), (6, 9), (6, 10): slopes 2, 1.5, 2; mean 11/6, sd sqrt(1/12).
    assert claim.sentence == claims.ALSO_FURTHER
    assert claim.difference == pytest.approx(0.11 / 6)
    assert claim.standard_error == pytest.approx(0.01 / 6)
    assert claim.verdict == claims.HOLDS
    assert [name for name, _ in claim.details] == [
        "gain with 1 hidden layer",
        "gain with 3 hidden layers",
    ]


def test_depths_that_differ_in_another_field_too_answer_nothing():
    def sized(batch_size: int, depth: int = -1) -> list:
        return [
            dataclasses.replace(m, config=m.config | {"batch_size": batch_size})
            for m in members_of(FIGURES)
            if depth in (-1, len(m.config["model"]["hidden"]))
        ]

    for claim in claims.examine([*sized(8, 0), *sized(32, 1), *sized(32, 3)]):
        assert claim.verdict == claims.UNANSWERED
        assert "also differ in batch_size" in claim.reason
    assert claims.examine([*sized(8), *sized(32)])[0].verdict == claims.HOLDS


def test_returns_diminish_by_the_first_gain_minus_the_further_ones():
    claim = claims.examine(members_of(FIGURES))[3]
    # First: 4, 4, 3; each further: (97 - 95)/2, (97 - 96)/2, (98 - 96)/2 = 1, 0.5, 1.
    # Differences 3, 3.5, 2: mean 17/6, sd sqrt(7/12), se sqrt(7)/6.
    assert claim.difference == pytest.approx(0.17 / 6)
    assert claim.standard_error == pytest.approx(0.01 * 7**0.5 / 6)
    assert claim.verdict == claims.HOLDS
    (first, one), (further, each) = claim.details
    assert (first, further) == ("layer 1", "layers 2 to 3, each")
    assert one.mean == pytest.approx(0.11 / 3)
    assert each.mean == pytest.approx(0.025 / 3)


def test_differences_are_paired_by_seed():
    # Seeds differ by 20 points, the two depths by exactly 1: no spread in the paired difference.
    figures = {(0, 2): (70, 90, 80), (1, 2): (71, 91, 81)}
    claim = claims.examine(members_of(figures))[0]
    assert claim.difference == pytest.approx(0.01)
    assert claim.standard_error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("with_one", "verdict"),
    [
        ((92, 94, 93), claims.HOLDS),  # difference 3
        ((88, 92, 90), claims.NOT_SHOWN),  # 0 ± 1.15
        ((90, 93, 90), claims.NOT_SHOWN),  # 1 ± 1
        ((91, 94, 91), claims.NOT_SHOWN),  # 2 ± 1: 2 errors, of 3 seeds 4.3 decide
        ((87, 86, 88), claims.OPPOSITE),  # -3
    ],
)
def test_an_interval_of_95_percent_decides(with_one: tuple, verdict: str):
    figures = {(0, 2): (90, 90, 90), (1, 2): with_one}
    assert claims.examine(members_of(figures))[0].verdict == verdict


def test_one_seed_gives_numbers_and_no_verdict():
    improve, _, _, diminish = claims.examine(members_of(FIGURES, seeds=[0]))
    for claim, difference in ((improve, 0.04), (diminish, 0.03)):
        assert claim.difference == pytest.approx(difference)
        assert (claim.standard_error, claim.n) == (None, 1)
        assert claim.verdict == claims.ONE_SEED


def test_one_budget_does_not_answer_for_epochs():
    figures = {place: values for place, values in FIGURES.items() if place[1] == 9}
    improve, need_epochs, _, _ = claims.examine(members_of(figures))
    assert improve.verdict == claims.HOLDS
    assert (need_epochs.verdict, need_epochs.difference) == (claims.UNANSWERED, None)
    assert "one number of epochs is common to all depths: 9" in need_epochs.reason


@pytest.mark.parametrize(
    ("left_out", "position", "reason"),
    [
        (0, 0, "no network without hidden layers"),
        (1, 3, "no network with 1 hidden layer"),
        (3, 3, "no network with more than 1 hidden layer"),
    ],
)
def test_a_missing_depth_is_named(left_out: int, position: int, reason: str):
    figures = {place: values for place, values in FIGURES.items() if place[0] != left_out}
    claim = claims.examine(members_of(figures))[position]
    assert claim.verdict == claims.UNANSWERED
    assert reason in claim.reason


def test_only_budgets_of_every_depth_are_compared():
    figures = FIGURES | {(0, 20): (99, 99, 99)}
    assert claims.examine(members_of(figures)) == claims.examine(members_of(FIGURES))
    apart = {(0, 2): (80, 80, 80), (1, 9): (90, 90, 90)}
    for claim in claims.examine(members_of(apart)):
        assert claim.verdict == claims.UNANSWERED
        assert "common to all depths" in claim.reason or "no network" in claim.reason


def test_a_seed_that_diverged_is_left_out_of_its_pairs():
    members = [
        member("1 9", 2, hidden=(8,), epochs=9, status="diverged in epoch 1")
        if (m.architecture, m.seed) == ("1 9", 2)
        else m
        for m in members_of(FIGURES)
    ]
    improve = claims.examine(members)[0]
    assert (improve.n, improve.difference) == (2, pytest.approx(0.04))
    assert [part.count for _, part in improve.details] == [2, 3]


def test_where_all_diverged_nothing_is_claimed():
    members = [
        member(f"{depth}", 0, hidden=(8,) * depth, epochs=epochs, status="diverged in epoch 1")
        for depth in (0, 1, 2)
        for epochs in (1, 5)
    ]
    for claim in claims.examine(members):
        assert (claim.verdict, claim.n) == (claims.UNANSWERED, 0)
        assert "no seed finished" in claim.reason


def test_without_varying_depth_there_are_no_claims():
    assert claims.examine([member("a", hidden=(8,)), member("b", hidden=(16,))]) == []
    assert claims.examine([member("cnn", hidden=None)]) == []
