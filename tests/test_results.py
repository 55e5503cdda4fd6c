"""The script that writes the results table and the configurations' records."""

import ast
import json

import pytest

from benchmarks import results
from tests.commands import ROOT


def fake(accuracy, seconds):
    return {
        "parameters": 7850,
        "epochs": 3,
        "test_accuracy": accuracy,
        "test_loss": 0.25,
        "train_seconds": seconds,
        "total_seconds": 2 * seconds,
        "device": "CPU",
        "versions": {"python": "3.13", "jax": "0.12", "flax": "0.12"},
        "commit": "abc",
    }


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of what the script writes to, with three runs of one configuration."""
    (tmp_path / "configs").mkdir()
    for name in ("README.md", "configs/logistic.py"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    for seed, accuracy in enumerate((0.92, 0.93, 0.94)):
        run = tmp_path / "runs" / f"logistic-{seed}"
        run.mkdir(parents=True)
        (run / "result.json").write_text(json.dumps(fake(accuracy, seed + 1.0)))
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "RUNS", tmp_path / "runs")
    monkeypatch.setattr("sys.argv", ["results"])
    return tmp_path


def test_table_holds_mean_spread_lowest_and_conditions(project):
    results.main()
    readme = (project / "README.md").read_text()
    row = next(line for line in readme.splitlines() if line.startswith("| [`logistic`]"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == [
        "7,850",
        "3",
        "3",
        "93.00 ± 1.00",
        "92.00",
        "0.2500 ± 0.0000",
        "2.0",
        "4.0",
    ]
    assert "Python 3.13, jax 0.12, flax 0.12" in readme
    assert "commit abc" in readme


def test_writing_again_changes_nothing(project):
    results.main()
    first = [(project / n).read_text() for n in ("README.md", "configs/logistic.py")]
    results.main()
    assert [(project / n).read_text() for n in ("README.md", "configs/logistic.py")] == first


def test_configuration_keeps_its_record_and_its_code(project):
    before = ast.parse((ROOT / "configs/logistic.py").read_text())
    results.main()
    after = ast.parse((project / "configs/logistic.py").read_text())
    record = ast.get_docstring(after)
    assert "Measured: test accuracy 93.00 ± 1.00 %" in record
    assert record.startswith(ast.get_docstring(before).splitlines()[0])
    assert ast.dump(after.body[-1]) == ast.dump(before.body[-1])


def test_readme_table_is_of_all_configurations():
    readme = (ROOT / "README.md").read_text()
    table = readme.split(results.START)[1].split(results.END)[0]
    assert [f"[`{name}`]" in table for name in results.NAMES] == [True] * len(results.NAMES)
