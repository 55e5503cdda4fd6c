import io
import sys

import pytest

from mnist_jax.training.progress import Progress

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


def shown(monkeypatch, stream, row=ROW, epochs: int = 1) -> str:
    """What is written for epochs of ten steps."""
    monkeypatch.setattr(sys, "stdout", stream)
    progress = Progress(num_epochs=12, steps_per_epoch=10)
    for _ in range(epochs):
        progress.start_epoch(1, done=4)
        progress.update(3)
        progress.update(3)
        progress.clear()
        progress.end_epoch(row)
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


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_a_line_is_never_wider_than_the_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(monkeypatch, Terminal())
    lines = [line.split("\r")[-1] for line in text.rstrip("\n").split("\n")]
    assert all(len(line) <= width for line in lines)
    assert "2/12" in lines[-1]
    assert ("36,608" in lines[-1]) == (width >= 80)
