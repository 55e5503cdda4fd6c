"""The short form of `python -m benchmarks.reliability inputs`, and what watches the long one."""

import contextlib
import json
import os
import re

import pytest

from benchmarks.reliability import inputs
from benchmarks.reliability.fuzzing import guard, mutations, samples, watch, workdirs, worker
from mnist_jax.errors import UserError
from tests.commands import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_input_of_any_kind_is_read_or_refused():
    rows = inputs.measure(quick=True)
    assert [line for row in rows for line in row.lost] == []
    assert all(row.tried >= 20 for row in rows)
    assert all("refused" in row.found for row in rows if "a page" not in row.what)


def test_any_command_line_ends_with_a_message():
    place = samples.shared(quick=True)
    found = watch.watched("properties:command_lines", place, 40, seconds=60.0)  # beside other tests
    assert found.lost == []
    names = ("main", "sweep", "explore", "evaluate", "verify", "predict", "export", "demo")
    assert {*found.outcomes} == {"status 1", "status 2", *(f"{name} done" for name in names)}


def test_no_code_is_made_from_data():
    """By their names: nothing in the package reads pickles or evaluates texts."""
    words = r"\b(eval|exec|pickle|marshal|shelve|dill|joblib|yaml)\b[.(]|allow_pickle"
    found = {
        (path.name, line.strip())
        for path in (ROOT / "mnist_jax").rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(words, line) and not re.search(r"\bast\.literal_eval\(", line)
    }
    # The one exception is a configuration file, which is code of the user's.
    assert {name for name, _ in found} == {"config_file.py"}


def test_a_case_that_ends_its_process_is_told_of(tmp_path):
    found = watch.watched(
        "misbehaving:ending", tmp_path, 12, memory=600 << 20, processes=2, seconds=2.0
    )
    assert sorted(line.split(": ")[0] for line in found.lost) == [
        f"misbehaving:ending, case {number}" for number in (3, 5, 7, 9)
    ]
    assert found.tried == 12
    assert found.outcomes == {"fine": 8}


def test_a_process_that_ends_early_is_told_of(tmp_path):
    found = watch.watched("misbehaving:leaving", tmp_path, 12, processes=2)
    assert found.lost == ["misbehaving:leaving: 12 cases were planned, 6 tried"]


def test_inputs_that_are_the_same_are_counted_once(tmp_path):
    found = watch.watched("misbehaving:repeating", tmp_path, 12, processes=2)
    assert found.lost == []
    assert (found.tried, len(found.inputs)) == (12, 3)
    assert found.said() == "3 distinct; 12 fine"


def refuses_too_late(does, place):
    does(place)
    raise UserError("refused")


@pytest.mark.parametrize(
    "does",
    [
        lambda place: (place / "outside" / "x").read_text(),
        lambda place: (place / "new").write_text(""),
        lambda place: (place / "inside" / ".." / "new").mkdir(),
        lambda place: os.system("true"),
        lambda place: exec(compile("1", str(place / "inside" / "planted.py"), "exec")),
        lambda place: exec(compile("1", str(place / "outside" / "planted.py"), "exec")),
        lambda place: eval("1"),
        lambda place: exec("1"),
    ],
    ids=["reads", "writes", "climbs", "runs", "executes", "imports", "evaluates", "executes_text"],
)
def test_what_goes_beyond_its_folder_is_told_of(tmp_path, does):
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "x").write_text("")
    its = guard.Guard(tmp_path / "inside")
    with its.watching():
        (tmp_path / "inside" / "file").write_text("")
    with pytest.raises(worker.Broken), its.watching():
        does(tmp_path)
    with pytest.raises(worker.Broken), its.watching():
        refuses_too_late(does, tmp_path)


@pytest.mark.parametrize("name", mutations.CLIMBING)
def test_a_reader_that_follows_a_name_out_of_a_workdir_is_told_of(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    its = workdirs.Place.of(tmp_path, samples.shared(quick=True), "run")
    path = its.workdir / "config.json"

    def reads() -> None:
        found = its.workdir / json.loads(path.read_text())
        with contextlib.suppress(OSError):  # which files are there, the reader cannot know
            found.write_text("") if found.name == "new" else found.read_text()

    with pytest.raises(worker.Broken, match="outside"):
        its.tried(path, json.dumps(name).encode(), reads)
    assert its.tried(path, b'"config.json"', reads) == "read"
