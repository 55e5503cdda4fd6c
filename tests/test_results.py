"""The script that writes the results table and the configurations' records."""

import ast
import json

import pytest

from benchmarks import readme, results
from tests.commands import ROOT


def fake(accuracy, seconds):
    return {
        "parameters": 7850,
        "epochs": 3,
        "val_accuracy": accuracy - 0.01,
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
    """A copy of what the script writes to: a sweep of logistic with a run, three runs of cnn."""
    (tmp_path / "configs").mkdir()
    for name in ("README.md", "configs/logistic.py", "configs/cnn.py", "configs/fast.py"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    sweep = tmp_path / "runs" / "logistic-sweep"
    sweep.mkdir(parents=True)
    header = "architecture,seed,parameters,epochs,val_accuracy,test_accuracy,test_loss\n"
    rows = [f"logistic,{s},7850,3,{0.9 + s / 100},{0.92 + s / 100},0.25\n" for s in range(3)]
    (sweep / "sweep.csv").write_text(header + "".join(rows))
    swept = fake(0.0, 9.0) | {"device": "CPU, 2 virtual devices"}
    (sweep / "result.json").write_text(json.dumps(swept))
    runs = [("logistic-0", 0.5, 2.0)] + [(f"cnn-{s}", 0.97 + s / 100, s + 1.0) for s in range(3)]
    for name, accuracy, seconds in runs:
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "result.json").write_text(json.dumps(fake(accuracy, seconds)))
    unvalidated = tmp_path / "runs" / "fast-sweep"
    unvalidated.mkdir()
    rows = [f"fast,{s},7850,1,,{0.99 + s / 1000},0.1\n" for s in range(3)]
    (unvalidated / "sweep.csv").write_text(header + "".join(rows))
    (unvalidated / "result.json").write_text(json.dumps(swept))
    (tmp_path / "runs" / "fast-0").mkdir()
    (tmp_path / "runs" / "fast-0" / "result.json").write_text(json.dumps(fake(0.99, 1.0)))
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(results, "RUNS", tmp_path / "runs")
    monkeypatch.setattr("sys.argv", ["results"])
    return tmp_path


def cells(readme: str, name: str) -> list[str]:
    row = next(line for line in readme.splitlines() if line.startswith(f"| [`{name}`]"))
    return [cell.strip() for cell in row.strip("|").split("|")][2:]


def test_table_holds_mean_spread_lowest_and_conditions(project):
    results.main()
    readme = (project / "README.md").read_text()
    assert cells(readme, "logistic") == [
        "3",
        "**93.00 ± 1.00**",
        "92.00",
        "91.00 ± 1.00",
        "0.2500 ± 0.0000",
        "7,850",
        "3",
        "2.0",
        "4.0",
    ]
    assert cells(readme, "cnn")[:3] == ["3", "**98.00 ± 1.00**", "97.00"]
    assert cells(readme, "cnn")[-2:] == ["2.0", "4.0"]
    assert cells(readme, "fast")[1:4] == ["**99.10 ± 0.10**", "99.00", "none"]
    assert "CPU. Python 3.13, jax 0.12, flax 0.12. commit abc." in readme
    assert "over 90 %" not in readme.split("results: start")[1].split("results: end")[0]


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
    table = readme.split("<!-- results: start -->")[1].split("<!-- results: end -->")[0]
    assert [f"[`{name}`]" in table for name in results.NAMES] == [True] * len(results.NAMES)
