import math
import subprocess
import sys
from itertools import product
from pathlib import Path

import matplotlib
import matplotlib.text
import numpy as np
import pytest
from PIL import Image

from mnist_jax.analysis import canvas
from mnist_jax.analysis.axes import error_scale, is_wide, keep_apart
from mnist_jax.analysis.sweep import curves, fields, heatmaps, plots, ranking, sizes
from mnist_jax.analysis.sweep.table import Comparison
from mnist_jax.metrics import LOSS, find
from tests.analysis.members import ENTROPY, TOP_2, member

ACCURACY = find(())[1]

LOST = "diverged in epoch 2"


@pytest.fixture(autouse=True)
def _style():
    with canvas.styled():
        yield


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def flat(figure) -> str:
    """Its texts, lines joined: a note may break anywhere."""
    return texts(figure).replace("\n", " ")


def drawn(axes, position: int) -> tuple[list[float], list[float]]:
    """x and y of a line with error bars."""
    line = axes.containers[position][0]
    return [float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()]


def assert_a_picture(path: Path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width >= 700
        pixels = np.asarray(image.convert("L"))
    assert pixels.std() > 2
    for edge in (pixels[:, [0, -1]], pixels[[0, -1]]):
        assert edge.min() > 250  # nothing runs out of the picture


def many(count: int, seeds: int = 1) -> list[dict]:
    return [
        member(f"net {i}", seed, 0.9 + i / 2000, val=0.9 + i / 1000, parameters=1000 * (i + 1))
        for i in range(count)
        for seed in range(seeds)
    ]


def depths(seeds: int = 3) -> list[dict]:
    return [
        member(
            f"{depth} layers, {epochs} epochs",
            seed,
            0.9 + 0.01 * depth + 0.001 * seed + 0.0001 * epochs,
            hidden=(128,) * depth,
            epochs=epochs,
            parameters=1000 * (depth + 1),
        )
        for depth, epochs, seed in product(range(3), (1, 4), range(seeds))
    ]


def rates() -> list[dict]:
    return [
        member(
            f"rate {rate}",
            seed,
            val=0.9 + 0.01 * place + 0.004 * seed,
            learning_rate=rate,
            status=LOST if (rate, seed) == (0.1, 1) or rate == 1.0 else "finished",
            rows=1 if rate == 1.0 else None,
        )
        for (place, rate), seed in product(enumerate((1e-3, 1e-2, 0.1, 1.0)), range(2))
    ]


def grid(activations=("relu", "tanh"), outputs=("softmax", "sigmoid")) -> list[dict]:
    return [
        member(f"{a} {o}", val=0.9 + 0.01 * place, activation=a, output=o)
        for place, (a, o) in enumerate(product(activations, outputs))
    ]


ALWAYS = ["ranking", "curves", "loss_curves"]


@pytest.mark.parametrize(
    ("members", "stems"),
    [
        ([member("only")], ALWAYS),
        (many(24), [*ALWAYS, "parameters"]),
        (many(60, seeds=2), [*ALWAYS, "parameters"]),
        (depths(), [*ALWAYS, "parameters", "heatmap_hidden_layers_epochs"]),
        (rates(), [*ALWAYS, "field_learning_rate"]),
        (grid(), [*ALWAYS, "heatmap_activation_output"]),
        ([member("a", status=LOST), member("b", status=LOST)], ["ranking"]),
        ([member(seed=seed, val=None) for seed in range(3)], ALWAYS),
        ([member("all wrong", val=0.0, test=0.0), member("all right", val=1.0, test=1.0)], ALWAYS),
        ([member("a" * 200), member("$x_1$ <b>&amp;", val=0.3)], ALWAYS),
        ([member("slow", epochs=1), member("long", epochs=40, hidden=None)], ALWAYS),
    ],
    ids=[
        *("one", "24", "60", "depths", "rates", "grid", "all diverged", "no validation"),
        *("extremes", "odd names", "budgets apart"),
    ],
)
def test_the_pictures_that_make_sense_are_written(
    tmp_path: Path, members: list[dict], stems: list[str]
):
    written = plots.write_plots(tmp_path / "plots", Comparison(members))
    assert [path.stem for _, path in written] == stems
    assert [plot.name for plot, _ in written] == stems
    for _, path in written:
        assert_a_picture(path)


def test_the_same_members_give_the_same_bytes(tmp_path: Path):
    for name in ("one", "two"):
        plots.write_plots(tmp_path / name, Comparison(depths()))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize("members", [depths(), rates(), grid()], ids=["depths", "rates", "grid"])
def test_each_plot_has_words_of_its_own(members: list[dict]):
    found = list(plots.plots_of(Comparison(members)))
    for part in ("name", "heading", "alt"):
        words = [getattr(plot, part) for plot in found]
        assert all(words)
        assert len(set(words)) == len(words)
    assert all(plot.help.endswith(".") for plot in found)


def test_a_plot_without_a_heading_cannot_be_added():
    with pytest.raises(TypeError, match="heading"):
        plots.Plot("new", help="h", alt="a", draw=lambda comparison: None)


def test_a_plot_that_cannot_be_drawn_costs_that_plot_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def fail(comparison):
        raise RuntimeError("no ink")

    monkeypatch.setattr(plots, "draw_parameters", fail)
    written = plots.write_plots(tmp_path, Comparison(many(3)))
    assert [path.stem for _, path in written] == ALWAYS
    warning = capsys.readouterr().err
    assert warning == "warning: the plot parameters cannot be drawn: RuntimeError: no ink\n"


def scales() -> list[dict]:
    """Two fields of the same last name, which vary together in a grid."""
    found = []
    for a, b in product((0.1, 0.2, 0.4), (1, 2, 3)):
        one = member(f"{a} {b}", val=0.9 + a / 10 + b / 100)
        one["config"] |= {"augment": {"scale": a}}
        one["config"]["model"] |= {"scale": b}
        found.append(one)
    return found


def test_fields_of_one_last_name_have_a_file_and_a_heading_each(tmp_path: Path):
    written = plots.write_plots(tmp_path, Comparison(scales()))
    found = {path.stem: plot.heading for plot, path in written if "scale" in path.stem}
    assert found == {
        "heatmap_model_scale_augment_scale": "Two fields at once",
        "field_model_scale": "One field: model.scale",
        "field_augment_scale": "One field: augment.scale",
    }
    assert len({path.read_bytes() for _, path in written}) == len(written)


def words(members: list[dict]) -> str:
    """What the report says of the plots."""
    return " ".join(f"{plot.help} {plot.alt}" for plot in plots.plots_of(Comparison(members)))


def test_what_is_said_of_plots_names_the_column_that_ranks():
    said = words(losses())
    assert "lower validation loss with fewer parameters" in said
    assert "further down and to the left" in said
    assert "A table of mean validation loss" in said
    assert "Validation loss against a" in said
    assert "the single lowest point" in said
    assert "The order is by validation loss;" in said


def test_what_is_said_of_plots_is_true_without_validation():
    said = words([member("a", val=None, parameters=2), member("b", val=None)])
    assert "in the order given, because there is no validation accuracy." in said
    assert "higher test accuracy with fewer parameters" in said
    assert "by validation" not in said
    assert "in the order given, because no training finished." in words([member(status=LOST)])


# Curves


def test_a_curve_is_the_mean_over_the_seeds_that_finished():
    members = [member(seed=seed, val=val) for seed, val in enumerate((0.90, 0.94))]
    members.append(member(seed=2, val=0.2, status=LOST, rows=1))
    [found] = curves.curves(Comparison(members), "val_accuracy").values()
    assert list(found.index) == [1, 2, 3]
    assert list(100 * found["mean"]) == pytest.approx([76.0, 88.0, 92.0])
    assert list(100 * found["sd"]) == pytest.approx([12 / 2**0.5, 6 / 2**0.5, 4 / 2**0.5])


def test_a_curve_ends_where_the_first_of_its_seeds_ends():
    members = [member(seed=0, epochs=5), member(seed=1, epochs=3)]
    [found] = curves.curves(Comparison(members), "val_loss").values()
    assert list(found.index) == [1, 2, 3]


def test_a_curve_has_no_epoch_in_which_a_value_is_not_finite():
    members = [member("sound"), member("odd"), member("none", val=None)]
    members[1]["history"][0]["val_loss"] = math.inf
    found = curves.curves(Comparison(members), "val_loss")
    assert {name: list(curve.index) for name, curve in found.items()} == {
        "sound": [1, 2, 3],
        "odd": [2, 3],
    }


@pytest.mark.parametrize(("count", "coloured"), [(1, 1), (5, 5), (7, 7), (24, 7), (60, 7)])
def test_few_lines_are_in_colour_and_each_is_named(count: int, coloured: int):
    figure = curves.draw_curves(Comparison(many(count)), ACCURACY)
    assert figure is not None
    [axes] = figure.axes
    lines = [line for line in axes.lines if len(line.get_xdata()) == 3]
    strong = [line for line in lines if line.get_marker() not in ("", "None")]
    assert (len(lines), len(strong)) == (count, coloured)
    looks = {(line.get_color(), line.get_marker()) for line in strong}
    assert len(looks) == coloured
    said = texts(figure)
    assert f"net {count - 1}  " in said
    assert ("in grey: the other" in said) == (count > 7)


def test_the_best_and_the_worst_by_validation_are_the_ones_in_colour():
    members = [member(f"net {i}", val=0.9 + i / 1000, test=0.99 - i / 1000) for i in range(20)]
    said = texts(curves.draw_curves(Comparison(members), ACCURACY))
    assert [i for i in range(20) if f"net {i}  " in said] == [0, 1, 15, 16, 17, 18, 19]


def test_without_validation_the_curves_are_of_training():
    figure = curves.draw_curves(Comparison([member(val=None)]), LOSS)
    assert "Training loss by epoch" in texts(figure)


def test_a_training_that_diverged_is_marked():
    members = [member("a"), member("b", status=LOST, rows=1)]
    figure = curves.draw_curves(Comparison(members), ACCURACY)
    assert figure is not None
    assert "diverged (1 in all)" in flat(figure)
    assert "x" in [line.get_marker() for line in figure.axes[0].lines]


def test_every_metric_has_curves_with_its_own_unit():
    metrics = {TOP_2: 0.5, ENTROPY: -0.25}
    members = [member("a", metrics=metrics), member("b", metrics=metrics)]
    _, _, top_2, entropy = find(metrics)
    figure = curves.draw_curves(Comparison(members), top_2)
    assert figure is not None
    said = texts(figure)
    assert "Validation top 2 by epoch" in said
    assert "a  50.00 %" in said
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([50 / 3, 100 / 3, 50])
    figure = curves.draw_curves(Comparison(members), entropy)
    assert figure is not None
    assert "b  -0.2500" in texts(figure)
    assert figure.axes[0].get_ylim()[0] < -0.25
    assert figure.axes[0].get_ylabel() == "mean validation entropy per image"


def test_curves_of_a_metric_that_only_some_have_are_drawn():
    middle = member("middle", val=0.91, metrics={TOP_2: 0.5})  # grey among all accuracies
    figure = curves.draw_curves(Comparison([*many(20), middle]), find((TOP_2,))[2])
    assert "middle  50.00 %" in texts(figure)
    assert "net " not in texts(figure)


def test_best_and_worst_follow_the_column_that_the_configuration_calls_best():
    members = [member(f"net {i}", best="val_loss") for i in range(20)]
    for i, one in enumerate(members):
        one["history"][-1]["val_loss"] = 0.1 + i / 100
    said = texts(curves.draw_curves(Comparison(members), ACCURACY))
    assert [i for i in range(20) if f"net {i}  " in said] == [0, 1, 2, 3, 4, 18, 19]


# Ranking and size


def test_the_ranking_names_every_row_best_first():
    members = [*many(3, seeds=2), member("gone", status=LOST), member("net 0", 9, status=LOST)]
    figure = ranking.draw_ranking(Comparison(members))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["net 2", "net 1", "net 0 (1 of 3 diverged)", "gone (1 of 1 diverged)"]
    said = flat(figure)
    assert "standard deviation over 2 seeds" in said
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells.count("diverged") == 2  # both columns of the row that has no figures
    assert "90.20 ± 0.00" in said


def test_a_long_ranking_says_what_it_leaves_out():
    figure = ranking.draw_ranking(Comparison(many(50)))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == 41
    assert (names[0], names[20], names[-1]) == ("net 49", "… 10 more …", "net 0")
    assert "the middle 10 of 50 are left out" in flat(figure)


def test_a_ranking_without_validation_says_that_it_is_none():
    figure = ranking.draw_ranking(Comparison([member("a", val=None), member("b", val=None)]))
    said = flat(figure)
    assert "in the order given" in said
    assert "not ranked" in said
    assert "validation, %" not in said


def test_a_ranking_of_lost_trainings_has_another_reason():
    said = flat(ranking.draw_ranking(Comparison([member("a", status=LOST)])))
    assert "not ranked, because no training finished" in said
    assert "validation split" not in said


def test_the_ranking_shows_the_column_that_orders_it():
    members = [member(n, val=v, best="val_loss") for n, v in (("a", 0.5), ("b", 0.75))]
    figure = ranking.draw_ranking(Comparison(members))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "a"]
    said = flat(figure)
    assert "Architectures by validation loss" in said
    assert "0.2500" in said
    assert "%" not in said
    assert figure.axes[0].get_xlabel() == "mean loss per image"


