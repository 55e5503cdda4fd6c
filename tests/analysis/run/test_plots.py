import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from mnist_jax.analysis import canvas
from mnist_jax.analysis.gallery import Gallery
from mnist_jax.analysis.run import plots
from mnist_jax.analysis.run.evaluation import Predictions, evaluate
from mnist_jax.analysis.run.plots import PLOTS, View
from mnist_jax.errors import UserError
from mnist_jax.metrics import LOSS, TAKEN, Metric, find
from tests.analysis.members import ENTROPY, TOP_2

METRICS = find(())
ACCURACY = METRICS[1]
NAMES = ["loss", "accuracy", "mistakes", "confusion", "calibration", "examples"]
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
FASHION += ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
WIDE = tuple(f"WWWWWWWWW_{n}" for n in range(10))


def predictions_of(
    count: int = 200,
    names: tuple[str, ...] = tuple("0123456789"),
    shape: tuple[int, ...] = (28, 28, 1),
) -> Predictions:
    random = np.random.default_rng(3)
    labels = random.permutation(np.arange(count) % len(names)).astype(np.int32)
    scores = random.random((count, len(names)))
    scores[np.arange(count), labels] += 0.8
    probabilities = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    return Predictions(
        split="test",
        images=random.integers(0, 256, (count, *shape), np.uint8),
        labels=labels,
        probabilities=probabilities,
        values={"loss": -np.log(probabilities[np.arange(count), labels])},
        class_names=names,
    )


def view_of(history: list[dict], predictions: Predictions, metrics=METRICS) -> View:
    return View(history, predictions, evaluate(predictions), metrics)


def all_right() -> Predictions:
    predictions = predictions_of(40)
    certain = np.eye(10, dtype=np.float32)[predictions.labels]
    return replace(predictions, probabilities=certain, values={"loss": np.zeros(40)})


def history_of(epochs: int, validation: bool = True) -> list[dict]:
    return [
        {
            "epoch": epoch,
            "train_loss": 0.5 / epoch,
            "train_accuracy": 1 - 0.1 / epoch,
            "val_loss": 0.4 / epoch**0.5 if validation else None,
            "val_accuracy": 1 - 0.09 / epoch if validation else None,
            "train_top_2": 1 - 0.05 / epoch,
            "val_top_2": 1 - 0.04 / epoch if validation else None,
            "train_entropy": -1.5 / epoch,
            "val_entropy": 0.5 - 1.0 / epoch if validation else None,
        }
        for epoch in range(1, epochs + 1)
    ]


