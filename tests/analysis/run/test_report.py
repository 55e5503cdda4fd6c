import base64
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from mnist_jax import models
from mnist_jax.analysis.run import report
from mnist_jax.analysis.run.evaluation import Predictions, evaluate
from mnist_jax.analysis.run.insight import Insight
from mnist_jax.analysis.run.plots import PLOTS, View
from mnist_jax.config import Choice
from mnist_jax.data import Spec
from mnist_jax.errors import UserError
from mnist_jax.metrics import Metric, find
from tests.analysis.members import ENTROPY, TOP_2

CATS_AND_DOGS = Spec((28, 28, 1), ("cat", "dog"))
STEMS = ["loss", "accuracy", "mistakes", "confusion", "calibration", "examples"]
VOID = {"meta", "img", "link", "br"}
RESULT = {
    "config": {},
    "parameters": 50890,
    "epochs": 2,
    "test_loss": 0.5,
    "test_accuracy": 0.75,
    "test_count": 4,
    "val_accuracy": None,
    "train_seconds": 12.34,
    "compile_seconds": 1.5,
    "total_seconds": 130.0,
    "images_per_second": 91234.5,
    "device": "cpu",
    "versions": {"jax": "0.12.0"},
    "commit": "0123abc",
}


def predictions_of(names: tuple[str, ...] = ("cat", "dog")) -> Predictions:
    return Predictions(
        split="test",
        images=np.zeros((4, 28, 28, 1), np.uint8),
        labels=np.array([0, 0, 1, 1], np.int32),
        probabilities=np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]], np.float32),
        values={
            "loss": np.full(4, 0.5, np.float32),
            "top_2": np.array([1, 1, 1, 0]),
            "entropy": np.full(4, 0.125),
        },
        class_names=names,
    )


def evaluation_of(predictions: Predictions) -> dict:
    return {**evaluate(predictions), "checkpoint": 858}


def history_of() -> list[dict]:
    row = {"step": 429, "train_loss": 0.3777, "train_accuracy": 0.8883, "val_loss": None}
    row |= {"train_top_2": 0.9321, "val_top_2": 0.9432, "train_entropy": 0.7777}
    row |= {"val_accuracy": None, "learning_rate": 1e-3, "seconds": 0.12, "images_per_second": 4e5}
    return [{"epoch": 1, **row}, {"epoch": 2, **row, "step": 858}]


def write(tmp_path: Path, stems: list[str] = STEMS, view: dict | None = None, **changes) -> str:
    plots = [tmp_path / f"{stem}.png" for stem in stems]
    for shade, plot in enumerate(plots):
        Image.new("L", (8, 8), shade).save(plot)
    predictions = predictions_of()
    shown = {
        "history": history_of(),
        "predictions": predictions,
        "evaluation": evaluation_of(predictions),
        "metrics": find(()),
    }
    arguments = {
        "title": "cnn",
        "config": {"seed": 0, "optimizer": {"name": "adam", "options": {}}},
        "summary": "layer  parameters",
        "result": RESULT,
        "plots": plots,
    }
    path = tmp_path / "report.html"
    report.write_report(path, View(**{**shown, **(view or {})}), **{**arguments, **changes})
    return path.read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Checks that tags nest; collects headings, pictures and every tag with its attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.tags, self.headings = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag

    def handle_data(self, data: str):
        if self.open and self.open[-1] in ("h1", "h2", "summary"):
            self.headings.append(data)