def test_the_ranking_says_that_what_lost_a_training_comes_last():
    members = [member("a", 0, val=0.99), member("a", 1, status=LOST), member("b", val=0.9)]
    figure = ranking.draw_ranking(Comparison(members))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["b", "a (1 of 2 diverged)"]
    assert "architectures with a diverged training come last" in flat(figure)


def test_labels_of_points_do_not_cover_one_another():
    figure = sizes.draw_parameters(Comparison(many(60)))
    assert figure is not None
    labels = [text for text in figure.axes[0].texts if text.get_text().startswith("net ")]
    boxes = [label.get_window_extent() for label in labels]
    assert len(boxes) > 5
    assert "net 59" in [label.get_text() for label in labels]
    for i, box in enumerate(boxes):
        assert box.count_overlaps(boxes[i + 1 :]) == 0


def test_without_different_sizes_there_is_no_picture_of_size():
    assert sizes.draw_parameters(Comparison([member("a"), member("b", val=0.5)])) is None


def test_sizes_are_shown_with_the_column_that_ranks():
    figure = sizes.draw_parameters(Comparison(losses()))
    assert figure is not None
    [axes] = figure.axes
    assert axes.get_ylabel().startswith("mean validation loss per image")
    heights = [float(y) for position in range(4) for y in drawn(axes, position)[1]]
    assert sorted(heights) == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert "Validation loss by number of parameters" in texts(figure)


