"""The analysis of configs/sweeps/depth.py: three sentences on depth, by hand."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import matplotlib.text
import pytest

from mnist_jax.analysis import canvas
from mnist_jax.analysis.sweep import contrasts
from mnist_jax.analysis.sweep.table import Comparison
from mnist_jax.config_file import import_file
from mnist_jax.members import find_analysis, read
from tests.analysis.members import member

claims = import_file("configs/sweeps/depth_claims.py")

# Test accuracy in percent by (hidden layers, epochs), a value a seed.
FIGURES = {
    (0, 2): (80, 80, 80),
    (1, 2): (90, 90, 90),
    (3, 2): (88, 88, 88),
    (0, 9): (91, 92, 93),
    (1, 9): (95, 96, 96),
    (3, 9): (97, 97, 98),
}


def members_of(figures: dict, seeds: Iterable[int] = range(3), width: int = 8) -> list[dict]:
    return [
        member(
            f"{depth} {epochs} {width}",
            seed,
            values[seed] / 100,
            hidden=(width,) * depth,
            epochs=epochs,
        )
        for (depth, epochs), values in figures.items()
        for seed in seeds
    ]


def examine(members: list[dict]) -> list[Any]:
    return claims.examine(Comparison(members).networks)


def test_hidden_layers_improve_accuracy_at_the_longest_budget():
    claim = examine(members_of(FIGURES))[0]
    # By hand: 95 - 91, 96 - 92, 96 - 93 = 4, 4, 3; mean 11/3, sd sqrt(1/3), se sqrt(1/3)/sqrt(3).
    assert claim.sentence == "Hidden layers improve accuracy."
    assert claim.found.mean == pytest.approx(0.11 / 3)
    assert claim.found.error == pytest.approx(0.01 / 3)
    assert (claim.found.count, claim.verdict) == (3, contrasts.HOLDS)
    assert "after 9 epochs" in claim.contrast
    (one, first), (three, second) = claim.parts.items()
    assert (one, three) == ("1 hidden layer minus none", "3 hidden layers minus none")
    assert first.mean == claim.found.mean
    assert second.mean == pytest.approx((6 + 5 + 5) / 300)


def test_deeper_networks_need_more_epochs_by_the_slope_of_the_gain():
    claim = examine(members_of(FIGURES))[1]
    # Gains of depths 0, 1, 3 by seed: (11, 5, 9), (12, 6, 9), (13, 6, 10). About their mean 4/3
    # the depths are (-4, -1, 5)/3, of squares 14/3; slopes (-44 - 5 + 45)/14, (-48 - 6 + 45)/14,
    # (-52 - 6 + 50)/14 = -4/14, -9/14, -8/14: mean -1/2, sd sqrt(7)/14, se sqrt(7/3)/14.
    assert claim.found.mean == pytest.approx(-0.005)
    assert claim.found.error == pytest.approx(0.01 * (7 / 3) ** 0.5 / 14)
    assert claim.verdict == contrasts.OPPOSITE
    means = [part.mean for part in claim.parts.values()]
    assert means == pytest.approx([0.12, 0.17 / 3, 0.28 / 3])
    assert "after 9 epochs minus that after 2" in claim.contrast


def test_deeper_networks_are_also_compared_among_those_with_hidden_layers():
    claim = examine(members_of(FIGURES))[2]
    # Gains of depths 1 and 3: (5, 9), (6, 9), (6, 10): slopes 2, 1.5, 2; mean 11/6, sd sqrt(1/12).
    assert claim.sentence == claims.ALSO_FURTHER
    assert claim.found.mean == pytest.approx(0.11 / 6)
    assert claim.found.error == pytest.approx(0.01 / 6)
    assert claim.verdict == contrasts.HOLDS
    assert list(claim.parts) == ["gain with 1 hidden layer", "gain with 3 hidden layers"]


def test_returns_diminish_by_the_first_gain_minus_the_further_ones():
    claim = examine(members_of(FIGURES))[3]
    # First: 4, 4, 3; each further: (97 - 95)/2, (97 - 96)/2, (98 - 96)/2 = 1, 0.5, 1.
    # Differences 3, 3.5, 2: mean 17/6, sd sqrt(7/12), se sqrt(7)/6.
    assert claim.found.mean == pytest.approx(0.17 / 6)
    assert claim.found.error == pytest.approx(0.01 * 7**0.5 / 6)
    assert claim.verdict == contrasts.HOLDS
    (first, one), (further, each) = claim.parts.items()
    assert (first, further) == ("layer 1", "layers 2 to 3, each")
    assert one.mean == pytest.approx(0.11 / 3)
    assert each.mean == pytest.approx(0.025 / 3)


def test_differences_are_paired_by_seed():
    # Seeds differ by 20 points, the two depths by exactly 1: no spread in the paired difference.
    claim = examine(members_of({(0, 2): (70, 90, 80), (1, 2): (71, 91, 81)}))[0]
    assert claim.found.mean == pytest.approx(0.01)
    assert claim.found.error == pytest.approx(0, abs=1e-12)


# What else differs


def test_depths_that_differ_in_another_field_too_answer_nothing():
    def sized(batch_size: int, depth: int = -1) -> list[dict]:
        return [
            m | {"config": m["config"] | {"batch_size": batch_size}}
            for m in members_of(FIGURES)
            if depth in (-1, len(m["config"]["model"]["hidden"]))
        ]

    for claim in examine([*sized(8, 0), *sized(32, 1), *sized(32, 3)]):
        assert claim.verdict.startswith(contrasts.UNANSWERED)
        assert "also differ in batch_size" in claim.verdict
    assert examine([*sized(8), *sized(32)])[0].verdict == contrasts.HOLDS


def by_width(figures: dict, widths: dict[int, int]) -> list[dict]:
    """Networks whose width depends on their depth."""
    return [
        one
        for (depth, epochs), values in figures.items()
        for one in members_of({(depth, epochs): values}, width=widths[depth])
    ]


def test_widths_that_differ_with_depth_answer_nothing():
    """Else a sentence on depth would hold by construction, since wider networks are better."""
    for claim in examine(by_width(FIGURES, {0: 0, 1: 4, 3: 512})):
        assert claim.found is None
        assert "also differ in width" in claim.verdict
    tapered = [one for one in members_of(FIGURES) if one["config"]["model"]["hidden"] != [8] * 3]
    for one in members_of({place: v for place, v in FIGURES.items() if place[0] == 3}):
        one["config"]["model"]["hidden"] = [8, 8, 4]
        tapered.append(one)
    assert "also differ in width" in examine(tapered)[0].verdict


def test_depths_are_compared_among_networks_of_the_width_that_all_have():
    narrow = {place: tuple(v - 20 for v in values) for place, values in FIGURES.items()}
    only_one = {place: values for place, values in narrow.items() if place[0] == 1}
    both = [*members_of(FIGURES), *members_of(only_one, width=2)]
    assert examine(both) == examine(members_of(FIGURES))
    overview = claims.analyse(Comparison(both).networks)[0]
    assert any("Only networks of width 8" in text for text in overview.paragraphs)
    assert not any("of width" in text for text in analyse(members_of(FIGURES))[0].paragraphs)


def test_a_grid_of_widths_and_depths_is_averaged():
    higher = {place: tuple(v + 1 for v in values) for place, values in FIGURES.items()}
    wide = [one for one in members_of(higher, width=16) if one["config"]["model"]["hidden"]]
    found = examine([*members_of(FIGURES), *wide])
    assert [claim.found is not None for claim in found] == [True] * 4
    assert found[0].found.mean == pytest.approx(0.11 / 3 + 0.005)  # half of the networks gain one


def test_a_width_that_some_epochs_lack_answers_nothing():
    late = {place: values for place, values in FIGURES.items() if place[1] == 9}
    wide = [one for one in members_of(late, width=16) if one["config"]["model"]["hidden"]]
    assert "also differ in width" in examine([*members_of(FIGURES), *wide])[0].verdict


# What is missing


def test_one_seed_gives_numbers_and_no_verdict():
    improve, _, _, diminish = examine(members_of(FIGURES, seeds=[0]))
    for claim, difference in ((improve, 0.04), (diminish, 0.03)):
        assert claim.found.mean == pytest.approx(difference)
        assert (claim.found.error, claim.found.count) == (None, 1)
        assert claim.verdict == contrasts.ONE_SEED


def test_one_budget_does_not_answer_for_epochs():
    figures = {place: values for place, values in FIGURES.items() if place[1] == 9}
    improve, need_epochs, _, _ = examine(members_of(figures))
    assert improve.verdict == contrasts.HOLDS
    assert need_epochs.found is None
    assert "one number of epochs is common to all depths: 9" in need_epochs.verdict


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
    claim = examine(members_of(figures))[position]
    assert claim.verdict.startswith(contrasts.UNANSWERED)
    assert reason in claim.verdict


def test_only_budgets_of_every_depth_are_compared():
    figures = FIGURES | {(0, 20): (99, 99, 99)}
    assert examine(members_of(figures)) == examine(members_of(FIGURES))
    apart = {(0, 2): (80, 80, 80), (1, 9): (90, 90, 90)}
    for claim in examine(members_of(apart)):
        assert claim.found is None
        assert "common to all depths" in claim.verdict or "no network" in claim.verdict


def test_a_seed_that_diverged_is_left_out_of_its_pairs():
    members = [
        member("1 9", 2, hidden=(8,), epochs=9, status="diverged in epoch 1")
        if (m["architecture"], m["seed"]) == ("1 9 8", 2)
        else m
        for m in members_of(FIGURES)
    ]
    improve = examine(members)[0]
    assert (improve.found.count, improve.found.mean) == (2, pytest.approx(0.04))
    assert [part.count for part in improve.parts.values()] == [2, 3]


def test_where_all_diverged_nothing_is_claimed():
    members = [
        member(f"{depth}", 0, hidden=(8,) * depth, epochs=epochs, status="diverged in epoch 1")
        for depth in (0, 1, 2)
        for epochs in (1, 5)
    ]
    for claim in examine(members):
        assert claim.verdict.startswith(contrasts.UNANSWERED)
        assert "no seed finished" in claim.verdict
    assert analyse(members)[-1].figure is None


def test_without_varying_depth_there_are_no_claims():
    for members in ([member("a", hidden=(8,)), member("b", hidden=(16,))], [member(hidden=None)]):
        assert examine(members) == []
        assert analyse(members) == []


# Sections


def analyse(members: list[dict]) -> list[Any]:
    with canvas.styled():
        return claims.analyse(Comparison(members).networks)


def test_the_sweep_of_depth_names_this_analysis():
    found = find_analysis(read("configs/sweeps/depth.py").analysis)
    assert found is not None
    assert found.__code__ == claims.analyse.__code__


def test_the_sections_tell_each_claim_with_its_numbers():
    overview, improve, *others, plot = analyse(members_of(FIGURES))
    assert overview.title == "Claims"
    assert "paired" in overview.paragraphs[0]
    assert overview.rows[0] == ("Hidden layers improve accuracy.", "holds")
    assert improve.title == "“Hidden layers improve accuracy.”"
    assert "+3.667 ± 0.333 percentage points, 3 seeds" in improve.paragraphs[0]
    assert improve.rows[0] == ("1 hidden layer minus none", "+3.667 ± 0.333", 3)
    assert [section.title for section in others] == [
        f"“{sentence}”" for sentence in (claims.EPOCHS, claims.ALSO_FURTHER, claims.DIMINISH)
    ]
    assert (plot.title, plot.figure is None) == ("Depth", False)


def test_an_unanswered_claim_has_its_reason_and_no_table():
    figures = {place: values for place, values in FIGURES.items() if place[0] != 0}
    improve = analyse(members_of(figures))[1]
    assert "no network without hidden layers was trained" in improve.paragraphs[0]
    assert not improve.rows


# Plot


def depths(seeds: int = 3, budgets: tuple[int, ...] = (1, 4)) -> list[dict]:
    return [
        member(
            f"{depth} layers, {epochs} epochs",
            seed,
            0.9 + 0.01 * depth + 0.001 * seed + 0.0001 * epochs,
            hidden=(128,) * depth,
            epochs=epochs,
        )
        for depth, epochs, seed in product(range(3), budgets, range(seeds))
    ]


def flat(figure) -> str:
    """Its texts, lines joined: a note may break anywhere."""
    found = (text.get_text() for text in figure.findobj(matplotlib.text.Text))
    return "\n".join(found).replace("\n", " ")


def heights(axes, position: int) -> list[float]:
    """The y of a line with error bars."""
    return [float(y) for y in axes.containers[position][0].get_ydata()]


def test_depth_and_epochs_are_crossed():
    figure = analyse(depths())[-1].figure
    axes = {one.get_xlabel().removesuffix(" (log scale)"): one for one in figure.axes}
    by_depth, by_epochs = axes["number of hidden layers"], axes["epochs"]
    assert by_depth.get_legend_handles_labels()[1] == ["1", "4"]
    assert by_epochs.get_legend_handles_labels()[1] == ["0", "1", "2"]
    assert heights(by_depth, 1) == pytest.approx([90.14, 91.14, 92.14])
    assert heights(by_epochs, 0) == pytest.approx([90.11, 90.14])
    assert "3 seeds" in flat(figure)


def test_one_budget_gives_one_panel():
    figure = analyse(depths(budgets=(4,)))[-1].figure
    assert len(figure.axes) == 1
    assert "4 epochs" in flat(figure)
