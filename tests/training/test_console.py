import io
import sys

import pytest

from mnist_jax import metrics
from mnist_jax.training.console import Console, cells

TWO = metrics.find()
ROW = {
    "epoch": 2,
    "step": 858,
    "train_loss": 0.51239,
    "train_accuracy": 0.8754,
    "val_loss": 0.25,
    "val_accuracy": 0.9375,
    "learning_rate": 1e-3,
    "seconds": 1.5,
    "images_per_second": 36608.0,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch, stream, row=ROW, epochs: int = 1, its=TWO) -> str:
    """What is written for epochs of ten steps."""
    monkeypatch.setattr(sys, "stdout", stream)
    console = Console(num_epochs=12, steps_per_epoch=10)
    for _ in range(epochs):
        console.start_epoch(1, done=4)
        console.update(3)
        console.update(3)
        console.clear()
        console.end_epoch(row, its)
    return stream.getvalue()


def test_elsewhere_than_on_a_terminal_an_epoch_is_a_line(monkeypatch):
    once, twice = (shown(monkeypatch, io.StringIO(), epochs=n) for n in (1, 2))
    assert "\r" not in once
    assert twice.count("\n") == once.count("\n") + 1
    line = once.splitlines()[-1]
    for figure in ("2/12", "87.54", "0.5124", "93.75", "0.2500", "1.50", "36,608"):
        assert figure in line


def test_on_a_terminal_there_is_a_bar_and_it_is_taken_away(monkeypatch):
    text = shown(monkeypatch, Terminal())
    bar, line = text.rsplit("\r", 1)
    assert "epoch 2/12" in bar
    assert "4/10" in bar
    assert "87.54" in line


def test_without_validation_its_figures_are_left_out(monkeypatch):
    text = shown(monkeypatch, io.StringIO(), ROW | {"val_loss": None, "val_accuracy": None})
    assert "93.75" not in text
    assert "36,608" in text


def test_a_further_metric_has_columns_of_its_own(monkeypatch):
    its = metrics.find(("top_3", "brier"))
    row = ROW | {"train_top_3": 0.96, "val_top_3": 0.97, "train_brier": 0.5, "val_brier": None}
    head, line = shown(monkeypatch, io.StringIO(), row, its=its).splitlines()
    assert head.count("top 3 accuracy %") == head.count("Brier score") == 2
    assert "96.00" in line
    assert "97.00" in line
    assert "0.5000" in line


def test_a_figure_stands_under_its_head():
    its = metrics.find(("brier",))
    table = cells(ROW | {"train_brier": 0.5, "val_brier": 0.25}, its, 12)
    found = dict(table)
    assert found["train loss"].strip() == "0.5124"
    assert found["val loss"].strip() == "0.2500"
    assert [text.strip() for head, text in table if head == "Brier score"] == ["0.5000", "0.2500"]
    assert all(len(head) == len(text) for head, text in table)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_a_line_is_never_wider_than_the_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(monkeypatch, Terminal())
    lines = [line.split("\r")[-1] for line in text.rstrip("\n").split("\n")]
    assert all(len(line) <= width for line in lines)
    assert "2/12" in lines[-1]
    assert ("36,608" in lines[-1]) == (width >= 80)


def test_a_line_is_said_where_none_came_for_a_while(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    console = Console(num_epochs=2, steps_per_epoch=10)
    console.say("too soon")
    now[0] = 11.0
    console.say("now")
    console.say("too soon again")
    assert capsys.readouterr().out == "now\n"
