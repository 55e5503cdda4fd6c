"""Tests three published claims about hidden layers; the analysis that depth.py names.

The claim that deeper networks need more epochs is tested twice: among all networks, and among those
with hidden layers, because a network without hidden layers is a different kind of network. Depths
are compared among networks of equal width alone. A claim stays unanswered if networks of different
depths differ in another field, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from pandas import DataFrame

from mnist_jax.analysis import axes, canvas
from mnist_jax.analysis.sweep.contrasts import (
    UNANSWERED,
    Contrast,
    by_seed,
    confounders,
    contrast,
)
from mnist_jax.analysis.sweep.fields import draw_points, ends
from mnist_jax.analysis.sweep.section import Frame, Section

IMPROVE = "Hidden layers improve accuracy."
EPOCHS = "Deeper networks need more epochs."
ALSO_FURTHER = "Deeper networks need more epochs (only networks with hidden layers)."
DIMINISH = "Returns diminish."

CELLS = ("depth", "num_epochs")  # what is compared: hidden layers, and epochs as configured
HELP = (
    "Each claim is tested by a contrast that was fixed in advance, on test accuracy, which was not "
    "used to choose anything. Contrasts are paired: each is computed separately for every seed, "
    "from the trainings that share the seed, and then averaged; ± is the standard error, sd / √n "
    "over n seeds. A claim or its opposite is accepted only if the 95 % confidence interval "
    "(Student's t) excludes zero. Only numbers of epochs for which every depth was trained are "
    "compared."
)
READING = (
    "If the lines for few and for many epochs move apart as depth grows, deeper networks need more "
    "epochs."
)


@dataclass(frozen=True)
class Claim:
    """A claim, the contrast that tests it, and what was found."""

    sentence: str
    contrast: str  # in words: which accuracies are compared
    found: Contrast | None = None  # None if the networks cannot answer
    reason: str = ""  # why they cannot
    parts: dict[str, Contrast] = field(default_factory=dict)  # what the contrast consists of

    @property
    def verdict(self) -> str:
        """What the networks say of the claim."""
        return f"{UNANSWERED}: {self.reason}" if self.found is None else self.found.verdict


def analyse(networks: Frame) -> list[Section]:
    """Returns a section per claim, and a plot of accuracy by depth; none if depth does not vary."""
    claims = examine(networks)
    if not claims:
        return []
    dense, _ = comparable(networks)
    paragraphs = [HELP]
    if len(dense) < len(_dense(networks)):
        widths = " and ".join(sorted(set(dense["width"]) - {""}))
        paragraphs.append(f"Only networks of width {widths} are compared: every depth has these.")
    verdicts = [(claim.sentence, claim.verdict) for claim in claims]
    overview = Section("Claims", paragraphs, header=("claim", "verdict"), rows=verdicts)
    plot = Section("Depth", [READING], figure=draw_depth(dense), alt="Test accuracy by depth")
    return [overview, *map(_section, claims), plot]


def _section(claim: Claim) -> Section:
    title = f"“{claim.sentence}”"
    words = f"{canvas.capitalised(claim.contrast)}: "
    if claim.found is None:
        return Section(title, [words + claim.verdict + "."])
    words += f"{claim.found.points} percentage points, {canvas.count(claim.found.count, 'seed')}. "
    rows = [(name, part.points, part.count) for name, part in claim.parts.items()]
    header = ("part", "percentage points", "seeds")
    return Section(title, [f"{words}Verdict: {claim.verdict}."], header, rows)


# Claims


def examine(networks: Frame) -> list[Claim]:
    """Returns the claims with their verdicts; empty if the number of hidden layers does not vary.

    Architectures of the same depth and number of epochs are averaged, separately for each seed. A
    contrast leaves out seeds that lack one of the accuracies it needs.
    """
    dense, others = comparable(networks)
    depths = sorted(set(dense["depth"]))
    if len(depths) < 2:
        return []
    if others:
        reason = f"networks of different depths also differ in {', '.join(others)}"
        contrast = "accuracy by number of hidden layers"
        sentences = (IMPROVE, EPOCHS, ALSO_FURTHER, DIMINISH)
        return [Claim(sentence, contrast, reason=reason) for sentence in sentences]
    cells = by_seed(dense, CELLS)
    budgets = [
        budget
        for budget in sorted(set(dense["num_epochs"]))
        if all((depth, budget) in cells for depth in depths)
    ]
    return [
        _improve(cells, depths, budgets),
        _need_epochs(EPOCHS, cells, depths, budgets),
        _need_epochs(ALSO_FURTHER, cells, [depth for depth in depths if depth], budgets),
        _diminish(cells, depths, budgets),
    ]


def comparable(networks: Frame) -> tuple[Frame, list[str]]:
    """Returns the dense networks whose depths can be compared, and what else they differ in.

    Of networks with hidden layers these are the ones of a width that every depth has, or all if
    there is no such width; width is then one of the fields in which they differ. The columns
    `depth` and `width` are added.
    """
    dense = _dense(networks)
    deep = dense[dense["depth"] > 0]
    widths = [set(group["width"]) for _, group in deep.groupby("depth")]
    if common := set.intersection(*widths) if widths else set():
        dense = dense[dense["width"].isin(common) | (dense["depth"] == 0)]
        deep = dense[dense["depth"] > 0]
    found = confounders(dense, CELLS, without=("model.hidden", "width"))
    return dense, found + [name for name in confounders(deep, CELLS) if name == "width"]


def _dense(networks: Frame) -> Frame:
    hidden = networks["model.hidden"] if "model.hidden" in networks else [None] * len(networks)
    pairs = zip(networks["model.name"], hidden, strict=True)
    dense = networks[[name == "mlp" and isinstance(units, tuple) for name, units in pairs]]
    shapes = [] if dense.empty else list(dense["model.hidden"])
    widths = ["-".join(map(str, sorted(set(units)))) for units in shapes]
    return dense.assign(depth=[len(units) for units in shapes], width=widths)


def _improve(cells: Frame, depths: list[int], budgets: list[int]) -> Claim:
    words = "test accuracy with 1 hidden layer minus that with none"
    if lack := _lack(depths, budgets, (0, 1)):
        return Claim(IMPROVE, words, reason=lack)
    last = budgets[-1]
    parts = {
        f"{layers(depth)} minus none": contrast(cells[depth, last] - cells[0, last])
        for depth in depths
        if depth
    }
    return Claim(IMPROVE, f"{words}, {_after(last)}", next(iter(parts.values())), parts=parts)


def _need_epochs(sentence: str, cells: Frame, depths: list[int], budgets: list[int]) -> Claim:
    words = "increase, per hidden layer, of the gain from more epochs (least-squares slope)"
    lack = _lack(depths, budgets, ())
    if not lack and len(budgets) == 1:
        lack = f"only one number of epochs is common to all depths: {budgets[0]}"
    if not lack and len(depths) < 2:
        lack = "all networks with hidden layers have the same number of them"
    if lack:
        return Claim(sentence, words, reason=lack)
    first, last = budgets[0], budgets[-1]
    gains = DataFrame({depth: cells[depth, last] - cells[depth, first] for depth in depths})
    away = np.array(depths) - np.mean(depths)
    slopes = gains @ away / (away @ away)  # NaN for a seed that lacks a gain
    parts = {f"gain with {layers(depth)}": contrast(gains[depth]) for depth in depths}
    words += f"; gain: test accuracy after {last} epochs minus that after {first}"
    return Claim(sentence, words, contrast(slopes), parts=parts)


def _diminish(cells: Frame, depths: list[int], budgets: list[int]) -> Claim:
    words = "gain of the first hidden layer minus the mean gain of each further one"
    lack = _lack(depths, budgets, (0, 1))
    if not lack and depths[-1] < 2:
        lack = "no network with more than 1 hidden layer was trained"
    if lack:
        return Claim(DIMINISH, words, reason=lack)
    last = budgets[-1]

    def each(low: int, high: int) -> Any:
        return (cells[high, last] - cells[low, last]) / (high - low)

    parts = {_layer(low, high): contrast(each(low, high)) for low, high in pairwise(depths)}
    found = contrast(each(0, 1) - each(1, depths[-1]))
    return Claim(DIMINISH, f"{words}, {_after(last)}", found, parts=parts)


def _lack(depths: list[int], budgets: list[int], needed: Sequence[int]) -> str:
    """Returns why a contrast cannot be computed; empty if it can."""
    for depth in needed:
        if depth not in depths:
            which = f"with {layers(depth)}" if depth else "without hidden layers"
            return f"no network {which} was trained"
    return "" if budgets else "no number of epochs is common to all depths"


def layers(depth: int) -> str:
    """Formats a depth: `no hidden layer`, `1 hidden layer`, `2 hidden layers`."""
    return canvas.count(depth, "hidden layer") if depth else "no hidden layer"


def _layer(low: int, high: int) -> str:
    return f"layer {high}" if high == low + 1 else f"layers {low + 1} to {high}, each"


def _after(epochs: int) -> str:
    return f"after {canvas.count(epochs, 'epoch')}"


# Plot


def draw_depth(dense: Frame) -> Any:
    """Draws test accuracy against depth and against epochs; None if no network finished."""
    cells = by_seed(dense, CELLS)
    found: Frame = DataFrame({"mean": cells.mean(), "sd": cells.std(), "count": cells.count()})
    if not found["count"].any():
        return None
    budgets = sorted(set(dense["num_epochs"]))
    note = f"dense networks; points: mean; {axes.seeds_note(found['count'], 'bars')}"
    if dense["architecture"].nunique() > len(found):
        note += "; architectures of the same depth and epochs are averaged for each seed"
    title = "Test accuracy by number of hidden layers"
    if len(budgets) == 1:
        figure = canvas.headed(9, 4.5, f"{title}, {canvas.count(budgets[0], 'epoch')}", note)
        left = canvas.panel(figure, 0.75, 0.6, 0.45)
    else:
        figure = canvas.headed(9, 4.9, f"{title} and epochs", note)
        left, right = canvas.panel(figure, 0.75, 1.2, 4.65), canvas.panel(figure, 5.1, 1.2, 0.2)
        _draw_panel(right, found, "depth", "hidden layers")
        axes.number_axis(right, budgets, "epochs")
        right.set_ylabel("")
    _draw_panel(left, found, "num_epochs", "epochs" if len(budgets) > 1 else "")
    left.set_xticks(sorted(set(dense["depth"])))
    left.set_xlabel("number of hidden layers")
    return figure


def _draw_panel(panel: Any, found: Frame, by: str, title: str) -> None:
    """Draws one line per value of the level `by`, with a legend if it has a title."""
    values = sorted(set(found.index.get_level_values(by)))
    for value, style in zip(values, axes.ordered_styles(len(values)), strict=True):
        draw_points(panel, found.xs(value, level=by), style | {"label": f"{value}"})
    axes.accuracy_axis(panel, ends(found), "test accuracy")
    if title:
        panel.legend(
            title=title, loc="upper left", bbox_to_anchor=(-0.06, -0.18), ncols=5, fontsize=9,
            title_fontsize=9, alignment="left", borderaxespad=0, columnspacing=1.2,
        )  # fmt: skip
