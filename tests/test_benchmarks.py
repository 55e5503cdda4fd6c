"""The scripts that write the other parts of README."""

import json
from typing import Any

import pytest

from benchmarks import measured, population, readme, sweeps
from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.members import Planned
from mnist_jax.training import sweepdir
from tests.commands import ROOT


def planned(depth: int, epochs: int, seed: int) -> Planned:
    model = {"name": "mlp", "hidden": (8,) * depth}
    config = parse({"model": model, "num_epochs": epochs, "seed": seed})
    return Planned(f"{depth} hidden, {epochs} epochs", config)


def result(depth: int, epochs: int, seed: int) -> dict[str, Any]:
    """Each layer is worth a point less than the one before it, epochs half a point a layer."""
    member = planned(depth, epochs, seed)
    accuracy = 0.9 + 0.02 * (depth > 0) + 0.01 * (depth > 1) + 0.0005 * seed * depth
    accuracy -= 0.005 * depth * (epochs == 2)
    return {
        "architecture": member.architecture,
        "seed": seed,
        "config": member.config.to_dict(),
        "parameters": 100,
        "history": [{"epoch": epochs, "step": 10, "val_accuracy": accuracy, "val_loss": 0.1}],
        "seconds": 1.0,
        "test": {"loss": 0.1, "accuracy": accuracy},
        "status": "finished",
    }


@pytest.fixture
def finished(tmp_path, monkeypatch):
    members = [(d, e, s) for d in range(3) for e in (2, 4) for s in range(3)]
    for name in sweeps.NAMES:
        (tmp_path / name).mkdir()
        sweepdir.claim(tmp_path / name, [planned(*its) for its in members])
        for part in members[:9], members[9:]:
            folder = sweepdir.population_dir(tmp_path / name, [planned(*its) for its in part])
            folder.begin()
            folder.finish([result(*its) for its in part])
        said = {"device": "CPU", "versions": {"python": "3.13", "jax": "0.12"}, "commit": "abc"}
        (tmp_path / name / "result.json").write_text(json.dumps(said))
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text())
    monkeypatch.setattr(sweeps, "RUNS", tmp_path)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["sweeps"])
    return tmp_path / "README.md"


def test_each_sentence_has_its_number_and_standard_error(finished):
    sweeps.main()
    text = finished.read_text().split("<!-- sweeps: start -->")[1].split("<!-- sweeps: end -->")[0]
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    by_sentence = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert by_sentence["Hidden layers improve accuracy."][1:] == ["+2.050 ± 0.029", "holds"]
    assert by_sentence["Deeper networks need more epochs."][1:] == ["+0.500 ± 0.000", "holds"]
    assert by_sentence["Returns diminish."][1:] == ["+1.000 ± 0.000", "holds"]
    assert "the best on the validation split after 4 epochs is `2 hidden, 4 epochs`" in text
    assert "commit abc" in text


def test_parts_of_readme_are_replaced_between_their_marks(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text("a\n<!-- x: start -->\nold\n<!-- x: end -->\nb\n")
    readme.replace("x", "new")
    readme.replace("x", "newer")
    expected = "a\n<!-- x: start -->\nnewer\n<!-- x: end -->\nb\n"
    assert (tmp_path / "README.md").read_text() == expected
    with pytest.raises(ValueError, match="has no <!-- y: start -->"):
        readme.replace("y", "new")


@pytest.fixture
def trained_together():
    """What was measured of a population: its sweep takes a quarter of the time of its runs."""
    versions = {"python": "3.13.0", "jax": "0.12"}
    said = {"date": "2030-01-02", "device": "Abacus", "versions": versions, "commit": "abc"}
    times = {"sweep": [10.0, 9.0, 40.0], "alone": [10.0, 10.0, 30.0], "pairs": [6.25]}
    return {"conditions": said, "quick": False, "rows": [{"name": "mlp", "seeds": 4, **times}]}


def test_the_table_of_a_population_divides_the_sweep_by_the_processes(trained_together):
    text = population.table(trained_together)
    row = text.splitlines()[2]
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == [
        "10",
        "40",
        "0.25",
        "25",
        "0.40",
    ]
    assert "the median of 3 sweeps, and 4 times the time of one run of `main`" in text
    assert "Abacus" in text


def test_a_quick_trial_of_a_population_is_not_written(trained_together, tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("<!-- population: start -->\n<!-- population: end -->")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path / "measured")
    population.write(trained_together)
    assert "| 10 | 40 |" in (tmp_path / "README.md").read_text()
    assert measured.load("population") == trained_together
    with pytest.raises(UserError, match="without --quick"):
        population.write(trained_together | {"quick": True})


@pytest.mark.parametrize("name", ["results", "population", "sweeps", "peers", "pictures"])
def test_readme_holds_what_was_measured(name):
    text = (ROOT / "README.md").read_text()
    part = text.split(f"<!-- {name}: start -->")[1].split(f"<!-- {name}: end -->")[0]
    assert part.count("\n|") >= 4
    assert "commit" in part
