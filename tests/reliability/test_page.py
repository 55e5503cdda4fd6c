"""RELIABILITY.md, and the command that writes it."""

import importlib
import json
import subprocess
import sys
import types
from dataclasses import asdict

import pytest

from benchmarks import measured, readme
from benchmarks.reliability import __main__ as command
from benchmarks.reliability import page
from benchmarks.reliability.determinism import ON_GPU
from benchmarks.reliability.row import Row
from tests.commands import ROOT

CONDITIONS = {
    "date": "2030-01-02",
    "device": "Abacus",
    "versions": {"python": "3.13.0", "jax": "0.12"},
    "commit": "abc",
}
FILE = measured.FOLDER / "reliability.json"
LEAST = {"kills": 500, "processes": 50, "corruption": 5_000, "inputs": 200_000}  # cases


@pytest.fixture
def part(monkeypatch, tmp_path):
    """A part that has lost one of two cases; the page and the measurements are in a folder."""
    (tmp_path / "RELIABILITY.md").write_text(
        "<!-- reliability: start -->\n<!-- reliability: end -->"
    )
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path)
    monkeypatch.setattr(measured, "conditions", lambda: CONDITIONS)
    rows = {"kills": [Row("killed", 2, "half of them", ["case 7: other bits"])], "faults": []}
    for name, its in rows.items():
        module = types.SimpleNamespace(measure=lambda *, quick, its=its: its)
        monkeypatch.setitem(sys.modules, f"benchmarks.reliability.{name}", module)
    return tmp_path / "RELIABILITY.md"


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["reliability", *words])
    return command.main()


def test_what_was_lost_is_printed_and_is_a_failure(part, monkeypatch, capsys):
    assert run(monkeypatch, "kills") == 1
    assert "LOST  case 7: other bits" in capsys.readouterr().out
    assert "killed" not in part.read_text()
    assert run(monkeypatch, "faults") == 0


def test_a_part_that_ends_is_a_loss_and_the_next_one_is_measured(part, monkeypatch, capsys):
    broken = types.SimpleNamespace(measure=lambda *, quick: 1 / 0)
    monkeypatch.setitem(sys.modules, "benchmarks.reliability.numbers", broken)
    assert run(monkeypatch, "numbers", "faults", "--write") == 1
    assert "LOST  numbers ended: ZeroDivisionError" in capsys.readouterr().out
    assert page.PARTS["faults"] in part.read_text()


@pytest.mark.parametrize(("file", "lost"), [("code.py", 1), ("RELIABILITY.md", 0)])
def test_code_that_was_changed_meanwhile_is_a_loss(part, monkeypatch, capsys, file, lost):
    subprocess.run(["git", "init", "-q", part.parent], check=True)

    def measure(*, quick):
        (part.parent / file).write_text("changed = True")
        return []

    monkeypatch.setitem(
        sys.modules, "benchmarks.reliability.faults", types.SimpleNamespace(measure=measure)
    )
    assert run(monkeypatch, "faults") == lost
    told = "LOST  it was changed while it was measured" in capsys.readouterr().out
    assert told == bool(lost)


def test_where_nothing_is_promised_nothing_can_be_lost():
    rows = [asdict(Row("this", 1, "that", promised=False))]
    found = {"conditions": CONDITIONS, "seconds": 1, "rows": rows}
    assert "| this | 1 | - | that |" in page.table({"kills": found})


def test_parts_are_written_one_by_one(part, monkeypatch):
    run(monkeypatch, "kills", "--write")
    run(monkeypatch, "faults", "--write")
    text = part.read_text()
    assert "| killed | 2 | 1 | half of them |" in text
    assert "`python -m benchmarks.reliability kills`" in text
    assert "2030-01-02, commit abc" in text
    assert text.index(page.PARTS["kills"]) < text.index(page.PARTS["faults"])


def test_some_cases_are_not_written(part, monkeypatch):
    with pytest.raises(SystemExit):
        run(monkeypatch, "kills", "--quick", "--write")
    assert "killed" not in part.read_text()


@pytest.mark.parametrize(("seconds", "told"), [(5.2, "5 s"), (99.4, "99 s"), (101, "2 min")])
def test_the_page_says_how_long_a_part_takes(seconds, told):
    found = {"conditions": CONDITIONS, "seconds": seconds, "rows": []}
    assert f"`python -m benchmarks.reliability kills` ({told})." in page.table({"kills": found})


@pytest.mark.parametrize("name", page.PARTS)
def test_each_part_can_be_measured(name):
    assert callable(importlib.import_module(f"benchmarks.reliability.{name}").measure)


def test_each_part_was_measured_and_nothing_was_lost():
    """And the page says what was measured."""
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    mandatory = [*found]  # once all parts are measured: [*page.PARTS]
    for name in mandatory:
        rows = found[name]["rows"]
        assert rows, name
        assert [line for row in rows for line in row["lost"]] == [], name
        assert [row["what"] for row in rows if not row["tried"] and row["what"] != ON_GPU] == []
        assert sum(row["tried"] for row in rows) >= LEAST.get(name, 1), name
    assert page.table(found) in (ROOT / "RELIABILITY.md").read_text()
