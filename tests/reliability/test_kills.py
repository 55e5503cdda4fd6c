"""Commands that are killed, and go on as if nothing had happened."""

import contextlib
import dataclasses
import shutil
import signal
from pathlib import Path

import pytest

from benchmarks.reliability import kills
from benchmarks.reliability.killing import left, notice, story
from benchmarks.reliability.killing.stands import Found, stands
from benchmarks.reliability.killing.story import Start, Story
from benchmarks.reliability.killing.victim import FIRST, RUN, SMALL, Kill
from benchmarks.reliability.trial import Disturbance, Trial
from tests.commands import flip_bit

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def on():
    with stands(1) as on:
        yield on


@pytest.fixture(scope="module")
def stand(on):
    return on.all[0]


@pytest.fixture(scope="module")
def first(stand):
    """A small run that was left alone, and what it left."""
    found = stand.undisturbed(FIRST)
    shutil.copytree(stand.run, stand.run.with_name("kept"))
    return found


def test_whatever_is_killed_ends_with_the_bits_of_an_undisturbed_run(on, monkeypatch):
    monkeypatch.setattr(kills, "stands", lambda count: contextlib.nullcontext(on))
    rows = kills.measure(quick=True)
    assert [row.lost for row in rows] == [[], []]
    assert [row.tried for row in rows] == [3, 1]
    assert "3 of 3 planned kills landed" in rows[0].found
    assert all("the bits of an undisturbed run" in row.found for row in rows)


def test_what_is_told_to_stop_saves_all(stand):
    words = (*SMALL.words, f"--config.num_epochs={notice.EPOCHS}", "--config.keep_latest=1")
    command = dataclasses.replace(SMALL, words=words, report=False)
    row = notice.told(stand, [notice.Series(command, 2, 2, 0.05)], None)
    assert (row.tried, row.lost) == (2, [])
    assert "2 of 2 planned signals met a training" in row.found


# What the harness would see


@pytest.fixture(scope="module")
def kept(stand, first):
    """A copy of what it left, beside it: others are trained where it was."""
    return stand.run.with_name("kept")


@pytest.fixture
def copied(kept):
    """A copy of this, to be changed."""
    folder = kept.with_name("copied")
    shutil.copytree(kept, folder)
    yield folder
    shutil.rmtree(folder)


def test_each_save_and_each_file_is_among_the_operations(first):
    start, contents = first
    kinds = {story.kind(its, start.folder) for its in start.trial.operations}
    saving = "run/checkpoints/N.orbax-checkpoint-tmp"
    assert {
        f"rename {saving}",
        f"write {saving}/commit_success.txt",
        f"write {saving}/state/d/DIGEST",
        f"fsync {saving}/state/d/DIGEST",
        "rename run/.PROCESS.tmp",
        "write run/metrics.jsonl",
        "write run/metrics.csv",
        "rename TFDS_DATA_DIR/mnist_jax/patterns-N.N.N.cache.partial",
    } <= kinds
    assert {"checkpoints/3", "result.json", "metrics.csv", "config.json"} <= contents.keys()


def test_phases_and_steps_are_noted(first):
    start, _ = first
    assert {"data preparation", "compilation", "training", "save"} <= {
        name for name, _ in start.durations()
    }
    assert [note.step for note in start.notes if note.folder] == [0, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: (run / "metrics.csv").write_text("epoch\r\n1\r\n"), "metrics.csv differs"),
        (lambda run: (run / "result.json").unlink(), "result.json is missing"),
        (lambda run: (run / ".1-2.tmp").write_text(""), ".1-2.tmp is left over"),
        (lambda run: (run / "checkpoints" / "4.removed").mkdir(), "4.removed is left over"),
        (
            lambda run: flip_bit(max((run / "checkpoints/3/state/d").iterdir()), 100),
            "checkpoints/3 damaged",
        ),
    ],
)
def test_what_differs_is_seen(first, copied, change, said):
    _, whole = first
    expected = {name: its for name, its in whole.items() if not name.startswith("TFDS_DATA_DIR")}
    assert left.differences(left.contents(copied), expected) == ""
    change(copied)
    assert said in left.differences(left.contents(copied), expected)


def test_records_and_prepared_data_are_compared(first):
    _, contents = first
    checkpoint = contents["checkpoints/3"]
    ((row,),) = checkpoint["the record's rows"]
    assert row["epoch"] == 1
    assert "seconds" not in row
    assert checkpoint["the record's status"] == ["finished"]
    assert len(contents["TFDS_DATA_DIR/mnist_jax/patterns-1.0.0.cache"]) == 64
    changed = {"checkpoints/3": checkpoint | {"the record's status": ["training"]}}
    text = left.differences(contents | changed, contents)
    assert text == "checkpoints/3 differs in the record's status"


