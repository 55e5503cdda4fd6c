import base64
import os
import re
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mnist_jax.analysis import canvas
from mnist_jax.analysis.sweep.report import write_comparison
from mnist_jax.analysis.sweep.section import Section
from mnist_jax.errors import UserError
from tests.analysis.members import ENTROPY, TOP_2, member

VOID = {"meta", "img", "link", "br"}
LOST = "diverged in epoch 2"
FACTS = {"device": "cpu", "versions": {"jax": "0.12.0"}, "commit": "0123abc", "whole sweep": 130.0}


def write(workdir: Path, members: list[dict], **changes: Any) -> str:
    arguments: dict[str, Any] = {"title": "sweep", "facts": FACTS, "drawings": {}}
    write_comparison(workdir, members, **{**arguments, **changes})
    return (workdir / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ")


def depths() -> list[dict]:
    return [
        member(
            f"{depth} layers, {epochs} epochs",
            seed,
            0.9 + 0.01 * depth + 0.001 * seed * depth,
            val=0.9 + 0.01 * depth + 0.001 * epochs,
            hidden=(128,) * depth,
            epochs=epochs,
            parameters=1000 * (depth + 1),
        )
        for depth, epochs, seed in product(range(3), (1, 4), range(2))
    ]


class Outline(HTMLParser):
    """Checks that tags nest; collects headings, cells and every tag with its attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.tags, self.headings, self.cells = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag

    def handle_data(self, data: str):
        if self.open and self.open[-1] in ("h1", "h2", "summary"):
            self.headings.append(data)
        if self.open and self.open[-1] == "td":
            self.cells[-1] += data


def test_every_file_is_written(tmp_path: Path):
    write(tmp_path / "runs" / "new", depths())
    files = {path.name for path in (tmp_path / "runs" / "new").iterdir()}
    assert files == {"sweep.csv", "summary.csv", "plots", "report.html"}


def test_the_page_stands_alone_with_every_picture_inside(tmp_path: Path):
    page = write(tmp_path, depths())
    tags = Outline(page).tags
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    images = [attrs for tag, attrs in tags if tag == "img"]
    found = {base64.b64decode(image["src"].split(",")[1]) for image in images}
    assert found == {path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert all(len(image["alt"]) > 20 for image in images)
    assert not re.search(r"https?://|url\(|@import", page)


def test_sections_come_in_reading_order(tmp_path: Path):
    assert Outline(write(tmp_path, depths())).headings == [
        "sweep",
        "Ranking",
        "Accuracy by epoch",
        "Loss by epoch",
        "Size",
        "Two fields at once",
        "Summary",
        "Every training",
        "Configuration",
    ]


def test_the_figures_are_on_the_page(tmp_path: Path):
    page = write(tmp_path, depths())
    headline = [">12<", "all finished", ">6<", "2 seeds each", "2 min 10 s", "92.10 ± 0.14"]
    headline += ["2 layers, 4 epochs, the best by validation accuracy (92.40 ± 0.00)"]
    origin = ["cpu", "jax 0.12.0", "0123abc"]
    assert [figure for figure in headline + origin if figure not in page] == []


def test_one_seed_gets_no_spread(tmp_path: Path):
    page = write(tmp_path, [one for one in depths() if one["seed"] == 0])
    assert "one seed each" in page
    assert "±" not in re.sub(r"base64,[^\"]*", "", page)


def test_sections_of_an_analysis_come_first(tmp_path: Path):
    rows = [("0 layers", 90.14), ("1 <b>layer</b>", 91.14)]
    with canvas.styled():
        figure = canvas.headed(9, 4, "Depth", "by hand")

    def analyse(networks):
        assert list(networks["model.hidden"][-2:]) == [(128, 128), (128, 128)]
        means = networks.groupby("num_epochs")["test_accuracy"].mean()
        return [
            Section("Widths", [f"{len(means)} budgets", "<script>"], ("depth", "accuracy"), rows),
            Section("Depth & epochs", figure=figure, alt="Accuracy by depth"),
        ]

    page = write(tmp_path, depths(), analysis=analyse)
    outline = Outline(page)
    assert outline.headings[:4] == ["sweep", "Widths", "Depth & epochs", "Ranking"]
    assert outline.cells[outline.cells.index("0 layers") :][:4] == [
        *("0 layers", "90.14", "1 <b>layer</b>", "91.14")
    ]
    assert "<p>2 budgets</p>" in page
    assert "script" not in {tag for tag, _ in outline.tags}
    image = (tmp_path / "plots" / "depth_epochs.png").read_bytes()
    assert base64.b64encode(image).decode() in page
    assert 'alt="Accuracy by depth"' in page


def test_figures_of_an_analysis_replace_no_plot(tmp_path: Path):
    def analyse(networks):
        return [
            Section(name, figure=canvas.headed(9, 4, name, "")) for name in ("Ranking", "?", "?")
        ]

    write(tmp_path / "with", depths(), analysis=analyse)
    write(tmp_path / "without", depths())
    files = {path.name for path in (tmp_path / "without" / "plots").iterdir()}
    found = {path.name for path in (tmp_path / "with" / "plots").iterdir()}
    assert found - files == {"ranking_2.png", "figure.png", "figure_2.png"}
    for name in files:
        plots = [(tmp_path / place / "plots" / name).read_bytes() for place in ("with", "without")]
        assert plots[0] == plots[1]


def fail(networks):
    return networks["no such column"]


@pytest.mark.parametrize(
    ("analysis", "warning"),
    [
        (fail, "KeyError: 'no such column'"),
        (lambda networks: ["text"], "must return a list of sections"),
        (lambda networks: [Section("a", "text")], "must return a list of sections"),
        (lambda networks: None, "TypeError"),
        (lambda networks: [Section("a", rows=[1])], "TypeError"),
        (lambda networks: [Section("a", figure="figure")], "AttributeError"),
    ],
    ids=["raises", "text", "paragraphs", "nothing", "rows", "figure"],
)
def test_an_analysis_that_fails_costs_a_warning_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture, analysis: Any, warning: str
):
    members = depths()
    page = write(tmp_path / "with", members, analysis=analysis)
    said = capsys.readouterr().err
    assert said.startswith("warning: the analysis of the sweep failed: ")
    assert warning in said
    assert said.count("\n") == 1
    assert page == write(tmp_path / "without", members)


def test_the_warning_names_the_line_of_the_analysis(tmp_path: Path, capsys: pytest.CaptureFixture):
    write(tmp_path, depths(), analysis=fail)
    line = fail.__code__.co_firstlineno + 1
    assert f"({__file__}, line {line})" in capsys.readouterr().err


def test_an_analysis_cannot_change_the_tables(tmp_path: Path):
    def analyse(networks):
        networks["test_accuracy"] = 1.0
        networks["architecture"] = "mine"
        return []

    assert write(tmp_path / "a", depths(), analysis=analyse) == write(tmp_path / "b", depths())


def test_a_plot_that_cannot_be_drawn_costs_that_plot_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_ink(comparison):
        raise RuntimeError("no ink")

    monkeypatch.setattr("mnist_jax.analysis.sweep.plots.draw_ranking", no_ink)
    headings = Outline(write(tmp_path, depths())).headings
    assert "Ranking" not in headings
    assert {"Accuracy by epoch", "Size", "Summary", "Every training"} <= set(headings)


def test_a_figure_of_an_analysis_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    replace = os.replace

    def fail(source: Path, target: Path):
        if target.name == "mine.png":
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr("mnist_jax.files.os.replace", fail)
    with pytest.raises(UserError, match=r"cannot write .*mine\.png: disk full"):
        write(
            tmp_path,
            depths(),
            analysis=lambda networks: [Section("Mine", figure=canvas.headed(9, 4, "Mine", ""))],
        )


def test_an_error_of_the_analysis_itself_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    def analyse(networks):
        raise UserError("not these networks")

    write(tmp_path, depths(), analysis=analyse)
    assert "analysis of the sweep failed: UserError: not these" in capsys.readouterr().err


def test_a_sweep_without_an_analysis_makes_no_claims(tmp_path: Path):
    assert "Claims" not in Outline(write(tmp_path, depths())).headings


def test_a_further_metric_has_curves_and_columns(tmp_path: Path):
    metrics = {TOP_2: 0.5, ENTROPY: 0.25}
    page = write(tmp_path, [member("a", metrics=metrics), member("b", metrics=metrics)])
    outline = Outline(page)
    curves = ["Accuracy by epoch", "Loss by epoch", "Top 2 by epoch", "Entropy by epoch"]
    assert [heading for heading in outline.headings if heading.endswith("by epoch")] == curves
    assert (tmp_path / "plots" / "top_2_curves.png").exists()
    names = ["validation top 2, %", "test top 2, %", "validation entropy", "test entropy"]
    summary = "".join(f'<th scope="col">{name}</th>' for name in names)
    assert summary in page
    assert summary.replace(", %", "") in page
    at = outline.cells.index("50.00")
    assert outline.cells[at - 5 : at + 4] == [
        *("a", "91.00", "0.0900", "90.00", "0.1000", "50.00", "50.00", "0.2500", "0.2500"),
    ]
    assert outline.cells.count("50.00 %") == 4


def test_an_architecture_that_lost_a_seed_is_not_called_the_best(tmp_path: Path):
    members = [member("lucky", 0, val=0.99), member("lucky", 1, status=LOST)]
    page = write(tmp_path, [*members, member("sound", 0, val=0.9), member("sound", 1, val=0.9)])
    assert "sound, the best by validation accuracy (90.00 ± 0.00)" in page
    assert page.count("with a diverged training come after all others") == 1
    cells = Outline(page).cells
    assert cells.index("sound") < cells.index("lucky")


def test_the_page_says_which_column_decides(tmp_path: Path):
    page = write(tmp_path, [member("a", best="val_loss"), member("b", val=0.95, best="val_loss")])
    assert "Ordered by validation loss" in page
    assert "b, the best by validation loss (0.0500)" in page
    assert "<dt>test loss</dt>" in page
    assert "best validation loss 0.0500 (b)" in page


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([member("a", val=None), member("b", val=None)], "there is no validation accuracy"),
        ([member("a", status=LOST), member("b", status=LOST)], "no training finished"),
    ],
    ids=["no validation", "all diverged"],
)
def test_what_is_not_ranked_is_not_said_to_be(tmp_path: Path, members: list[dict], reason: str):
    page = write(tmp_path, members)
    assert f"In the order given, because {reason}; test results" in page
    assert f"2 architectures; not ranked, because {reason}." in page
    assert f"Architectures are in the order given, because {reason}." in page
    assert "best validation" not in page
    assert "order is by" not in page
    assert "— %" not in page


def test_trainings_under_way_are_not_called_diverged(tmp_path: Path):
    page = write(tmp_path, [member("a"), member("b", status="training", rows=1)])
    assert "1 training<" in page
    assert "Diverged" not in Outline(page).headings


def test_the_summary_is_sorted_by_validation(tmp_path: Path):
    members = [member("low", val=0.5, test=0.99), member("high", val=0.95, test=0.6)]
    cells = Outline(write(tmp_path, members)).cells
    assert cells.index("high") < cells.index("low")
    assert cells.count("60.00") == 1


def test_what_diverged_is_listed_plainly(tmp_path: Path):
    members = [member("a", seed) for seed in range(2)] + [member("b", 7, status=LOST)]
    outline = Outline(write(tmp_path, members))
    assert "Diverged" in outline.headings
    at = outline.cells.index(LOST)
    assert outline.cells[at - 2 : at] == ["b", "7"]
    assert "0 (1 diverged)" in outline.cells


@pytest.mark.parametrize(
    "members",
    [
        [member()],
        [member(status="diverged in epoch 1")],
        [member(seed=seed, val=None) for seed in range(3)],
        [member("a", 0), member("a", 1), member("b", 5)],
        [member("a", hidden=None)],
        [
            member(f"{d}", 0, hidden=(8,) * d, epochs=e, status=LOST)
            for d, e in product(range(3), (1, 2))
        ],
    ],
    ids=["one", "diverged", "no validation", "unequal seeds", "no mlp", "all depths diverged"],
)
def test_small_and_unlucky_sweeps_have_a_page(tmp_path: Path, members: list[dict]):
    page = write(tmp_path, members, facts={})
    assert {"Ranking", "Summary", "Configuration"} <= set(Outline(page).headings)
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page)


def test_what_varies_and_what_does_not(tmp_path: Path):
    members = [member("a", hidden=(128, 32), learning_rate=0.1), member("b", hidden=())]
    page = write(tmp_path, members)
    assert page.index("Varies") < page.index("Common to all")
    cells = Outline(page).cells
    at = cells.index("128-32")
    assert cells[at - 1 : at + 5] == ["a", "128-32", "0.1", "b", "none", "not set"]


def test_the_drawings_of_networks_are_folded_away(tmp_path: Path):
    Image.new("L", (8, 8)).save(tmp_path / "drawing.png")
    page = write(tmp_path, [member("net")], drawings={"net": tmp_path / "drawing.png"})
    assert base64.b64encode((tmp_path / "drawing.png").read_bytes()).decode() in page
    assert page.index("<summary>Networks") < page.index("Layers of the network net")


def test_everything_from_outside_is_escaped(tmp_path: Path):
    evil = "<script>alert('&\"')</script>"
    Image.new("L", (8, 8)).save(tmp_path / "drawing.png")
    members = [
        member(evil, activation=evil),
        member(f"{evil}2", status=evil, activation="relu"),
    ]
    page = write(
        tmp_path,
        members,
        title=evil,
        facts={evil: evil},
        drawings={evil: tmp_path / "drawing.png"},
    )
    assert "script" not in {tag for tag, _ in Outline(page).tags}
    assert page.count("&lt;script&gt;") >= 10


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = write(tmp_path, [member()])
    replace = os.replace

    def fail(source: Path, target: Path):
        if target.suffix == ".html":
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr("mnist_jax.files.os.replace", fail)
    with pytest.raises(UserError, match="disk full"):
        write(tmp_path, [member()], title="another")
    after = (tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ")
    assert after == before