# Fields


def losses() -> list[dict]:
    """A grid of two fields, ranked by the validation loss: 0.1, 0.2, 0.4 and 0.8; another third."""
    found = [
        member(f"{a} {b}", a=a, b=b, best="val_loss", parameters=100 * a)
        for a, b in ((1, "x"), (1, "y"), (2, "x"), (2, "y"))
    ]
    found.append(member("3 x", a=3, b="x", best="val_loss", status=LOST))
    for one, loss in zip(found, (0.1, 0.2, 0.4, 0.8), strict=False):
        one["history"][-1]["val_loss"] = loss
    return found


def heatmap(members: list[dict], *expected: str):
    comparison = Comparison(members)
    grid = heatmaps.find_grid(comparison)
    assert grid == expected
    return heatmaps.draw_heatmap(comparison, *grid)


def by_field(members: list[dict], expected: str):
    comparison = Comparison(members)
    [field] = fields.find_numeric(comparison)
    assert field == expected
    return fields.draw_field(comparison, field)


def test_a_heat_map_shows_the_column_that_ranks_and_the_best_is_the_darkest():
    figure = heatmap(losses(), "optimizer.a", "optimizer.b")
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ["0.1000", "0.2000", "0.4000", "0.8000", "diverged"]
    assert "Mean validation loss by a and b" in texts(figure)
    light = [sum(patch.get_facecolor()[:3]) for patch in figure.axes[0].patches[:4]]
    assert light == sorted(light)
    assert len(set(light)) == 4


