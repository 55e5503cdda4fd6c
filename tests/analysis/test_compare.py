"""Comparisons of finished runs, without training any."""

import json
from pathlib import Path

import pytest

from mnist_jax import compare
from mnist_jax.config import parse
from mnist_jax.data import Spec
from mnist_jax.errors import UserError

SPECS = {
    "mnist": Spec((28, 28, 1), tuple("0123456789")),
    "kmnist": Spec((8, 8, 3), tuple("ab")),
}


TEXT = '{"epoch": 1, "step": 10, "val_loss": "low"}\n'


def run_of(folder: Path, **fields) -> Path:
    """The files of a finished run that a comparison reads."""
    folder.mkdir()
    values = json.dumps(parse(fields).to_dict())
    (folder / "config.json").write_text(values)
    row = {"epoch": 1, "step": 10, "val_accuracy": 0.9, "val_loss": 0.1}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    result = {"parameters": 10, "epochs": 1, "train_seconds": 1.0}
    result |= {"test_accuracy": 0.9, "test_loss": 0.1}
    result |= {"device": "cpu", "versions": {}, "commit": None, "config": json.loads(values)}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_runs_whose_metrics_would_share_a_column_are_refused(tmp_path: Path):
    folders = [run_of(tmp_path / name, metrics=[f"{name}:score"]) for name in "ab"]
    with pytest.raises(UserError, match=r"both 'a:score' and 'b:score'"):
        compare.compare_runs(folders, tmp_path / "both")
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize(
    "content",
    [None, "", '{"epoch": 1, "val_', "[]\n", '[]\n{"epoch": 1}\n', '{"epoch": 2}\n', TEXT],
)
def test_rows_that_are_damaged_or_missing_are_one_message(tmp_path: Path, content):
    folders = [run_of(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    path = folders[1] / "metrics.jsonl"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=rf"^{path} cannot be read: "):
        compare.compare_runs(folders, tmp_path / "both")
    assert not (tmp_path / "both").exists()


def result_of(name: str, data: str = "mnist", **model) -> dict:
    config = parse({"model": {"name": "mlp", "hidden": [4]} | model, "data": {"name": data}})
    return {"architecture": name, "config": config.to_dict()}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The image shape of each network that is drawn."""
    found = []

    def draw(model, folder):
        found.append(model.image_shape)
        return [folder / "network.png"]

    monkeypatch.setattr(compare.data, "spec", SPECS.__getitem__)
    monkeypatch.setattr(compare, "draw_network", draw)
    return found


def test_a_network_for_other_data_has_a_drawing_of_its_own(tmp_path: Path, drawn):
    results = [result_of("a"), result_of("b"), result_of("c", data="kmnist")]
    assert list(compare._drawings(results, tmp_path)) == ["a", "c"]
    assert drawn == [(28, 28, 1), (8, 8, 3)]


def test_a_network_that_cannot_be_built_or_drawn_costs_its_drawing_alone(
    tmp_path: Path, drawn, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    gone = result_of("gone")
    gone["config"]["model"]["name"] = "no_such_module:Net"
    assert list(compare._drawings([gone, result_of("a")], tmp_path)) == ["a"]
    assert "warning: the network gone cannot be drawn: " in capsys.readouterr().err

    def fail(model, folder):
        raise RuntimeError("no ink")

    monkeypatch.setattr(compare, "draw_network", fail)
    assert compare._drawings([result_of("a")], tmp_path) == {}
    told = "warning: the network a cannot be drawn: RuntimeError: no ink\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    "damage",
    [
        {"parameters": "many"},
        {"epochs": 1.5},
        {"epochs": 10**9},
        {"train_seconds": None},
        {"test_loss": [1.0]},
        {"test_loss": float("nan")},
    ],
    ids=str,
)
def test_figures_that_are_none_are_one_message(tmp_path: Path, damage):
    folder = run_of(tmp_path / "a")
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(UserError, match=rf"^{folder}/(result|metrics).json.* cannot be read: "):
        compare.compare_runs([folder], tmp_path / "both")