def texts(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def assert_a_picture(path: Path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width >= 700
        pixels = np.asarray(image.convert("L"))
    assert pixels.std() > 2
    assert (pixels[:, [0, -1]] > 250).mean() > 0.95  # nothing runs out at the sides


@pytest.mark.parametrize(
    ("history", "predictions"),
    [
        (history_of(3), predictions_of()),
        (history_of(1, validation=False), predictions_of(names=FASHION)),
        (history_of(60), all_right()),
        (history_of(1), predictions_of(shape=(5, 6, 2))),
        (history_of(1), predictions_of(shape=(5, 6, 3))),
        (history_of(1), predictions_of(shape=(5, 6, 4))),
    ],
    ids=[
        *("mnist", "long names and no validation", "no mistakes"),
        *("grey and alpha", "colour", "colour and alpha"),
    ],
)
def test_every_picture_is_written(tmp_path: Path, history: list[dict], predictions: Predictions):
    paths = plots.write_plots(tmp_path / "plots", view_of(history, predictions))
    assert [path.stem for path in paths] == NAMES
    for path in paths:
        assert_a_picture(path)


def test_without_a_history_there_are_no_curves(tmp_path: Path):
    paths = plots.write_plots(tmp_path, view_of([], predictions_of()))
    assert [path.stem for path in paths] == NAMES[2:]


def test_a_plot_that_cannot_be_drawn_costs_that_plot_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def fail(_):
        raise RuntimeError("no ink")

    monkeypatch.setattr(plots, "draw_calibration", fail)
    paths = plots.write_plots(tmp_path, view_of(history_of(2), predictions_of()))
    assert [path.stem for path in paths] == [name for name in NAMES if name != "calibration"]
    warning = capsys.readouterr().err
    assert warning == "warning: the plot calibration cannot be drawn: RuntimeError: no ink\n"


def test_a_plot_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("mnist_jax.files.os.replace", fail)
    with pytest.raises(UserError, match="disk full"):
        plots.write_plots(tmp_path, view_of(history_of(2), predictions_of()))


def test_no_metric_may_take_the_name_of_a_plot():
    assert {plot.name for plot in PLOTS} <= set(TAKEN)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path):
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        plots.write_plots(folder, view_of(history_of(2), predictions_of()))
    for name in NAMES:
        first, second = ((folder / f"{name}.png").read_bytes() for folder in folders)
        assert first == second
        assert b"tEXt" not in first  # no version, no date


def test_curves_hold_the_history_and_state_the_final_values():
    history = history_of(4)
    [axes] = plots.draw_curve(history, ACCURACY).axes
    train, validation = axes.lines
    np.testing.assert_allclose(train.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(train.get_ydata(), [100 * row["train_accuracy"] for row in history])
    np.testing.assert_allclose(
        validation.get_ydata(), [100 * row["val_accuracy"] for row in history]
    )
    assert "97.50 %" in train.get_label()
    assert "97.75 %" in validation.get_label()


def test_a_missing_validation_split_leaves_one_curve():
    [axes] = plots.draw_curve(history_of(1, validation=False), LOSS).axes
    [train] = axes.lines
    assert "training" in train.get_label()
    assert train.get_marker() == "o"


def test_a_metric_that_is_never_finite_has_a_plot_that_says_so():
    history = [row | {"train_loss": None, "val_loss": None} for row in history_of(2)]
    [axes] = plots.draw_curve(history, LOSS).axes
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert said == ["training, mean over each epoch: no finite value"]


def test_a_further_metric_has_a_curve_in_the_file_of_its_name(tmp_path: Path):
    view = view_of(history_of(3), predictions_of(), find((TOP_2, ENTROPY)))
    paths = plots.write_plots(tmp_path, view)
    assert [path.stem for path in paths] == ["loss", "accuracy", "top_2", "entropy", *NAMES[2:]]
    for path in paths[:4]:
        assert_a_picture(path)


def test_a_curve_says_the_label_and_the_unit_of_its_metric():
    _, _, top_2, entropy = find((TOP_2, ENTROPY))
    [axes] = plots.draw_curve(history_of(4), top_2).axes
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [96, 98, 100 - 4 / 3, 99])
    assert axes.get_ylabel() == "top 2 (%)"
    assert "99.00 %" in axes.lines[1].get_label()
    assert axes.get_legend().get_title().get_text() == "Top 2 by epoch"
    [axes] = plots.draw_curve(history_of(4), entropy).axes
    assert axes.get_ylabel() == "mean entropy per image"
    assert axes.get_ylim()[0] < -1.5  # negative values are not cut off
    assert "0.2500" in axes.lines[1].get_label()


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [((0.2, 1.0), -1, 101), ((0.5, 2.5), 30, 270), ((-0.5, 0.5), -60, 60)],
    ids=["fractions", "above", "below"],
)
def test_a_percentage_is_limited_only_where_it_is_a_fraction(values, low: float, high: float):
    history = [
        {"epoch": epoch, "train_gain": value, "val_gain": value}
        for epoch, value in enumerate(values, start=1)
    ]
    [axes] = plots.draw_curve(history, Metric("gain", "gain", percent=True)).axes
    bottom, top = axes.get_ylim()
    assert low <= bottom < 100 * min(values) < 100 * max(values) <= top <= high