def test_a_heat_map_of_percentages_beyond_100_keeps_their_order():
    members = [
        member(f"{a} {b}", a=a, b=b, metrics={TOP_2: 0.5 + a + b}, best="val_top_2")
        for a, b in product((0, 1, 2), (0.2, 0.4))
    ]
    figure = heatmap(members, "optimizer.a", "optimizer.b")
    light = [sum(patch.get_facecolor()[:3]) for patch in figure.axes[0].patches]
    assert light == sorted(light, reverse=True)
    assert len(set(light)) == 6


def test_a_field_is_shown_with_the_column_that_ranks():
    figure = by_field(losses(), "optimizer.a")
    [axes] = figure.axes
    assert drawn(axes, 0)[1] == pytest.approx([0.1, 0.4])
    assert drawn(axes, 1)[1] == pytest.approx([0.2, 0.8])
    assert axes.get_ylabel().startswith("mean validation loss per image")
    assert "Validation loss by a" in texts(figure)
    assert "x" in [line.get_marker() for line in axes.lines]


@pytest.mark.parametrize(
    ("field", "name"),
    [("kernel", "kernel"), ("hidden", "width of hidden layers"), ("dense", "dense")],
)
def test_only_hidden_layers_are_called_widths(field: str, name: str):
    members = [member(f"{n}", hidden=(8,)) for n in (3, 5, 7)]
    for one, n in zip(members, (3, 5, 7), strict=True):
        one["config"]["model"][field] = [n, n]
    figure = by_field(members, f"model.{field}")
    assert figure.axes[0].get_xlabel() == name