def test_rows_of_two_files_that_differ_are_seen(copied):
    assert not left.rows_differ(copied)
    text = (copied / "metrics.jsonl").read_text()
    (copied / "metrics.jsonl").write_text(text.replace('"epoch": 1', '"epoch": 2'))
    assert left.rows_differ(copied)


def test_a_kill_that_leaves_something_is_found_out(stand, first, monkeypatch):
    _, expected = first

    def soil(command):
        shutil.rmtree(stand.run)
        (stand.run / "checkpoints" / "1.damaged").mkdir(parents=True)

    monkeypatch.setattr(stand, "empty", soil)
    found = stand.story(FIRST, [Kill(phase=("save", 1, 0.0))], expected)
    assert "checkpoints/1.damaged is left over" in found.wrong
    assert "begin of save no. 1" in found.wrong


# Starts anew, and nobody could tell from what it leaves.
FORGETFUL = """
import shutil
from mnist_jax.training import session
from first import get_config

restore = session._restore

def forget(program, folder, clock):
    shutil.rmtree(folder, ignore_errors=True)
    return restore(program, folder, clock)

session._restore = forget
"""


def test_a_run_that_starts_anew_is_found_out(stand, first, kept, monkeypatch):
    (stand.bench.folder / "forgetful.py").write_text(FORGETFUL)

    def almost_finished(command):
        shutil.rmtree(stand.run)
        shutil.copytree(kept, stand.run)
        (stand.run / "result.json").unlink()

    monkeypatch.setattr(stand, "empty", almost_finished)
    words = ("mnist_jax.main", "--config=forgetful.py", f"--workdir={RUN}")
    killed = [Kill(phase=("compilation", 1, 0.0))]
    _, expected = first
    assert stand.story(FIRST, killed, expected).wrong == ""
    found = stand.story(dataclasses.replace(FIRST, words=words), killed, expected)
    assert found.kills == 1
    assert "began at step 0 although checkpoint 3 of " in found.wrong


def test_a_disturbance_that_never_comes_is_no_kill(stand, first, monkeypatch):
    _, expected = first
    monkeypatch.setattr(stand, "empty", lambda command: shutil.rmtree(stand.run))
    found = stand.story(FIRST, [Kill(at=Disturbance(100_000, "kill"))], expected)
    assert (found.kills, found.missed, found.wrong, len(found.starts)) == (0, 1, "", 1)


def test_a_case_that_hangs_is_lost_and_the_next_one_goes_on(on, stand, first, monkeypatch):
    hung = [TimeoutError(), ValueError("no JSON")]
    renewed = []
    killed = Story([Start(Trial(-signal.SIGKILL, "", "", []), [], Path("/b"), 0.0, 1.0)])

    def tell(*given):
        if hung:
            raise hung.pop(0)
        return killed

    monkeypatch.setattr(stand, "story", tell)
    monkeypatch.setattr(stand, "renew", lambda: renewed.append(stand))
    monkeypatch.setitem(on._expected, FIRST, first)
    found = Found()
    kill = Kill(at=Disturbance(1, "kill"))
    assert on.kill(FIRST, [[kill]] * 3, found) == [killed]
    timeout, unreadable = found.lost
    assert timeout.startswith("the first `main`, kill at operation 1: TimeoutError: no end within")
    assert unreadable.endswith("ValueError: no JSON")
    assert len(renewed) == 2
    assert (found.landed, found.planned) == (1, 3)


@pytest.mark.parametrize(("misses", "landed"), [(1, 1), (99, 0)])
def test_a_kill_that_comes_too_late_is_tried_again_sooner(
    on, stand, first, monkeypatch, misses, landed
):
    chains = []

    def tell(command, chain, expected):
        chains.append(chain)
        status = 0 if len(chains) <= misses else -signal.SIGKILL
        met = [Start(Trial(status, "", "", []), [], Path("/b"), 0.0, 1.0)]
        return Story(met, missed=int(status == 0))

    monkeypatch.setattr(stand, "story", tell)
    monkeypatch.setitem(on._expected, FIRST, first)
    found = Found()
    on.kill(FIRST, [[Kill(at=Disturbance(9, "kill", kinds=("rename",)))]], found)
    assert [kill.at.at for (kill,) in chains] == [9, 8, 7, 6][: misses + 1]
    assert (found.planned, found.landed) == (1, landed)
    row = kills._row("`main` killed", found)
    assert row.tried == landed
    assert f"{landed} of 1 planned kills landed" in row.found