def test_the_page_stands_alone(tmp_path: Path):
    page = write(tmp_path)
    tags = Outline(page).tags
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    sources = [v for _, attrs in tags for k, v in attrs.items() if k in ("src", "href", "srcset")]
    assert len(sources) == len(STEMS)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|url\(|@import", page)


def test_every_picture_is_inside_with_its_bytes_and_a_text(tmp_path: Path):
    tags = Outline(write(tmp_path)).tags
    images = [attrs for tag, attrs in tags if tag == "img"]
    found = {base64.b64decode(image["src"].split(",")[1]) for image in images}
    assert found == {(tmp_path / f"{stem}.png").read_bytes() for stem in STEMS}
    assert all(len(image["alt"]) > 20 for image in images)


def test_sections_come_in_reading_order(tmp_path: Path):
    headings = Outline(write(tmp_path)).headings
    assert headings == [
        "cnn",
        "Loss",
        "Accuracy",
        "Worst mistakes",
        "Confusion matrix",
        "Calibration",
        "Per class",
        "Examples",
        "Model",
        "Every epoch",
        "Configuration",
    ]


def test_the_figures_are_on_the_page(tmp_path: Path):
    page = write(tmp_path).replace("\u00a0", " ")
    headline = ["75.00 %", "0.5000", "50,890", "12.3 s", "2 min 10 s", "91,234", "checkpoint 858"]
    origin = ["cpu", "jax 0.12.0", "0123abc", "optimizer.name", "adam"]
    tables = ["dog (1)", "88.83 %", "0.3777", "429", "0.001"]
    assert [figure for figure in headline + origin + tables if figure not in page] == []


def test_further_metrics_have_a_section_a_figure_and_columns(tmp_path: Path):
    stems = ["loss", "accuracy", "top_2", "entropy", "mistakes"]
    page = write(tmp_path, stems, {"metrics": find((TOP_2, ENTROPY))}).replace("\u00a0", " ")
    headings = Outline(page).headings
    assert headings[:6] == ["cnn", "Loss", "Accuracy", "Top 2", "Entropy", "Worst mistakes"]
    assert "<dt>top 2, test</dt><dd>75.00 %<" in page
    assert "<dt>entropy, test</dt><dd>0.1250<" in page
    assert '<th scope="col">train top 2</th><th scope="col">val top 2</th>' in page
    assert "<td>93.21 %</td><td>94.32 %</td><td>0.7777</td><td>—</td>" in page
    assert "Line plot of top 2 by epoch; at the end: training 93.21 %, validation 94.32 %" in page
    assert page.index("Higher is better.</p>") > page.index("<h2>Top 2</h2>")


def test_the_headline_has_the_validation_figure_that_decides(tmp_path: Path):
    assert "<dt>accuracy, validation</dt><dd>—<" in write(tmp_path)
    page = write(tmp_path, config={"best": "val_loss"}, result={**RESULT, "val_loss": 0.25})
    assert "<dt>loss, validation</dt><dd>0.2500<" in page
    assert "accuracy, validation" not in page


def test_a_wide_confusion_matrix_has_the_width_of_the_page(tmp_path: Path):
    assert '<div class="pair"><section><h2>Confusion' in write(tmp_path)
    Image.new("L", (report.HALF + 1, 8)).save(tmp_path / "confusion.png")
    plots = [tmp_path / f"{stem}.png" for stem in STEMS]
    page = write(tmp_path, stems=[], plots=plots)
    assert '<div class="pair"><section><h2>Confusion' not in page
    assert "<section><h2>Confusion" in page


def test_a_picture_may_be_larger_than_pillow_allows(tmp_path: Path):
    Image.new("1", (20_000, 10_000)).save(tmp_path / "confusion.png")
    page = write(tmp_path, stems=[], plots=[tmp_path / "confusion.png"])
    assert "<section><h2>Confusion" in page


def published(folder: Path) -> dict:
    model = models.build(Choice("mlp", {"hidden": (4,), "num_classes": 2}), CATS_AND_DOGS)
    params, variables = model.init(jax.random.key(0))
    return report.publish(
        folder,
        predictions_of(),
        config={},
        model=model,
        weights={"params": params, "variables": variables},
        history=history_of(),
        result=None,
        checkpoint=858,
        title="mlp",
    )


@pytest.mark.parametrize(
    ("what", "file", "left"),
    [
        ("run.plots.draw_examples", "examples", "<h2>Worst mistakes"),
        ("network.drawing.draw_network", "network", "<h2>Model"),
    ],
)
def test_what_cannot_be_drawn_costs_a_run_its_picture_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, what, file, left
):
    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr(f"mnist_jax.analysis.{what}", fail)
    assert published(tmp_path)["accuracy"] == 0.75
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert f"{file} cannot be drawn: RuntimeError: no ink" in warning
    assert not (tmp_path / "plots" / f"{file}.png").exists()
    assert (tmp_path / "evaluation.json").exists()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert left in page
    assert len(list((tmp_path / "plots").glob("*.png"))) == page.count("<img") == 10