@pytest.mark.parametrize("classes", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_every_count_of_the_confusion_matrix_fits_its_cell(classes: int):
    names = tuple(f"{i}" for i in range(classes))
    with canvas.styled():
        figure = plots.draw_confusion(evaluate(predictions_of(400 * classes, names)))
    figure.canvas.draw()
    [axes] = figure.axes
    cell = axes.get_window_extent().width / classes
    texts = [text for text in axes.texts if text.get_text()]
    assert max(text.get_window_extent().width for text in texts) < cell
    assert min(text.get_size() for text in texts) > 6
    assert (figure.get_figwidth() > 6.5) == (classes > 10)


@pytest.mark.parametrize("names", [tuple(map(str, range(500))), ("x" * 400, "y" * 400)])
def test_a_confusion_matrix_has_a_limited_size(names: tuple[str, ...]):
    with canvas.styled():
        figure = plots.draw_confusion(evaluate(predictions_of(2 * len(names), names)))
    assert max(figure.get_size_inches()) <= plots.LARGEST
    [axes] = figure.axes
    many = len(names) > 2
    assert ("500 classes are too many to write names and counts" in texts(figure)) == many
    assert (not axes.texts) == many
    assert len(axes.get_xticklabels()) < 20


def test_only_mistakes_are_tinted_in_the_confusion_matrix():
    evaluation = evaluate(predictions_of())
    [axes] = plots.draw_confusion(evaluation).axes
    tinted = np.asarray(axes.images[0].get_array())
    expected = np.array(evaluation["confusion"])
    np.fill_diagonal(expected, 0)
    np.testing.assert_array_equal(tinted, expected)


def test_mistakes_are_the_wrong_ones_of_highest_loss(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plots, "MISTAKES", (1, 3))
    predictions = predictions_of()
    wrong = np.flatnonzero(~predictions.correct)
    worst = wrong[np.argsort(-predictions.losses[wrong])][:3]
    said = texts(plots.draw_mistakes(predictions))
    for example in worst:
        pair = f"{predictions.labels[example]} → {predictions.predicted[example]}"
        assert pair in said
        assert f"#{example}" in said
    assert said.count("#") == 3 + 1  # and once in the note that explains it


def test_no_mistakes_are_stated():
    assert "No mistakes among 40 images" in texts(plots.draw_mistakes(all_right()))


def test_examples_show_right_and_wrong_by_sign():
    predictions = predictions_of(50)
    said = texts(plots.draw_examples(predictions))
    right = int(predictions.correct.sum())
    assert f"{right} of 50 right" in said
    assert said.count("✓ ") == right + 1
    assert said.count("✗ ") == 50 - right + 1


@pytest.mark.parametrize("draw", [plots.draw_examples, plots.draw_mistakes])
@pytest.mark.parametrize(
    "names", [tuple("0123456789"), tuple(map(str, range(90, 100))), FASHION, WIDE]
)
def test_no_text_runs_into_its_neighbour(draw, names: tuple[str, ...]):
    predictions = predictions_of(names=names)
    sure = np.full(200, 1.0, np.float32)
    predictions.__dict__["confidence"] = sure  # the longest: 100.0 %
    with canvas.styled():
        figure = draw(predictions)
        figure.canvas.draw()
    below = [text.get_window_extent() for text in figure.texts[2:]]
    assert len(below) > 30
    for i, box in enumerate(below):
        assert box.count_overlaps(below[i + 1 :]) == 0
    shown = texts(figure)
    assert "100.0 %" in shown
    assert all(f"{name[:2]}" in shown for name in names)


@pytest.mark.parametrize("draw", [plots.draw_examples, plots.draw_mistakes])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_gallery_says_that_grey_is_shown_as_a_negative(draw, channels: int):
    said = texts(draw(predictions_of(shape=(5, 6, channels))))
    assert ("; 0 is white, 255 black" in said) == (channels == 1)


def test_the_images_are_shown_pixel_by_pixel():
    predictions = predictions_of(50)
    figure = plots.draw_examples(predictions)
    canvas = np.asarray(figure.images[0].get_array())
    first = np.flatnonzero(predictions.labels == 0)[0]
    tile = 255 - predictions.images[first, :, :, 0]
    left = 54 - 3 * 14
    top = Gallery.TOP
    np.testing.assert_array_equal(canvas[top : top + 84 : 3, left : left + 84 : 3, 0], tile)


def test_wilson_interval_of_a_known_case():
    low, high = plots.wilson(0.0, 10)
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(0.2775, abs=1e-4)  # 1.96**2 / (10 + 1.96**2)


def test_drawing_leaves_the_settings_of_matplotlib_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    with matplotlib.rc_context({"font.size": 7, "axes.grid": False}):
        plots.write_plots(tmp_path, view_of(history_of(1), predictions_of(20)))
        assert matplotlib.rcParams["font.size"] == 7
        assert not matplotlib.rcParams["axes.grid"]


def test_importing_the_modules_imports_nothing_that_only_writing_needs():
    code = (
        "import sys, mnist_jax.analysis.run.plots, mnist_jax.analysis.run.report;"
        "print({'matplotlib', 'jax', 'jinja2', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n"
