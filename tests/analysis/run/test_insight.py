"""The plots of what a network looks at, from made-up insights."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from mnist_jax.analysis import canvas
from mnist_jax.analysis.gallery import Gallery
from mnist_jax.analysis.run import plots, saliency
from mnist_jax.analysis.run.activations import draw_activations
from mnist_jax.analysis.run.evaluation import Predictions, evaluate
from mnist_jax.analysis.run.first_layer import describe, draw_first_layer
from mnist_jax.analysis.run.insight import Insight, Layer, Map, examples_of
from mnist_jax.analysis.run.map import draw_map
from mnist_jax.analysis.run.plots import View
from mnist_jax.analysis.tint import tint
from mnist_jax.metrics import find

NAMES = ["saliency", "first_layer", "activations", "map"]
DIGITS = tuple("0123456789")
LONG = tuple(f"WWWWWWWWW_{n}" for n in range(60))
RANDOM = np.random.default_rng(2)


def predictions_of(shape=(9, 7, 1), names=DIGITS, count: int = 120) -> Predictions:
    labels = (np.arange(count) % len(names)).astype(np.int32)
    predicted = np.where(np.arange(count) % 5, labels, (labels + 1) % len(names))
    return Predictions(
        split="test",
        images=RANDOM.integers(0, 256, (count, *shape), np.uint8),
        labels=labels,
        probabilities=np.eye(len(names), dtype=np.float32)[predicted],
        values={"loss": np.arange(count, dtype=np.float32)},
        class_names=names,
    )


def values(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def insight_of(predictions: Predictions, units: int = 20, layers=((4, 3, 5), (12,))) -> Insight:
    count, shape = len(predictions.labels), predictions.images.shape[1:]
    examples, worst = examples_of(predictions), predictions.worst[:8]
    return Insight(
        first=Layer("conv_1", values(units, 3, 2, shape[2])),
        examples=examples,
        layers=tuple(
            Layer(f"layer_{i}", values(len(examples), *its)) for i, its in enumerate(layers)
        ),
        worst=worst,
        gradients=values(len(worst), *shape),
        map=Map("output", 16, np.arange(count), values(count, 2), np.array([0.5, 0.25])),
    )


def view_of(predictions: Predictions, insight: Insight | None) -> View:
    return View([], predictions, evaluate(predictions), find(()), insight)


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


CASES = {
    "digits": (predictions_of(), {}),
    "three classes in colour": (predictions_of((4, 5, 3), ("a", "b", "c")), {"units": 1}),
    "grey and alpha": (predictions_of((5, 6, 2), ("a", "b")), {"units": 512}),
    "many classes with long names": (
        predictions_of((200, 150, 4), LONG),
        {"layers": [(30,)] * 40 + [(3, 70, 9), (5, 8), (2, 2, 2, 2), (1, 1, 900), (60,)]},
    ),
}


@pytest.mark.parametrize(("predictions", "keywords"), CASES.values(), ids=CASES)
def test_every_picture_is_written_and_described(tmp_path: Path, predictions, keywords):
    view = view_of(predictions, insight_of(predictions, **keywords))
    paths = plots.write_plots(tmp_path, view)
    assert [path.stem for path in paths][-4:] == NAMES
    for path in paths[-4:]:
        with Image.open(path) as image:
            assert image.width >= 960  # wide enough for the whole page
            pixels = np.asarray(image.convert("L"))
        assert pixels.std() > 2
        assert (pixels[:, [0, -1]] > 220).all()  # nothing runs out at the sides
        assert (pixels[[0, -1]] > 220).all()
    shown = {plot.name: plot for plot in plots.plots_of(view)}
    for name in NAMES:
        assert len(shown[name].alt(view)) > 40
        assert len(shown[name].help) > 100


@pytest.mark.parametrize("draw", [draw_activations, saliency.draw_saliency, draw_map])
@pytest.mark.parametrize("names", [DIGITS, LONG])
def test_no_text_runs_into_its_neighbour(draw, names):
    predictions = predictions_of(names=names)
    insight = insight_of(predictions, layers=[(7, 7, 100), (20,)])
    with canvas.styled():
        figure = draw(insight.map if draw is draw_map else insight, predictions)
        figure.canvas.draw()
    below = figure.axes[0].texts if figure.axes else figure.texts[2:]
    assert len(below) > 3
    boxes = [text.get_window_extent() for text in below]
    for i, box in enumerate(boxes):
        assert box.count_overlaps(boxes[i + 1 :]) == 0
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_without_an_insight_its_plots_are_left_out(tmp_path: Path, capsys):
    paths = plots.write_plots(tmp_path, view_of(predictions_of(), None))
    assert not {path.stem for path in paths} & set(NAMES)
    assert not capsys.readouterr().err


def test_what_a_network_does_not_show_is_left_out_with_a_sentence(tmp_path: Path):
    predictions = predictions_of()
    nothing = replace(
        insight_of(predictions), first=None, layers=(), map=None, worst=np.zeros(0, int)
    )
    view = view_of(predictions, nothing)
    assert not {path.stem for path in plots.write_plots(tmp_path, view)} & set(NAMES)
    missing = {plot.name: plot.missing(view) for plot in plots.plots_of(view)}
    assert {name for name, why in missing.items() if why} == set(NAMES)
    assert "no weights of a layer that are like images" in missing["first_layer"]
    assert "no mistakes" in missing["saliency"]


# The first layer


def test_some_units_of_many_are_shown_and_the_picture_says_so():
    assert "all 20 units" in texts(draw_first_layer(Layer("dense_1", values(20, 28, 28, 1))))
    large = Layer("dense_1", values(512, 28, 28, 1))
    figure = draw_first_layer(large)
    assert "the first 66 of 512 units" in texts(figure)  # 6 rows of 11
    assert "the first 66 of 512 units of the layer dense_1" in describe(large)
    assert figure.bbox.height < 800


def test_a_unit_is_shown_pixel_by_pixel_in_blue_and_orange():
    unit = np.array([[1.0, -1.0], [0.0, 0.5]])[None, :, :, None]
    pixels = np.asarray(draw_first_layer(Layer("conv_1", unit)).images[0].get_array())
    middle, side = Gallery.WIDTH // 13 // 2 + 1, 72  # 13 columns of 72 pixels and a gap
    tile = pixels[Gallery.TOP : Gallery.TOP + side, middle - side // 2 :][:, :side]
    limit = float(np.percentile(np.abs(unit), 99.5))
    np.testing.assert_array_equal(tile[18::36, 18::36], tint(unit[0, :, :, 0], limit))


def test_weights_for_colours_are_shown_as_colours_on_grey():
    unit = np.zeros((1, 2, 1, 3))
    unit[0, 0, 0] = 1, 0, -1
    figure = draw_first_layer(Layer("conv_1", unit))
    pixels = np.asarray(figure.images[0].get_array()).reshape(-1, 3)
    assert (pixels == [255, 128, 0]).all(axis=1).any()
    assert (pixels == [128, 128, 128]).all(axis=1).any()
    assert "grey: 0" in texts(figure)


# Activations


def test_examples_are_taken_among_the_classes_that_occur():
    """Also where none of the evenly spaced ones among all classes has an image."""
    predictions = predictions_of(names=LONG)
    for labels, count in (([33, 5, 33, 21], 3), (np.arange(120) % 30 + 15, 10)):
        labels = np.array(labels, np.int32)
        found = examples_of(replace(predictions, labels=labels))
        assert len(found) == count
        assert len({*labels[found]}) == count


def test_pictures_of_some_classes_do_not_say_each_class():
    for names, said in ((DIGITS, "each class"), (LONG, "10 of 60 classes")):
        predictions = predictions_of(names=names)
        insight = insight_of(predictions)
        note = texts(draw_activations(insight, predictions)).replace("\n", " ")
        assert f"the first image of {said}" in note
        shown = {plot.name: plot for plot in plots.plots_of(view_of(predictions, insight))}
        for name in ("activations", "examples"):
            assert f"of {said}" in shown[name].alt(view_of(predictions, insight))


def test_some_of_many_layers_are_shown_the_first_and_the_last_included():
    predictions = predictions_of()
    said = texts(draw_activations(insight_of(predictions, layers=[(24,)] * 40), predictions))
    assert "8 of 40 layers" in said
    assert "layer_0\n" in said
    assert "layer_39" in said


def test_a_layer_has_its_name_its_shape_and_how_many_maps_are_shown():
    predictions = predictions_of()
    insight = insight_of(predictions, layers=[(14, 14, 32), (900,), (10,)])
    said = texts(draw_activations(insight, predictions)).split("\n")
    start = said.index("layer_0")
    assert said[start : start + 3] == ["layer_0", "14 x 14 x 32", "first 9 shown"]
    start = said.index("layer_1")
    assert said[start : start + 5] == ["layer_1", "900", "first 289 shown", "layer_2", "10"]


def test_the_cells_of_a_row_have_the_colours_of_its_values():
    predictions = predictions_of(names=("a", "b"), count=20)
    cells = np.array([[0.0, 1.0, -1.0], [0.5, -0.5, 0.0]])
    insight = replace(insight_of(predictions), layers=(Layer("output", cells),))
    figure = draw_activations(insight, predictions)
    pixels = np.asarray(figure.images[0].get_array())
    side = 112
    middle = len(pixels) - Gallery.GAP - side // 2  # of the last row
    limit = float(np.percentile(np.abs(cells), 99.5))
    for column, expected in enumerate(tint(cells, limit)):
        left = 140 + (2 * column + 1) * (Gallery.WIDTH - 140) // 4 - side // 2
        np.testing.assert_array_equal(pixels[middle, left + 20 : left + 112 : 37], expected)


def test_of_a_map_larger_than_its_place_every_second_value_is_shown():
    predictions = predictions_of(names=("a", "b"), count=20)
    maps = RANDOM.standard_normal((2, 110, 90, 4))
    insight = replace(insight_of(predictions), layers=(Layer("conv", maps),))
    pixels = np.asarray(draw_activations(insight, predictions).images[0].get_array())
    limit = float(np.percentile(np.abs(maps), 99.5))
    first = tint(maps[0, ::2, ::2, 0], limit)
    left = 140 + (Gallery.WIDTH - 140) // 4 - 112 // 2  # of the tile; its maps are in the middle
    top = len(pixels) - Gallery.GAP - 112
    left, top = left + (112 - 91) // 2, top + (112 - 111) // 2
    np.testing.assert_array_equal(pixels[top : top + 55, left : left + 45], first)


# Saliency


def test_of_each_pixel_the_channel_that_matters_most_is_shown():
    gradient = np.array([[[0.1, -3.0, 2.0], [0.0, 0.5, -0.2]]])
    np.testing.assert_array_equal(saliency.strongest(gradient), [[-3.0, 0.5]])


def test_a_mistake_is_shown_beside_its_map():
    predictions = predictions_of((4, 4, 1))
    insight = insight_of(predictions)
    figure = saliency.draw_saliency(insight, predictions)
    pixels = np.asarray(figure.images[0].get_array())
    zoom = saliency.SIDE // 9
    top, left = Gallery.TOP + Gallery.LINE, 135 - 9 * zoom // 2
    tile = pixels[top : top + 4 * zoom : zoom, left : left + 9 * zoom : zoom]
    worst = insight.worst[0]
    np.testing.assert_array_equal(tile[:, :4, 0], 255 - predictions.images[worst, :, :, 0])
    gradient = insight.gradients[0, :, :, 0]
    limit = float(np.percentile(np.abs(gradient), 99.5))
    np.testing.assert_array_equal(tile[:, 5:], tint(gradient, limit))
    true, said = predictions.labels[worst], predictions.predicted[worst]
    assert f"{true} → {said}\n" in texts(figure)
    assert f"#{worst}\n" in texts(figure)


# The map


def test_every_image_is_a_point_in_the_colour_of_its_class_and_mistakes_have_an_edge():
    predictions = predictions_of()
    its = insight_of(predictions).map
    [axes] = draw_map(its, predictions).axes
    lines = iter(axes.lines)
    for label in range(10):
        right, wrong = next(lines), next(lines)
        mine = predictions.labels == label
        for line, mask in ((right, predictions.correct), (wrong, ~predictions.correct)):
            np.testing.assert_array_equal(line.get_xydata(), its.points[mine & mask])
        assert right.get_color() == wrong.get_color()
        assert right.get_markeredgewidth() == 0 < wrong.get_markeredgewidth()
    assert len({line.get_color() for line in axes.lines}) == 10
    assert axes.get_aspect() == 1


def test_a_map_of_some_images_shows_the_classes_of_these():
    predictions = predictions_of()
    some = np.arange(3, 120, 4)
    its = replace(insight_of(predictions).map, examples=some, points=values(30, 2))
    figure = draw_map(its, predictions)
    drawn = sum(len(line.get_xydata()) for line in figure.axes[0].lines)
    assert drawn == 30
    assert "Map of 30 images" in texts(figure)
    for label in range(10):
        both = figure.axes[0].lines[2 * label : 2 * label + 2]
        found = np.concatenate([line.get_xydata() for line in both]).tolist()
        expected = its.points[predictions.labels[some] == label].tolist()
        assert sorted(found) == sorted(expected)


def test_the_axes_of_a_map_say_the_share_of_the_variance():
    predictions = predictions_of()
    [axes] = draw_map(insight_of(predictions).map, predictions).axes
    assert axes.get_xlabel() == "first component: 50.0 % of the variance"
    assert axes.get_ylabel() == "second component: 25.0 % of the variance"