def test_what_a_network_looks_at_is_in_its_report(tmp_path: Path):
    published(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    headings = Outline(page).headings
    looks = ["What it looks at in its worst mistakes", "First layer", "From layer to layer"]
    looks += ["Map of the images"]
    start = headings.index(looks[0])
    assert headings[start - 1 : start + 5] == ["Examples", *looks, "Model"]
    for plot in PLOTS[-4:]:
        assert (tmp_path / "plots" / f"{plot.name}.png").exists()
        assert plot.help in unescape(page)


def test_a_network_that_cannot_be_looked_into_costs_these_plots_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def fail(*_):
        raise RuntimeError("too dark")

    monkeypatch.setattr("mnist_jax.analysis.run.probe.probe", fail)
    assert published(tmp_path)["accuracy"] == 0.75
    warning = capsys.readouterr().err
    assert warning == (
        "warning: what the network looks at cannot be drawn: RuntimeError: too dark\n"
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 7
    assert "First layer" not in page


def test_a_plot_with_nothing_to_show_leaves_its_reason(tmp_path: Path):
    predictions = predictions_of()
    nothing = Insight(None, np.arange(2), (), np.zeros(0, int), np.zeros((0, 28, 28, 1)), None)
    page = write(tmp_path, STEMS, {"predictions": predictions, "insight": nothing})
    assert page.count("<img") == len(STEMS)
    assert Outline(page).headings.count("First layer") == 1
    for reason in ("There are no mistakes to explain.", "No layer with weights can be seen"):
        assert reason in page


def test_everything_from_outside_is_escaped(tmp_path: Path):
    evil = "<script>alert('&\"')</script>"
    predictions = predictions_of((evil, "dog"))
    evaluation = {**evaluation_of(predictions), "split": evil, "checkpoint": evil}
    metrics = (*find(()), Metric("top_2", 'a <b>metric & "more'))
    page = write(
        tmp_path,
        ["loss", "top_2"],
        {"predictions": predictions, "evaluation": evaluation, "metrics": metrics},
        title=evil,
        config={evil: evil},
        summary=evil,
        result={**RESULT, "device": evil, "versions": {evil: evil}, "commit": evil},
    )
    outline = Outline(page)
    assert not {"script", "b"} & {tag for tag, _ in outline.tags}
    assert page.count("&lt;script&gt;") >= 10
    assert 'A <b>metric & "more' in outline.headings
    assert any('of a <b>metric & "more by' in attrs.get("alt", "") for _, attrs in outline.tags)


def test_a_run_without_result_history_and_pictures(tmp_path: Path):
    page = write(tmp_path, [], {"history": []}, result=None)
    assert Outline(page).headings == ["cnn", "Per class", "Model", "Configuration"]
    assert "75.00\u00a0%" in page


def test_the_drawing_of_the_network_goes_with_the_model(tmp_path: Path):
    page = write(tmp_path, stems=["network"])
    assert page.index("<h2>Model</h2>") < page.index("<img") < page.index("Every epoch")


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = write(tmp_path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("mnist_jax.files.os.replace", fail)
    with pytest.raises(UserError, match="disk full"):
        write(tmp_path, title="another")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".html"] + [".png"] * len(STEMS)