def test_a_mean_is_not_said_to_be_over_fields_that_the_shown_ones_decide():
    members = [
        member(f"{a} {b} {c}", val=0.9 + c, a=a, same=-a, b=b, c=c)
        for a, b, c in product((1, 2, 3), (1, 2, 3), (0.02, 0.04))
    ]
    figure = heatmap(members, "optimizer.a", "optimizer.b")
    assert "over all values of c;" in flat(figure)
    members = [
        member(f"{a} {b}", val=0.9 + a / 100 + b / 1000, a=a, same=f"{a}", b=f"b{b}")
        for a, b in product((1, 2, 3), range(10))
    ]
    figure = by_field(members, "optimizer.a")
    assert "mean over all seeds and all values of b; bars" in flat(figure)
    assert flat(figure).endswith("what differs with a, too: same")


def test_a_heat_map_writes_each_mean_and_what_is_missing():
    members = grid(("relu", "tanh", "elu"))[:-1]  # elu with sigmoid was not run
    members += [member("relu softmax", 1, val=0.96, activation="relu", output="softmax")]
    members[1] = member("relu sigmoid", activation="relu", output="sigmoid", status=LOST)
    members += [member("tanh softmax", 1, activation="tanh", output="softmax", status=LOST)]
    figure = heatmap(members, "optimizer.activation", "optimizer.output")
    said = {text.get_text() for text in figure.axes[0].texts}
    assert said == {"93.00", "diverged", "92.00", "1 of 2 diverged", "94.00"}
    assert sum(bool(patch.get_hatch()) for patch in figure.axes[0].patches) == 1
    assert "hatched: not run" in flat(figure)


def test_a_heat_map_averages_over_the_fields_that_it_does_not_show():
    members = [
        member(f"{a}{b}{c}", val=0.9 + c, a=a, b=b, c=c)
        for a, b, c in product((1, 2, 3), (1, 2, 3), (0.02, 0.04))
    ]
    figure = heatmap(members, "optimizer.a", "optimizer.b")
    assert {text.get_text() for text in figure.axes[0].texts} == {"93.00"}
    assert "mean over 2 trainings per cell, over all values of c" in flat(figure)


