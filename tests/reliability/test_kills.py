"""Commands that are killed, and go on as if nothing had happened."""

import shutil
import signal
from pathlib import Path

import pytest

from benchmarks.reliability import kills
from benchmarks.reliability.killing import bits, notice, story
from benchmarks.reliability.killing.stand import Stand
from benchmarks.reliability.killing.story import Note, Start
from benchmarks.reliability.killing.victim import FIRST, Kill
from benchmarks.reliability.trial import Disturbance, Trial
from mnist_jax.training.checkpoints import Checkpoints
from tests.commands import flip_bit

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def test_whatever_is_killed_ends_with_the_bits_of_an_undisturbed_run():
    rows = kills.measure(quick=True)
    for row in rows:
        assert row.lost == [], row.what
    at_operations, in_report, *_ = rows  # moments may come too late
    assert at_operations.tried >= 8
    assert in_report.tried


def test_what_a_kill_left_at_the_last_checkpoint_is_removed_without_another_one(tmp_path):
    for name in ("7.removed", "21.orbax-checkpoint-tmp"):
        (tmp_path / name / "state").mkdir(parents=True)
    (tmp_path / "14").mkdir()
    with Checkpoints(tmp_path, keep_latest=1):
        assert [path.name for path in tmp_path.iterdir()] == ["14"]


# What the harness would see


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stand").resolve()
    stand = Stand(folder / "stand", folder / "shared")
    yield stand
    stand.close()


@pytest.fixture(scope="module")
def first(stand):
    """A small run that was left alone, and what it left."""
    return stand.undisturbed(FIRST)


@pytest.fixture
def copied(stand, first):
    """A copy of what it left, beside it."""
    folder = stand.run.with_name("copied")
    shutil.copytree(stand.run, folder)
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
    _, expected = first
    assert bits.differences(bits.contents(copied), expected) == ""
    change(copied)
    assert said in bits.differences(bits.contents(copied), expected)


def test_rows_of_two_files_that_differ_are_seen(copied):
    assert not bits.rows_differ(copied)
    text = (copied / "metrics.jsonl").read_text()
    (copied / "metrics.jsonl").write_text(text.replace('"epoch": 1', '"epoch": 2'))
    assert bits.rows_differ(copied)


def test_a_kill_that_leaves_something_is_found_out(stand, first, monkeypatch):
    _, expected = first

    def soil(command):
        shutil.rmtree(stand.run)
        (stand.run / "checkpoints" / "1.damaged").mkdir(parents=True)

    monkeypatch.setattr(stand, "empty", soil)
    found = stand.story(FIRST, [Kill(phase=("save", 1, 0.0))], expected)
    assert "checkpoints/1.damaged is left over" in found.wrong
    assert "begin of save no. 1" in found.wrong


def start(*notes: Note, ended: float, status: int = -signal.SIGKILL) -> Start:
    return Start(Trial(status, "", "", []), list(notes), Path(), 0.0, ended)


def test_work_that_a_kill_loses_is_what_is_done_again():
    def at(seconds, step, folder="a"):
        return Note(seconds, folder=folder, step=step, per_epoch=8)

    first = start(at(1, 0), at(2, 4), at(3, 8), at(4, 12), ended=4.5)
    early = start(ended=1.0)  # killed before it has restored anything
    second = start(at(1, 8), at(2, 12), ended=2.5)
    last = start(at(1, 12), at(2, 16), ended=3.0, status=0)
    assert story.lost_work([first, early, second, last]) == [(0.5, 1.5), (0, 0), (0, 0)]
    other = start(at(1, 0, "b"), ended=2.0, status=0)  # the first population was finished
    assert story.lost_work([first, other]) == [(0, 0)]
    assert story.lost_work([first, early]) == []  # which is not known yet


def test_a_stop_whose_work_is_lost_is_found_out():
    note = Note(1.0, folder="a", step=4, per_epoch=8)
    again = Note(1.0, folder="a", step=0, per_epoch=8)
    stopped, later = (start(its, ended=2.0, status=75) for its in (note, again))
    assert notice._not_as_told([stopped, stopped]) == []
    (line,) = notice._not_as_told([stopped, later])
    assert "0.50 epochs" in line
    failed = start(note, ended=2.0, status=1)
    assert "ended with status 1" in notice._not_as_told([failed])[0]


def test_kinds_of_operations_do_not_depend_on_numbers():
    names = [
        ("run/.12-3456.tmp", "run/.PROCESS.tmp"),
        ("run/checkpoints/21/state/d/0123456789abcdef", "run/checkpoints/N/state/d/DIGEST"),
        ("data/incomplete.A1B2C3_1.0.0/x", "data/incomplete.RANDOM_N.N.N/x"),
    ]
    for path, expected in names:
        assert story.generalised(path) == expected


def test_a_disturbance_that_never_comes_is_no_kill(stand, first):
    _, expected = first
    found = stand.story(FIRST, [Kill(at=Disturbance(100_000, "kill"))], expected)
    assert (found.kills, found.wrong, len(found.starts)) == (0, "", 1)
