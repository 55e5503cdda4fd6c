"""What a command imports, and when; and the table of how long that takes."""

import json
import os
import subprocess
import sys
import threading
from argparse import Namespace

import pytest

from benchmarks import measured, readme, startup
from benchmarks.moments import DATA, IMPORTED, PROGRAMS, STEPS, TRAINED
from mnist_jax import data, experiment, imports
from mnist_jax.config import parse
from mnist_jax.data import cache, catalog
from mnist_jax.errors import UserError
from mnist_jax.training.checkpoints import Checkpoints
from tests.commands import ROOT, SMALL, environment, python

LARGE = ("IPython", "jax", "matplotlib", "orbax", "scipy", "tensorflow", "torch")
# Wraps the end of the first chunk of steps, and writes which of the packages are there by then.
WATCH = """
import atexit, json, runpy, sys
from pathlib import Path

file, names, module = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3]
sys.argv = sys.argv[3:]
seen = {}
note = lambda moment: seen.setdefault(moment, [name for name in names if sys.modules.get(name)])
if "--help" not in sys.argv:
    from mnist_jax.training.console import Console
    update = Console.update
    Console.update = lambda *a: (note("first chunk"), update(*a))
atexit.register(lambda: (note("end"), file.write_text(json.dumps(seen))))
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
FAKE = "raise RuntimeError('{name} is imported')\n"


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A function: runs a command, and gives the packages imported at each moment.

    Before all others the command finds packages of those names that fail when they are imported,
    so that the test says the same wherever they are installed or not.
    """
    data.load("mnist", "test")  # prepared, where this test is the first to want it
    traps = tmp_path_factory.mktemp("traps")
    for name in ("IPython", "tensorflow", "torch"):
        (traps / name).mkdir()
        (traps / name / "__init__.py").write_text(FAKE.format(name=name))

    def run(*arguments: str) -> dict[str, list[str]]:
        folder = tmp_path_factory.mktemp("seen")
        environ = environment()
        environ["PYTHONPATH"] = os.pathsep.join([str(traps), environ["PYTHONPATH"]])
        done = subprocess.run(
            [sys.executable, "-c", WATCH, str(folder / "seen"), ",".join(LARGE), *arguments],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "seen").read_text())

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder for a run that `seen` trains."""
    return tmp_path_factory.mktemp("runs") / "small"


@pytest.fixture(scope="module")
def of_main(seen, finished):
    return seen("mnist_jax.main", *SMALL, f"--workdir={finished}")


@pytest.mark.parametrize("name", ["main", "sweep", "evaluate", "explore", "predict", "verify"])
def test_help_imports_no_jax(seen, name):
    assert seen(f"mnist_jax.{name}", "--help") == {"end": []}


def test_importing_a_command_imports_no_jax():
    code = "import sys, mnist_jax.main, mnist_jax.sweep; print('jax' in sys.modules)"
    assert python(code) == "False\n"


def test_a_configuration_is_read_without_jax():
    code = (
        "import sys; from mnist_jax import config_file, data; config_file.load('configs/cnn.py'); "
        "print('jax' in sys.modules)"
    )
    assert python(code) == "False\n"


def test_main_waits_for_no_import_that_its_first_steps_do_not_need(of_main):
    assert of_main["first chunk"] == ["jax"]


def test_main_imports_what_it_writes_with_and_nothing_else(of_main, finished):
    assert of_main["end"] == ["jax", "matplotlib", "orbax"]
    assert list((finished / "tensorboard").glob("events*"))  # with torch in reach, not imported


@pytest.mark.slow
def test_sweep_and_evaluate_import_no_more(seen, of_main, finished, tmp_path):
    swept = seen("mnist_jax.sweep", *SMALL, "--seeds=1", f"--workdir={tmp_path / 'sweep'}")
    assert swept["first chunk"] == ["jax"]
    evaluated = seen("mnist_jax.evaluate", f"--workdir={finished}")
    assert evaluated["end"] == ["jax", "matplotlib", "orbax"]


def test_without_hides_what_is_not_imported_yet(tmp_path, monkeypatch):
    (tmp_path / "hidden_one.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with imports.without("hidden_one", "json"):
        with pytest.raises(ImportError):
            import hidden_one  # pyright: ignore[reportMissingImports]
        assert sys.modules["json"] is json
    assert "hidden_one" not in sys.modules
    import hidden_one  # noqa: F401  # pyright: ignore[reportMissingImports]


class WatchedLock:
    """A lock that tells when somebody waits for it."""

    def __init__(self):
        self.lock, self.awaited = threading.Lock(), threading.Event()

    def __enter__(self):
        if not self.lock.acquire(blocking=False):
            self.awaited.set()
            self.lock.acquire()

    def __exit__(self, *error):
        self.lock.release()


def test_data_that_are_read_ahead_are_read_once(monkeypatch):
    data.load("mnist", "test")
    cache._read_version.cache_clear()
    reads, split, reading = [], cache._split, WatchedLock()

    def when_another_waits(*arguments):
        reads.append(arguments)
        reading.awaited.wait(timeout=10)
        return split(*arguments)

    monkeypatch.setattr(cache, "READING", reading)
    monkeypatch.setattr(cache, "_split", when_another_waits)
    data.read_ahead("mnist")
    assert len(data.load("mnist", "test").labels) == 10_000
    finish_reading()
    assert len(reads) == 1


def test_reading_ahead_leaves_what_is_wrong_to_load(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data.read_ahead("mnist")  # nothing is prepared there
    path = cache.path_of(catalog.find("mnist"))
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    data.read_ahead("mnist")
    finish_reading()  # an error in a thread would fail this test
    assert path.read_bytes() == b"damaged"
    with pytest.raises(UserError, match="no data set 'mnits'"):
        data.read_ahead("mnits")


def finish_reading():
    for thread in threading.enumerate():
        if thread.name == "read_ahead":
            thread.join()


def test_a_folder_that_cannot_be_made_is_named_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write checkpoints to .*file"):
        Checkpoints(tmp_path / "file" / "checkpoints", keep_latest=1)


def test_a_run_whose_last_checkpoint_fails_is_not_finished(tmp_path, monkeypatch):
    """Where it fails while the report is written."""

    def full_disk(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(Checkpoints, "_write", full_disk)
    small = {"train_split": "train[:256]", "val_split": ""}
    config = parse({"num_epochs": 1, "data": small, "model": {"name": "mlp", "hidden": (8,)}})
    with pytest.raises(UserError, match="No space left"):
        experiment.run(config, tmp_path, started=0.0)
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "result.json").exists()


def a_run(**moments):
    return {startup.EXIT: 4.0, startup.MEMORY: 500.4, **moments}


FOUND = {
    "conditions": {
        "date": "2030-01-02",
        "device": "CPU",
        "versions": {"python": "3.13.0", "jax": "1", "flax": "2", "orbax-checkpoint": "3"},
        "commit": "abc",
    },
    "quick": False,
    "times": 3,
    "rows": {
        "`main`": [
            a_run(**{IMPORTED: 1.0, DATA: 1.1, PROGRAMS: 1.5, STEPS: steps, TRAINED: 3.0})
            for steps in (1.75, 2.5, 1.7)
        ],
        "`main --help`": [a_run(), a_run(), a_run()],
    },
}


def cells(line):
    return [text.strip() for text in line.strip("|").split("|")]


def test_table_gives_median_and_range_of_each_moment():
    head, _, first, second, _, note = startup.table(FOUND).splitlines()
    assert cells(head)[4] == "first chunk of steps done, s"
    assert cells(first)[4] == "1.75 (1.70 to 2.50)"
    assert cells(first)[7] == "500 (500 to 500)"
    assert cells(second) == ["`main --help`", *["-"] * 5, "4.00 (4.00 to 4.00)", cells(first)[7]]
    assert "of 3 processes" in note
    assert "commit abc" in note


def test_table_is_written_again_from_its_json(tmp_path, monkeypatch):
    page = tmp_path / "benchmarks" / "README.md"
    page.parent.mkdir()
    marks = "a\n<!-- startup: start -->\n<!-- startup: end -->\nb\n"
    for file in (page, tmp_path / "README.md"):
        file.write_text(marks)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path / "measured")
    measured.save(FOUND, tmp_path / "found.json")
    source = tmp_path / "found.json"
    asked = Namespace(source=source, json=None, write=True, quick=False)
    startup.main(asked)
    assert startup.table(FOUND) in page.read_text()
    assert "ready 1.50 s after the command is started" in (tmp_path / "README.md").read_text()
    assert measured.load("startup") == FOUND
    measured.save(FOUND | {"quick": True}, source)
    with pytest.raises(UserError, match="full runs"):
        startup.main(asked)
    source.unlink()
    with pytest.raises(UserError, match="there is no file"):
        startup.main(asked)
    assert measured.load("startup") == FOUND


def test_measures_a_command_from_before_it_starts(tmp_path, monkeypatch):
    moments = startup._process(["main", "--help"], tmp_path)
    assert set(moments) == {startup.EXIT, startup.MEMORY}
    assert moments[startup.EXIT] > 0
    assert moments[startup.MEMORY] > 0
    with pytest.raises(SystemExit, match="ended with status 1"):
        startup._process(["main", "--config=there-is-none.py"], tmp_path)


@pytest.mark.slow
def test_notes_every_moment_of_a_run(tmp_path):
    moments = startup._process(["main", *SMALL, f"--workdir={tmp_path / 'run'}"], tmp_path / "p")
    passed = [IMPORTED, DATA, PROGRAMS, STEPS, TRAINED, startup.EXIT]
    assert sorted(passed, key=lambda moment: moments[moment]) == passed
    assert moments[startup.MEMORY] > 100