def test_fields_that_change_together_are_no_grid():
    members = [member(f"{i}", val=0.9, a=i, b=-i) for i in range(6)]
    assert heatmaps.find_grid(Comparison(members)) is None


def test_accuracy_by_a_numeric_field_marks_what_diverged():
    figure = by_field(rates(), "optimizer.learning_rate")
    [axes] = figure.axes
    assert axes.get_xscale() == "log"
    x, y = drawn(axes, 0)
    assert x == pytest.approx([1e-3, 1e-2, 0.1])
    assert y == pytest.approx([90.2, 91.2, 92.0])
    crosses = {float(x.get_xdata()[0]) for x in axes.lines if x.get_marker() == "x"}
    assert crosses == {0.1, 1.0}
    assert {"1 of 2", "2 of 2"} <= {text.get_text() for text in axes.texts}
    lowest = 90.2 - 0.4 / 2**0.5  # the end of the lowest bar
    assert axes.get_ylim()[0] < lowest - 0.15 * (92.0 - lowest)  # room for the crosses


def test_a_field_with_zero_and_a_wide_range_keeps_its_zero():
    members = [member(f"{decay}", weight_decay=decay) for decay in (0.0, 1e-5, 1e-2)]
    figure = by_field(members, "optimizer.weight_decay")
    assert figure.axes[0].get_xscale() == "symlog"
    assert "linear below 1e-05" in figure.axes[0].get_xlabel()


def test_other_fields_give_a_line_each():
    members = [
        member(f"{rate} {a}", learning_rate=rate, activation=a)
        for rate, a in product((1, 2, 3), ("relu", "tanh"))
    ]
    figure = by_field(members, "optimizer.learning_rate")
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert labels == ["activation relu", "activation tanh"]
    assert figure.axes[0].get_xscale() == "linear"


def test_many_lines_are_grey_behind_their_mean():
    members = [
        member(f"{a} {b}", val=0.9 + a / 100 + b / 1000, a=a, b=f"b{b}")
        for a, b in product((1, 2, 3), range(10))
    ]
    figure = by_field(members, "optimizer.a")
    assert drawn(figure.axes[0], 0)[1] == pytest.approx([91.45, 92.45, 93.45])
    assert len(figure.axes[0].containers) == 1
    assert "in colour: mean over all seeds and all values of b" in flat(figure)


def test_points_of_no_grid_are_dots():
    members = [member(f"{i}", val=0.9 + i / 100, a=i, b=f"b{i}") for i in range(8)]
    figure = by_field(members, "optimizer.a")
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [float(dot.get_ydata()[0]) for dot in dots] == pytest.approx([90 + i for i in range(8)])
    assert "one dot per architecture" in flat(figure)


# Axes and labels


def test_spread_labels_are_apart_and_within_and_in_order():
    wanted = [5.0, 1.0, 1.2, 1.1, 9.9]
    found = keep_apart(wanted, 1.0, 0.0, 10.0)
    assert np.argsort(found).tolist() == np.argsort(wanted).tolist()
    assert np.diff(sorted(found)).min() >= 1.0 - 1e-9
    assert min(found) >= 0
    assert max(found) <= 10
    assert found[0] == 5.0
    assert found[1:4] == pytest.approx([0.1, 2.1, 1.1])  # about their mean 1.1


def test_what_is_apart_already_stays():
    assert keep_apart([3.0, 0.0], 1.0, 0.0, 10.0) == [3.0, 0.0]


def test_accuracies_that_differ_a_lot_are_stretched_and_others_are_not():
    assert is_wide([11.0, 98.0])
    assert not is_wide([97.0, 98.0])
    assert is_wide([99.9, 100.0])
    np.testing.assert_allclose(np.diff(error_scale([90, 99, 99.9, 99.99])), 1.0, rtol=1e-6)


def test_drawing_does_not_import_pyplot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    written = plots.write_plots(tmp_path, Comparison(rates()))
    assert len(written) == 4


def test_importing_does_not_import_matplotlib_or_jax():
    code = (
        "import sys, mnist_jax.analysis.sweep.report;"
        "sys.exit('matplotlib' in sys.modules or 'jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
